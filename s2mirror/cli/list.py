"""``list``: products, filtered, sorted, and in chosen columns."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from types import MappingProxyType
from typing import Annotated, Final

import typer

from s2mirror.adapters.ledger import ProductQuery
from s2mirror.adapters.ledger.product_lists import SORT_KEYS
from s2mirror.cli.context import ConfigOption, JsonOption, complete_area, taking, time_option
from s2mirror.cli.ledgers import shared_ledger
from s2mirror.cli.output import (
    format_size,
    format_time,
    print_error,
    print_json_line,
    print_json_list,
    print_table,
    readable,
)
from s2mirror.cli.products import (
    PRODUCT_KEYS,
    check_area,
    cloud_text,
    files_text,
    product_values,
)
from s2mirror.errors import UsageError
from s2mirror.lifecycle import State
from s2mirror.model import LedgerEntry
from s2mirror.times import FIRST, LAST

_COLLECTIONS: Final = ("sentinel-2-l1c", "sentinel-2-l2a")
_SHOWN: Final = ("id", "state", "size_bytes", "files", "cloud_cover_percent", "areas", "reason")
_HEADINGS: Final = MappingProxyType(
    {
        "id": "product",
        "size_bytes": ">size",
        "cloud_cover_percent": ">cloud %",
        "relative_orbit": ">orbit",
        "attempts": ">attempts",
    }
)
"""Headings of columns; of a time it is the name without ``_at``, of others the name itself."""


def complete_columns(incomplete: str) -> list[str]:
    """Return lists of columns for shell completion: the last name is completed."""
    before, comma, last = incomplete.rpartition(",")
    chosen = before.split(",")
    names = [name for name in PRODUCT_KEYS if name.startswith(last) and name not in chosen]
    return [f"{before}{comma}{name}" for name in names]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The arguments of ``list``."""

    config: ConfigOption = None
    state: Annotated[
        str,
        typer.Option(
            metavar="STATE",
            help=f"Only products in this state: {', '.join(State)}.",
            autocompletion=lambda: list(State),
        ),
    ] = ""
    area: Annotated[
        str,
        typer.Option(
            "--area",
            "-a",
            metavar="AREA",
            help="Only products of this area.",
            autocompletion=complete_area,
        ),
    ] = ""
    tile: Annotated[
        str, typer.Option(metavar="TILE", help="Only products of this MGRS tile, such as 32TMT.")
    ] = ""
    pinned: Annotated[bool, typer.Option("--pinned", help="Only pinned products.")] = False
    collection: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Only products of this collection: sentinel-2-l1c or sentinel-2-l2a.",
            autocompletion=lambda: list(_COLLECTIONS),
        ),
    ] = ""
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Only products published from this time on: a duration before now such as 7d, "
            "yesterday, a day, or a time (UTC).",
        ),
    ] = ""
    sensed_from: Annotated[
        str, typer.Option(metavar="TIME", help="Only images of this time or later.")
    ] = ""
    sensed_to: Annotated[
        str, typer.Option(metavar="TIME", help="Only images of this time or day, or earlier.")
    ] = ""
    sort: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help=f"Order: {', '.join(SORT_KEYS)}. Newest and largest first, others ascending.",
            autocompletion=lambda: list(SORT_KEYS),
        ),
    ] = "sensed_at"
    reverse: Annotated[bool, typer.Option("--reverse", help="Reverse the order.")] = False
    columns: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Print these columns, separated by commas: any key that --json prints.",
            autocompletion=complete_columns,
            show_default=False,
        ),
    ] = ""
    limit: Annotated[
        int, typer.Option(min=1, metavar="NUMBER", help="At most this many, the first.")
    ] = 1000
    as_json: JsonOption = False
    json_lines: Annotated[
        bool,
        typer.Option(
            "--json-lines", help="Print one JSON object per line, as `fetch --from` reads."
        ),
    ] = False

    def query(self) -> ProductQuery:
        """Return the query that the arguments describe. Raises UsageError."""
        _check_choice("state", self.state, list(State))
        _check_choice("collection", self.collection, _COLLECTIONS)
        _check_choice("sort", self.sort, list(SORT_KEYS))
        now = datetime.now(UTC)
        return ProductQuery(
            state=self.state,
            tile=self.tile.upper().removeprefix("T"),
            collection=self.collection,
            area=self.area,
            pinned=self.pinned,
            published_from=time_option("--since", self.since, FIRST, now=now),
            sensed_from=time_option("--sensed-from", self.sensed_from, FIRST, now=now),
            sensed_until=time_option("--sensed-to", self.sensed_to, LAST, now=now),
            sort=self.sort,
            reverse=self.reverse,
            limit=self.limit + 1,
        )

    def column_names(self) -> tuple[str, ...]:
        """Return the columns to print; empty for the usual ones. Raises UsageError."""
        names = tuple(name.strip() for name in self.columns.split(",") if name.strip())
        for name in names:
            _check_choice("columns", name, PRODUCT_KEYS)
        return names


def list_products(arguments: Arguments) -> int:
    """List products, newest first.

    Newest by sensing time, unless --sort is given. JSON has all columns, unless --columns is given.
    """
    query, columns = arguments.query(), arguments.column_names()
    with shared_ledger(arguments.config) as (settings, ledger):
        check_area(arguments.area, settings, ledger)
        found = ledger.products.listed(query)
        first = islice(found, arguments.limit)
        keys = columns or PRODUCT_KEYS
        if arguments.json_lines:
            for each in readable(first):
                print_json_line(_chosen(product_values(each), keys))
        elif arguments.as_json:
            print_json_list("products", (_chosen(product_values(each), keys) for each in first))
        elif found:
            _print_list(first, columns or _SHOWN)
        else:
            filtered = query != replace(Arguments().query(), limit=query.limit)
            print_error("no product matches" if filtered else "no products yet")
    if len(found) > arguments.limit:
        print_error(f"only the first {arguments.limit} are listed; use --limit to list more")
    return 0


def _check_choice(option: str, value: str, known: Collection[str]) -> None:
    if value and value not in known:
        raise UsageError(f"--{option}: expected one of {', '.join(known)}; got {value!r}")


def _chosen(values: Mapping[str, object], keys: Iterable[str]) -> dict[str, object]:
    return {key: values[key] for key in keys}


def _print_list(found: Iterable[LedgerEntry], columns: Sequence[str]) -> None:
    print_table(
        [_HEADINGS.get(name, name.removesuffix("_at").replace("_", " ")) for name in columns],
        (_cells(entry, columns) for entry in found),
    )


def _cells(entry: LedgerEntry, columns: Sequence[str]) -> list[object]:
    """Return the values of a product for people."""
    values = product_values(entry) | {
        "size_bytes": format_size(entry.product.size_bytes),
        "cloud_cover_percent": cloud_text(entry),
        "files": files_text(entry),
        "areas": ",".join(entry.areas),
    }
    found = [values[name] for name in columns]
    return [format_time(value) if isinstance(value, datetime) else value for value in found]


command = taking(Arguments, list_products)
