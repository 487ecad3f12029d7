"""``pin``, ``unpin``: products to keep whatever areas and retention say. A daemon may run."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from s2mirror.adapters.ledger import Ledger, ProductQuery
from s2mirror.clean_text import format_count
from s2mirror.cli.context import (
    ConfigOption,
    DryRunOption,
    JsonOption,
    SomeIdsArgument,
    complete_area,
    taking,
    time_option,
)
from s2mirror.cli.ledgers import shared_ledger
from s2mirror.cli.output import print_error, print_json, print_line
from s2mirror.cli.products import check_area
from s2mirror.errors import MirrorError, UsageError
from s2mirror.model import LedgerEntry
from s2mirror.naming import plain_id
from s2mirror.steps import pins
from s2mirror.times import FIRST, LAST


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The arguments of ``pin`` and ``unpin``."""

    ids: SomeIdsArgument = None
    config: ConfigOption = None
    tile: Annotated[
        str, typer.Option(metavar="TILE", help="All products of this MGRS tile, such as 32TMT.")
    ] = ""
    area: Annotated[
        str,
        typer.Option(
            "--area",
            "-a",
            metavar="AREA",
            help="All products of this area.",
            autocompletion=complete_area,
        ),
    ] = ""
    sensed_from: Annotated[
        str, typer.Option(metavar="TIME", help="All images of this time or later.")
    ] = ""
    sensed_to: Annotated[
        str, typer.Option(metavar="TIME", help="All images of this time or day, or earlier.")
    ] = ""
    dry_run: DryRunOption = False
    as_json: JsonOption = False

    def query(self) -> ProductQuery:
        """Return the query that the filters describe. Raises UsageError."""
        now = datetime.now(UTC)
        return ProductQuery(
            tile=self.tile.upper().removeprefix("T"),
            area=self.area,
            sensed_from=time_option("--sensed-from", self.sensed_from, FIRST, now=now),
            sensed_until=time_option("--sensed-to", self.sensed_to, LAST, now=now),
        )


@dataclass(frozen=True, slots=True)
class _Action:
    """What differs between the two commands."""

    past: str
    plan: Callable[[Iterable[LedgerEntry]], pins.PinPlan]
    apply: Callable[..., None]
    note: str


_PIN: Final = _Action(
    "pinned", pins.plan_pin, pins.pin, "Products that are published later are not included"
)
_UNPIN: Final = _Action(
    "unpinned", pins.plan_unpin, pins.unpin, "The retention rules apply to them again"
)


@dataclass(slots=True)
class _Done:
    plan: pins.PinPlan = field(default_factory=pins.PinPlan)
    refused: dict[str, MirrorError] = field(default_factory=dict)


def pin_products(arguments: Arguments) -> int:
    """Keep products whatever areas and retention say.

    Give product ids, or filters: then all products that the ledger knows now and that match every
    filter are pinned, held or not. Products that are published later are not included. A daemon
    may run. The exit code is not 0 if a product was refused.
    """
    return _run(arguments, _PIN)


def unpin_products(arguments: Arguments) -> int:
    """Let the retention rules apply to pinned products.

    Nothing is removed at once: `s2mirror drop` does that. A daemon may run. The exit code is not 0
    if a product was refused.
    """
    return _run(arguments, _UNPIN)


def _run(arguments: Arguments, action: _Action) -> int:
    query = arguments.query()
    if bool(arguments.ids) == (query != ProductQuery()):
        raise UsageError(
            "give either product ids, or at least one of --tile, --area, --sensed-from, --sensed-to"
        )
    with shared_ledger(arguments.config) as (settings, ledger):
        check_area(arguments.area, settings, ledger)
        if arguments.ids:
            done = _by_id(ledger, arguments.ids, action)
        else:
            done = _Done(action.plan(ledger.products.listed(query)))
        if not arguments.dry_run:
            action.apply(done.plan, ledger, now=datetime.now(UTC))
    if arguments.as_json:
        print_json(_values(done, action, dry_run=arguments.dry_run))
    else:
        _print(done, action, dry_run=arguments.dry_run)
    return max((why.exit_code for why in done.refused.values()), default=0)


def _by_id(ledger: Ledger, ids: list[str], action: _Action) -> _Done:
    """Return the plan for named products; a refused one does not stop the others."""
    done, entries = _Done(), []
    for product_id in dict.fromkeys(plain_id(text) for text in ids):
        try:
            entries.append(ledger.products.get(product_id))
        except MirrorError as error:
            done.refused[product_id] = error
    done.plan = action.plan(entries)
    done.refused |= {name: pins.gone_error(name) for name in done.plan.gone}
    return done


def _values(done: _Done, action: _Action, *, dry_run: bool) -> dict[str, object]:
    return {
        action.past: done.plan.changed,
        "unchanged": done.plan.unchanged,
        "gone": done.plan.gone,
        "refused": {name: str(why) for name, why in done.refused.items()},
        "dry_run": dry_run,
    }


def _print(done: _Done, action: _Action, *, dry_run: bool) -> None:
    plan, would = done.plan, "would be " if dry_run else ""
    text = f"{format_count(len(plan.changed), 'product')} {would}{action.past}"
    if plan.unchanged:
        text += f", {len(plan.unchanged)} {'were' if action is _PIN else 'not'} pinned before"
    if plan.gone and not done.refused:
        text += f", {len(plan.gone)} were removed before and are not pinned"
    print_line(f"{text}. {action.note}")
    for why in done.refused.values():
        print_error(str(why))


pin = taking(Arguments, pin_products)
unpin = taking(Arguments, unpin_products)
