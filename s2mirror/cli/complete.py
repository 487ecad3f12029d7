"""``complete``: download the files that were not selected before."""

from collections.abc import Iterator
from typing import Annotated

import typer

from s2mirror.clean_text import format_count
from s2mirror.cli.context import (
    AreaOption,
    ConfigOption,
    DryRunOption,
    JsonOption,
    complete_product,
)
from s2mirror.cli.mirrors import shared_mirror
from s2mirror.cli.output import print_error, print_json, print_line
from s2mirror.errors import MirrorError, UsageError
from s2mirror.model import LedgerEntry
from s2mirror.naming import plain_id
from s2mirror.selection import WHOLE, Selection
from s2mirror.service.wiring import Mirror
from s2mirror.steps import requests


def complete(
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID",
            help="Products to complete: all their files are downloaded.",
            autocompletion=complete_product,
        ),
    ] = None,
    config: ConfigOption = None,
    *,
    wider: Annotated[
        bool,
        typer.Option(
            "--wider",
            help="Complete every held product that lacks files which its areas select now.",
        ),
    ] = False,
    area: AreaOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> int:
    """Download the missing files of partial products.

    The products are queued; the next sync downloads only the files that they lack.
    """
    if bool(ids) == wider:
        raise UsageError(
            "give either product ids or --wider; `s2mirror plan` lists what --wider completes"
        )
    done: list[str] = []
    refused: list[MirrorError] = []
    with shared_mirror(config) as mirror:
        for entry, wanted in _found(mirror, ids or [], area or []):
            try:
                if dry_run or requests.complete(entry, wanted, mirror.ledger, now=mirror.now()):
                    done.append(entry.product.id)
            except MirrorError as error:
                refused.append(error)
    if as_json:
        print_json({"complete": done, "dry_run": dry_run, "errors": [str(why) for why in refused]})
    else:
        _print(done, dry_run=dry_run)
        for why in refused:
            print_error(str(why))
    return max((why.exit_code for why in refused), default=0)


def _found(
    mirror: Mirror, ids: list[str], areas: list[str]
) -> Iterator[tuple[LedgerEntry, Selection]]:
    """Yield each product to complete, with the files to have."""
    products = mirror.ledger.products
    if ids:
        yield from ((products.get(plain_id(text)), WHOLE) for text in dict.fromkeys(ids))
        return
    mirror.searches_of(areas)  # raises UsageError for an unknown area
    for entry in requests.incomplete(products.held(), mirror.selection_policy):
        if not areas or set(areas) & set(entry.areas):
            yield entry, mirror.selection_policy.wanted_by_areas(entry)


def _print(done: list[str], *, dry_run: bool) -> None:
    for product_id in done:
        print_line(f"{product_id}  {'would be queued' if dry_run else 'queued'}")
    if not done:
        print_line("no product lacks a file")
    elif not dry_run:
        print_line(f"{format_count(len(done), 'product')} queued: run `s2mirror sync`")
