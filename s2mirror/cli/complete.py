"""``complete``: bring the files that were left out by choice."""

from collections.abc import Iterator
from typing import Annotated

import typer

from s2mirror.cli.context import (
    AreaOption,
    ConfigOption,
    DryRunOption,
    JsonOption,
    complete_product,
    looking,
)
from s2mirror.cli.output import complain, count, print_json, say
from s2mirror.cli.products import plain_id
from s2mirror.errors import MirrorError, UsageError
from s2mirror.model import LedgerEntry
from s2mirror.selection import WHOLE, Selection
from s2mirror.service.wiring import Mirror
from s2mirror.steps.complete import complete as complete_one
from s2mirror.steps.complete import narrower


def register(app: typer.Typer) -> None:
    """Add this command to *app*."""
    app.command()(complete)


def complete(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID...", help="Product names.", autocompletion=complete_product),
    ] = None,
    config: ConfigOption = None,
    *,
    wider: Annotated[
        bool,
        typer.Option(
            "--wider",
            help="All that is held with fewer files than its areas want now: bring those.",
        ),
    ] = False,
    area: AreaOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> int:
    """Bring every file of products that were held with some of theirs. The rest is kept."""
    if bool(ids) == wider:
        raise UsageError("name products to have whole, or give --wider; `plan` lists what it takes")
    done: list[str] = []
    refused: list[MirrorError] = []
    with looking(config) as mirror:
        for entry, wanted in _found(mirror, ids or [], area or []):
            try:
                if dry_run or complete_one(entry, wanted, mirror.ledger, now=mirror.now()):
                    done.append(entry.product.id)
            except MirrorError as error:
                refused.append(error)
    if as_json:
        print_json({"complete": done, "dry_run": dry_run, "errors": [str(why) for why in refused]})
    else:
        _print(done, dry_run=dry_run)
        for why in refused:
            complain(str(why))
    return max((why.exit_code for why in refused), default=0)


def _found(
    mirror: Mirror, ids: list[str], areas: list[str]
) -> Iterator[tuple[LedgerEntry, Selection]]:
    """Yield each product to complete, with what to have of it."""
    products = mirror.ledger.products
    if ids:
        yield from ((products.get(plain_id(text)), WHOLE) for text in dict.fromkeys(ids))
        return
    mirror.searches_of(areas)  # refuses an area that nobody configured
    for entry in narrower(products.held(), mirror.selection_policy):
        if not areas or set(areas) & set(entry.areas):
            yield entry, mirror.selection_policy.wanted_by_areas(entry)


def _print(done: list[str], *, dry_run: bool) -> None:
    for product_id in done:
        say(f"{product_id}  {'would be queued' if dry_run else 'queued'}")
    if not done:
        say("nothing to complete")
    elif not dry_run:
        say(f"{count(len(done), 'product')}: the next sync brings what is missing, and no more")
