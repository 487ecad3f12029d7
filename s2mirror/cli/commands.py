"""The table of all commands: only the module of the command that runs is imported."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Command:
    """One line in a list of commands."""

    name: str
    help: str
    function: str = ""
    """``module:name`` below ``s2mirror.cli``."""
    members: tuple["Command", ...] = ()
    """The commands of a group."""


PANELS: Final = MappingProxyType(
    {
        "Everyday": (
            Command("check", "Check configuration, disk, clock, services and keys.", "check:check"),
            Command("plan", "Show what the next sync would do, and what is deferred.", "sync:plan"),
            Command("sync", "Run one cycle: poll, download, verify, process, prune.", "sync:sync"),
            Command("run", "Run the daemon until SIGTERM.", "run:run"),
            Command("status", "Show whether the mirror is current, and why not.", "status:status"),
        ),
        "Look": (
            Command("list", "List products, newest first.", "products:list_products"),
            Command("show", "Show one product with its history.", "products:show"),
            Command("preview", "Make previews of products, an area or a box.", "preview:command"),
            Command("forecast", "Estimate when backfill, quota and disk end.", "forecast:forecast"),
            Command("health", "Report whether the daemon works.", "health:health"),
            Command(
                "export",
                "Export what the archive holds for other programs.",
                members=(
                    Command("stac", "Write a static STAC catalog.", "export:stac"),
                    Command("geoparquet", "Write STAC GeoParquet.", "export:geoparquet"),
                    Command("csv", "Write CSV, one line per product.", "export:as_csv"),
                ),
            ),
        ),
        "Repair": (
            Command("audit", "Verify the archive, byte by byte.", "audit:audit"),
            Command(
                "requeue", "Queue failed, quarantined or pruned products again.", "mark:requeue"
            ),
            Command(
                "complete", "Download the missing files of partial products.", "complete:complete"
            ),
            Command(
                "prune", "Move products released by the retention rules to the trash.", "sync:prune"
            ),
            Command(
                "mark",
                "Record what a consumer has done with products.",
                members=(
                    Command(
                        "processed",
                        "Mark products as processed, so that they may be pruned.",
                        "mark:processed",
                    ),
                ),
            ),
            Command(
                "catalog",
                "Maintain the local STAC catalog.",
                members=(
                    Command("rebuild", "Write the local STAC catalog again.", "catalog:rebuild"),
                ),
            ),
        ),
        "Set up": (
            Command("init", "Write a commented configuration file.", "init:init"),
            Command("demo", "Run a demonstration without network or account.", "demo:demo"),
            Command("version", "Print the version.", "version:version"),
        ),
    }
)
"""The commands by the heading under which ``s2mirror --help`` lists them."""


def _functions() -> dict[str, str]:
    """Return the function of each command, by all its words."""
    found = {}
    for command in (each for panel in PANELS.values() for each in panel):
        if command.function:
            found[command.name] = command.function
        for member in command.members:
            found[f"{command.name} {member.name}"] = member.function
    return found


FUNCTIONS: Final = MappingProxyType(_functions())
"""``module:name`` of each command by its words, such as ``export csv``."""
