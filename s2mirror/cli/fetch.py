"""``fetch``: products that a person requests by id or item, outside any area."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from s2mirror.clean_text import format_count
from s2mirror.cli.context import (
    ConfigOption,
    DryRunOption,
    JsonOption,
    VerboseOption,
    complete_product,
)
from s2mirror.cli.ledgers import read_settings
from s2mirror.cli.mirrors import exclusive_mirror, planning_mirror, shared_mirror
from s2mirror.cli.output import format_size, print_error, print_json, print_line
from s2mirror.cli.progress import progress_for
from s2mirror.cli.signals import stopped_by_signals
from s2mirror.cli.sync import unfinished
from s2mirror.errors import AlreadyRunning, UsageError
from s2mirror.lifecycle import HELD
from s2mirror.service.cycle import prepare
from s2mirror.service.cycle_result import CycleResult
from s2mirror.service.fetch_list import FetchList, read_list
from s2mirror.service.fetching import Requested, bring, request

_STDIN = Path("-")


def fetch(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Product ids.", autocompletion=complete_product),
    ] = None,
    config: ConfigOption = None,
    *,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="STAC items, FeatureCollections or ids as JSON lines; - is stdin.",
        ),
    ] = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> int:
    """Download products by id or STAC item, outside any area.

    They are pinned: kept until `s2mirror unpin`. If a daemon runs, it downloads them.
    """
    wanted = _wanted(ids or [], source, read_settings(config).store.bucket)
    if dry_run:
        with planning_mirror(config) as mirror:
            done, result = request(mirror, wanted, dry_run=True), None
    else:
        done, result = _fetched(config, wanted, as_json=as_json, verbose=verbose)
    if as_json:
        print_json(_values(done, result, dry_run=dry_run))
    else:
        _print(done, result, dry_run=dry_run)
    return done.exit_code or (result.exit_code if result else 0)


def _wanted(ids: list[str], source: Path | None, bucket: str) -> FetchList:
    if not ids and source is None:
        raise UsageError("give product ids, or a list of items or ids with --from FILE")
    with _opened(source) as stream:
        found = read_list(stream, bucket) if stream else FetchList()
    for text in ids:
        found.add(text, text, bucket)
    return found


@contextmanager
def _opened(source: Path | None) -> Iterator[BinaryIO | None]:
    if source is None:
        yield None
        return
    if source == _STDIN:
        if sys.stdin is None:  # closed by the shell
            raise UsageError("cannot read the list: standard input is closed; give --from FILE")
        yield sys.stdin.buffer
        return
    try:
        with source.open("rb") as file:
            yield file
    except OSError as error:
        raise UsageError(f"cannot read {source}: {error.strerror}") from error


def _fetched(
    config: Path | None, wanted: FetchList, *, as_json: bool, verbose: bool
) -> tuple[Requested, CycleResult | None]:
    """Request the products, and download them unless a running daemon does."""
    with ExitStack() as stack:
        stop = stack.enter_context(stopped_by_signals())
        try:
            mirror = stack.enter_context(exclusive_mirror(config, verbose=verbose))
        except AlreadyRunning:
            with shared_mirror(config) as mirror:
                return request(mirror, wanted), None
        prepare(mirror)
        done = request(mirror, wanted)
        with progress_for(lambda: unfinished(mirror), as_json=as_json) as progress:
            result = bring(mirror, progress, stop)
        entries = mirror.ledger.products.find(done.states)
        done.states = {name: entry.state for name, entry in entries.items()}
        result.remaining = sum(state not in HELD for state in done.states.values())
    return done, result


def _values(done: Requested, result: CycleResult | None, *, dry_run: bool) -> dict[str, object]:
    return {
        "requested": done.states,
        "refused": done.refused,
        "archived": result.archived if result else [],
        "failed": result.failed if result else [],
        "received_bytes": result.received_bytes if result else 0,
        "errors": [str(error) for error in result.outside_errors] if result else [],
        "by_daemon": result is None and not dry_run,
        "dry_run": dry_run,
    }


def _print(done: Requested, result: CycleResult | None, *, dry_run: bool) -> None:
    for place, why in done.refused.items():
        print_error(f"{place}: {why}")
    if result is None:
        for name, state in done.states.items():
            print_line(f"{name}  {'would be requested; now ' if dry_run else ''}{state}")
        if not dry_run:
            print_line(f"{format_count(len(done.states), 'product')} requested from the daemon")
        return
    for error in result.outside_errors:
        print_error(str(error))
    print_line(
        f"{format_count(len(done.states), 'product')} requested, {len(result.archived)} archived "
        f"({format_size(result.received_bytes)}), {result.remaining} missing or failed"
    )
