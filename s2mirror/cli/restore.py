"""``restore``: removed products, back from the trash, from quarantine, or by download."""

from types import MappingProxyType
from typing import Annotated, Final

import typer

from s2mirror.cli.context import ConfigOption, DryRunOption, JsonOption
from s2mirror.cli.handover import Request, run_or_request
from s2mirror.cli.mark import IdsArgument
from s2mirror.cli.mirrors import shared_mirror
from s2mirror.cli.output import print_error, print_json, print_line
from s2mirror.naming import plain_id
from s2mirror.service.cycle import prepare
from s2mirror.service.restoring import restore_products
from s2mirror.service.results import Values
from s2mirror.service.wiring import Mirror
from s2mirror.steps.restore import Origin

_DONE: Final = MappingProxyType(
    {
        Origin.TRASH: "restored from the trash; nothing was downloaded",
        Origin.QUARANTINE: "restored from quarantine; nothing was downloaded",
        Origin.DOWNLOAD: "queued; files that are intact in trash or quarantine are not downloaded",
        Origin.HELD: "in the archive already",
        Origin.PENDING: "waiting or being downloaded already",
    }
)
_PLANNED: Final = MappingProxyType(
    {
        **_DONE,
        Origin.TRASH: "would be restored from the trash",
        Origin.QUARANTINE: "would be restored from quarantine",
        Origin.DOWNLOAD: "would be queued for download",
    }
)


def restore(
    ids: IdsArgument,
    config: ConfigOption = None,
    *,
    pin: Annotated[
        bool,
        typer.Option(
            "--pin/--no-pin",
            help="Pin the products. Without a pin, the rule that removed a product may remove it "
            "again.",
        ),
    ] = True,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> int:
    """Bring removed products back from the trash or the store.

    Every byte of a product in trash or quarantine is verified first. What is not whole there is
    queued for download; its intact files are not downloaded again. The exit code is not 0 if a
    product was refused.
    """
    names = list(dict.fromkeys(map(plain_id, ids)))
    if dry_run:
        with shared_mirror(config) as mirror:
            done = restore_products(mirror, names, pin=pin, dry_run=True)
    else:

        def run(mirror: Mirror) -> Values:
            """Restore them in this process."""
            prepare(mirror)
            return restore_products(mirror, names, pin=pin)

        done = run_or_request(config, Request("restore", {"ids": names, "pin": pin}), run)
    if as_json:
        print_json({key: value for key, value in done.items() if key != "exit_code"})
    else:
        _print(done)
    return int(done["exit_code"])


def _print(done: Values) -> None:
    for name, origin in done["restored"].items():
        texts = _PLANNED if done["dry_run"] else _DONE
        print_line(f"{name}  {texts[Origin(origin)]}")
    if done["restored"] and not done["dry_run"]:
        print_line(
            "They are pinned: `s2mirror unpin` lets the rules apply to them again"
            if done["pinned"]
            else "They are not pinned: the rule that removed them may remove them again"
        )
    for why in done["refused"].values():
        print_error(why)
