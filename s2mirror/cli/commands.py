"""The table of all commands, and their help: a command is imported only when it is used."""

from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup


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
            Command(
                "fetch", "Download products by id or STAC item, outside any area.", "fetch:fetch"
            ),
            Command("adopt", "Take products that are on disk into the archive.", "adopt:command"),
            Command("run", "Run the daemon until SIGTERM.", "run:run"),
            Command("status", "Show whether the mirror is current, and why not.", "status:status"),
        ),
        "Look": (
            Command("list", "List products, newest first.", "list:command"),
            Command("show", "Show one product with its history.", "products:show"),
            Command(
                "why",
                "Explain why a product is here or not, by every rule.",
                "why:why",
            ),
            Command("log", "Show what happened to the mirror and its products.", "log:command"),
            Command("preview", "Make previews of products, an area or a box.", "preview:command"),
            Command("forecast", "Estimate when backfill, quota and disk end.", "forecast:forecast"),
            Command("report", "Write the status page as one HTML file.", "report:report"),
            Command("health", "Report whether the daemon works.", "health:health"),
            Command("metrics", "Print metrics in Prometheus's text format.", "metrics:metrics"),
            Command(
                "alerts",
                "Try the channels to the operators.",
                members=(
                    Command("test", "Send a message through every channel.", "alerts:send_test"),
                ),
            ),
            Command(
                "export",
                "Export what the archive holds for other programs.",
                members=(
                    Command("stac", "Write a static STAC catalog.", "export:stac_command"),
                    Command("geoparquet", "Write STAC GeoParquet.", "export:geoparquet"),
                    Command("csv", "Write CSV, one line per product.", "export:as_csv"),
                ),
            ),
        ),
        "Repair": (
            Command("audit", "Verify the archive, byte by byte.", "audit:command"),
            Command(
                "requeue", "Queue failed, quarantined or pruned products again.", "mark:requeue"
            ),
            Command(
                "restore",
                "Bring removed products back from the trash or the store.",
                "restore:restore",
            ),
            Command(
                "complete", "Download the missing files of partial products.", "complete:complete"
            ),
            Command("pin", "Keep products whatever areas and retention say.", "pin:pin"),
            Command("unpin", "Let the retention rules apply to pinned products.", "pin:unpin"),
            Command("process", "Run processing entries again.", "process:command"),
            Command("drop", "Remove products now, whatever the rules say.", "drop:drop"),
            Command(
                "prune", "Move products released by the retention rules to the trash.", "sync:prune"
            ),
            Command("relayout", "Move held products to a changed layout.", "relayout:relayout"),
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
            Command(
                "ledger",
                "Make the ledger again, back it up, restore and check it.",
                members=(
                    Command(
                        "rebuild", "Make a lost ledger again from the archive.", "ledger:rebuild"
                    ),
                    Command("backup", "Copy the ledger, and verify the copy.", "ledger:backup"),
                    Command(
                        "restore", "Put a backup in the place of the ledger.", "ledger:restore"
                    ),
                    Command("check", "Read the whole ledger, and report damage.", "ledger:check"),
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


class PlainCommand(TyperCommand):
    """A command whose help names arguments as ``ID...``, without braces and Python types."""

    # Typer does not export the types of contexts and formatters.
    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ANN401 - see above
        """Return the parts of the usage line."""
        pieces = super().collect_usage_pieces(ctx)
        return [piece.replace("{", "").replace("}", "") for piece in pieces]

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - see above
        """Return arguments and options."""
        return _with_defaults(super().get_params(ctx))

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - see above
        """Write arguments, then options."""
        for heading, kind in (("Arguments", "argument"), ("Options", "option")):
            found = [each for each in self.get_params(ctx) if each.param_type_name == kind]
            records = filter(None, (each.get_help_record(ctx) for each in found))
            rows = [(name.partition(" <")[0], text) for name, text in records]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


class LazyGroup(TyperGroup):
    """A group that knows the names and help lines of its commands, and imports one on use."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - see above
        """Return the options of the group itself."""
        return _with_defaults(super().get_params(ctx))

    def resolve_command(
        self,
        ctx: Any,  # noqa: ANN401 - see above
        args: list[str],
    ) -> tuple[str | None, Any, list[str]]:
        """Import and return the command at the start of *args*."""
        name, found, rest = super().resolve_command(ctx, args)
        words = " ".join([*ctx.command_path.split()[1:], name or ""])
        return name, load_command(words) if words in FUNCTIONS else found, rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - see above
        """Write the commands under their headings."""
        headings = dict.fromkeys(_heading(self.commands[n]) for n in self.list_commands(ctx))
        for heading in headings:
            rows = [
                (name, command.help or "")
                for name, command in self.commands.items()
                if _heading(command) == heading
            ]
            with formatter.section(heading):
                formatter.write_dl(rows)


def load_command(words: str) -> TyperCommand:
    """Import and return a command, such as ``sync`` or ``export csv``."""
    module, _, name = FUNCTIONS[words].partition(":")
    function = getattr(import_module(f"s2mirror.cli.{module}"), name)
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(words.rpartition(" ")[2], cls=PlainCommand)(function)
    return cast("TyperCommand", typer.main.get_command(app))


def _with_defaults(parameters: list[Any]) -> list[Any]:
    """Set the default of flags without one: Typer would import pydantic to check None."""
    for parameter in parameters:
        if parameter.default is None and getattr(parameter, "is_bool_flag", False):
            parameter.default = False
    return parameters


def _heading(command: Any) -> str:  # noqa: ANN401 - see above
    return getattr(command, "rich_help_panel", None) or "Commands"
