"""``log``: what the mirror did and what happened to its products, oldest first."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from s2mirror.adapters.ledger.events import PRODUCT_EVENTS, MirrorEvent
from s2mirror.cli.context import (
    ConfigOption,
    JsonOption,
    SinceOption,
    UntilOption,
    complete_area,
    complete_event,
    complete_product,
    taking,
    time_option,
)
from s2mirror.cli.ledgers import shared_ledger
from s2mirror.cli.output import format_time, print_error, print_folded, print_json_line, readable
from s2mirror.cli.products import check_area
from s2mirror.lifecycle import Event
from s2mirror.naming import plain_id
from s2mirror.times import FIRST, LAST

_NEWEST: Final = 1000
_STEPS: Final = frozenset(
    PRODUCT_EVENTS[event] for event in (Event.ENQUEUE, Event.CLAIM, Event.INTERRUPT, Event.VERIFY)
)
"""Steps of every download, which would hide the other events."""
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The arguments of the command line."""

    config: ConfigOption = None
    since: SinceOption = ""
    until: UntilOption = ""
    area: Annotated[
        str,
        typer.Option(
            "--area",
            "-a",
            metavar="AREA",
            help="Only events of this area and its products.",
            autocompletion=complete_area,
        ),
    ] = ""
    event: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EVENT",
            help="Only events of this name, such as product.pruned, or with this first word, such "
            "as brake. May be given more than once.",
            autocompletion=complete_event,
        ),
    ] = None
    product: Annotated[
        str,
        typer.Option(
            metavar="ID", help="Only events of this product.", autocompletion=complete_product
        ),
    ] = ""
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="NUMBER",
            help=f"At most this many, the newest. Default: {_NEWEST}, or all with --since.",
            show_default=False,
        ),
    ] = None
    as_json: JsonOption = False


def log(arguments: Arguments) -> int:
    """Show what happened to the mirror and its products.

    Oldest first; times are UTC. The steps of a download are shown only with --event product or
    --product. JSON: one object per line.
    """
    now = datetime.now(UTC)
    start = time_option("--since", arguments.since, FIRST, now=now)
    end = time_option("--until", arguments.until, LAST, now=now)
    names, product_id = arguments.event or [], plain_id(arguments.product)
    with shared_ledger(arguments.config) as (settings, ledger):
        check_area(arguments.area, settings, ledger)
        if not names and not product_id:
            names = [name for name in ledger.events.names() if name not in _STEPS]
        found = ledger.events.since(
            start or _LONG_AGO,
            until=end,
            area=arguments.area,
            events=names,
            product_id=product_id,
            limit=arguments.limit or (None if start else _NEWEST),
        )
        _print_events(readable(found), as_json=arguments.as_json)
    return 0


def _print_events(events: Iterator[MirrorEvent], *, as_json: bool) -> None:
    some = False
    for each in events:
        some = True
        if as_json:
            print_json_line(asdict(each))
        else:
            print_folded(_line(each))
    if not some:
        print_error("no event matches; docs/log-events.md has the names of all events")


def _line(found: MirrorEvent) -> str:
    parts = (format_time(found.at), f"{found.event:19}", found.product_id, ",".join(found.areas))
    return "  ".join(filter(None, (*parts, found.detail)))


command = taking(Arguments, log)
