"""``ledger``: make the ledger again, back it up, restore and check it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from s2mirror.adapters.lock import InstanceLock
from s2mirror.clean_text import format_count
from s2mirror.cli.context import ConfigOption, DryRunOption, JsonOption
from s2mirror.cli.ledgers import read_settings, shared_ledger
from s2mirror.cli.output import print_error, print_json, print_line
from s2mirror.cli.signals import stopped_by_signals
from s2mirror.errors import LedgerError
from s2mirror.service.ledger_backup import back_up_now, check_ledger, rotate
from s2mirror.service.ledger_recovery import rebuild_ledger, restore_ledger
from s2mirror.service.results import Values

_SHOWN = 10


def rebuild(
    config: ConfigOption = None,
    *,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Replace the ledger even if it is in order. The old file is kept aside.",
        ),
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> int:
    """Make a lost ledger again from the archive.

    Each product has a record in the archive's .s2mirror/records folder. The new ledger has the same
    states, processed marks, pins, removed products and file lists; nothing is downloaded or
    processed again. No file of a product is changed. Stop the daemon first.

    Exit code 1: a record was not used, or the folder of a held product is missing.
    """
    settings = read_settings(config)
    with InstanceLock(settings.ledger.path), stopped_by_signals() as stop:
        result = rebuild_ledger(
            settings, stop, now=datetime.now(UTC), replace=replace, dry_run=dry_run
        )
    _print_rebuilt(result, as_json=as_json)
    return 1 if result["missing_count"] or result["damaged_count"] else 0


def backup(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="The new file. Default: the next one in the folder of the backups."
        ),
    ] = None,
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> int:
    """Copy the ledger, and verify the copy.

    A daemon may run meanwhile, and nothing waits for the copy. The daemon makes a backup each day
    by itself.
    """
    with shared_ledger(config) as (settings, ledger), stopped_by_signals() as stop:
        made = back_up_now(settings, ledger, stop, now=datetime.now(UTC), target=file)
        if file is None:
            rotate(settings)
    if as_json:
        print_json(made)
    else:
        print_line(f"{made['backup']}: {made['size_bytes'] / 1e6:.1f} MB, verified")
    return 0


def restore(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A backup, or `latest` for the newest one in order."),
    ],
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> int:
    """Put a backup in the place of the ledger.

    What has changed since the backup is taken over from the records in the archive. The ledger
    that was there is kept aside. Stop the daemon first.

    Exit code 1: a record was not used, or the folder of a held product is missing.
    """
    settings = read_settings(config)
    source = None if file == "latest" else Path(file)
    with InstanceLock(settings.ledger.path), stopped_by_signals() as stop:
        result = restore_ledger(settings, stop, now=datetime.now(UTC), source=source)
    if not as_json:
        print_line(f"restored {result['backup']}")
    _print_rebuilt(result, as_json=as_json)
    return 1 if result["missing_count"] or result["damaged_count"] else 0


def check(config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Read the whole ledger, and report damage.

    The daemon does the same each day. A ledger of a million products takes minutes. Exit code 5:
    the ledger is damaged; the output says what to do.
    """
    with shared_ledger(config) as (settings, ledger):
        damage = check_ledger(ledger, now=datetime.now(UTC))
    if as_json:
        print_json({"ledger": str(settings.ledger.path), "damage": damage})
    else:
        print_line(damage or f"{settings.ledger.path} is in order")
    return LedgerError.exit_code if damage else 0


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
    if result["adopted"]:
        print_line(
            f"{format_count(result['adopted'], 'product')} without a record: verified and recorded"
        )
    for path in result["unrecorded"][:_SHOWN]:
        print_line(f"{path} has no record; `s2mirror adopt` says why it cannot be recorded")
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
