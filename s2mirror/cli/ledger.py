"""``ledger``: make the ledger again, back it up, restore and check it."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from s2mirror.adapters.lock import InstanceLock
from s2mirror.cli.context import ConfigOption, DryRunOption, JsonOption
from s2mirror.cli.ledgers import read_settings
from s2mirror.cli.output import format_count, print_error, print_json, print_line
from s2mirror.cli.signals import stopped_by_signals
from s2mirror.service.ledger_recovery import rebuild_ledger
from s2mirror.service.results import Values

_SHOWN = 10


def rebuild(
    config: ConfigOption = None,
    *,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Also if the ledger is in order. The old file is kept aside."
        ),
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> int:
    """Make a lost ledger again from the archive.

    Each product has a record in the archive's .s2mirror/records folder. The new ledger has the same
    states, processed marks, pins, removed products and file lists; nothing is downloaded or
    processed again. No file of a product is changed. Stop the daemon first.
    """
    settings = read_settings(config, late_geometry=True)
    with InstanceLock(settings.ledger.path), stopped_by_signals() as stop:
        result = rebuild_ledger(
            settings, stop, now=datetime.now(UTC), replace=replace, dry_run=dry_run
        )
    _print_rebuilt(result, as_json=as_json)
    return 1 if result["missing_count"] or result["damaged_count"] else 0


def _print_rebuilt(result: Values, *, as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    done = "would be made" if result["dry_run"] else "was made"
    print_line(
        f"{result['ledger']} {done} from {format_count(result['records'], 'record')}: "
        f"{format_count(result['held'], 'product')} in the archive"
    )
    if result["aside"]:
        print_line(f"the old ledger is {result['aside']}")
    for path in result["unrecorded"][:_SHOWN]:
        print_line(f"{path} has no record; `s2mirror sync` verifies and records it if it is listed")
    for name in result["missing"][:_SHOWN]:
        print_error(f"{name}: its folder is missing; `s2mirror audit --repair` downloads it again")
    for damaged in result["damaged"][:_SHOWN]:
        print_error(f"the record of {damaged['product']} was not used: {damaged['reason']}")
    _print_rest(result)


def _print_rest(result: Values) -> None:
    """Print how many products of each kind were not named."""
    for kind, text in (
        ("unrecorded", "products without a record"),
        ("missing", "products without a folder"),
        ("damaged", "records that were not used"),
    ):
        if (more := result[f"{kind}_count"] - _SHOWN) > 0:
            print_line(f"{more} more {text}; --json names up to 100 of each kind")
