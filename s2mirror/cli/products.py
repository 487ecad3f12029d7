"""``list`` and ``show``: products, one by one."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Annotated

import typer

from s2mirror.adapters.ledger import Ledger
from s2mirror.area import check_area_names
from s2mirror.cli.context import ConfigOption, JsonOption, complete_area, complete_product
from s2mirror.cli.ledgers import shared_ledger
from s2mirror.cli.output import (
    format_size,
    format_time,
    print_error,
    print_json,
    print_line,
    print_table,
)
from s2mirror.config import Settings
from s2mirror.errors import UsageError
from s2mirror.lifecycle import State
from s2mirror.model import LedgerEntry
from s2mirror.naming import plain_id


def list_products(
    config: ConfigOption = None,
    *,
    state: Annotated[
        str,
        typer.Option(
            metavar="STATE",
            help=f"Only products in this state: {', '.join(State)}.",
            autocompletion=lambda: list(State),
        ),
    ] = "",
    area: Annotated[
        str,
        typer.Option(
            "--area",
            "-a",
            metavar="AREA",
            help="Only products of this area.",
            autocompletion=complete_area,
        ),
    ] = "",
    tile: Annotated[
        str, typer.Option(metavar="TILE", help="Only products of this MGRS tile, such as 32TMT.")
    ] = "",
    limit: Annotated[
        int, typer.Option(min=1, metavar="NUMBER", help="At most this many, the newest.")
    ] = 1000,
    as_json: JsonOption = False,
) -> int:
    """List products, newest first.

    Newest by sensing time. JSON has more fields.
    """
    if state and state not in list(State):
        raise UsageError(f"unknown state {state!r}; expected one of {', '.join(State)}")
    with shared_ledger(config) as (settings, ledger):
        check_area(area, settings, ledger)
        tile = tile.upper().removeprefix("T")
        found = ledger.products.listed(state=state, area=area, tile=tile, limit=limit + 1)
    if as_json:
        print_json({"products": [product_values(entry) for entry in found[:limit]]})
    elif found:
        _print_list(found[:limit])
    else:
        print_error("no product matches" if state or area or tile else "no products yet")
    if len(found) > limit:
        print_error(f"only the newest {limit} are listed; use --limit to list more")
    return 0


def check_area(name: str, settings: Settings, ledger: Ledger) -> None:
    """Raise UsageError for an area that neither configuration nor ledger has."""
    known = {area.name for area in settings.area}
    if not name or name in known:
        return
    check_area_names([name], sorted(known | set(ledger.products.area_counts())))


def _print_list(found: list[LedgerEntry]) -> None:
    print_table(
        ("product", "state", ">size", "files", ">cloud %", "areas", "reason"),
        [
            (
                entry.product.id,
                entry.state,
                format_size(entry.product.size_bytes),
                _files(entry),
                _cloud(entry),
                ",".join(entry.areas),
                entry.reason,
            )
            for entry in found
        ],
    )


def show(
    product_id: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="Product id, with or without .SAFE, or its path.",
            autocompletion=complete_product,
        ),
    ],
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> int:
    """Show one product with its history."""
    name = plain_id(product_id)
    with shared_ledger(config) as (settings, ledger):
        entry = ledger.products.get(name)
        history = ledger.products.history(name)
        archive_root = settings.archive.root
    if as_json:
        print_json(product_values(entry) | {"history": history})
        return 0
    print_line(entry.product.id)
    for key, value in _lines(entry, str(archive_root)):
        print_line(f"  {key:10}  {value}")
    print_line("")
    print_table(
        ("at (UTC)", "event", "from", "to", "reason"),
        [(format_time(s.at), s.event, s.from_state, s.to_state, s.reason) for s in history],
    )
    return 0


def product_values(entry: LedgerEntry) -> dict[str, object]:
    """Return a product as it is printed in JSON."""
    product = {
        field.name: getattr(entry.product, field.name)
        for field in fields(entry.product)
        if field.name != "footprint_wkb"
    }
    return product | {
        "state": entry.state,
        "reason": entry.reason,
        "attempts": entry.attempts,
        "next_attempt_at": entry.next_attempt_at,
        "changed_at": entry.changed_at,
        "path": entry.path,
        "areas": entry.areas,
        "partial": not entry.selection.whole,
        "files": str(entry.selection),
    }


def _lines(entry: LedgerEntry, archive_root: str) -> Iterator[tuple[str, str]]:
    product = entry.product
    yield "state", f"{entry.state} since {format_time(entry.changed_at)} UTC"
    if entry.reason:
        yield "reason", entry.reason
    if entry.attempts:
        yield "attempts", f"{entry.attempts}, next after {format_time(entry.next_attempt_at)} UTC"
    if entry.path:
        yield "folder", f"{archive_root}/{entry.path}"
    yield "areas", ", ".join(entry.areas) or "none"
    yield "size", f"{format_size(product.size_bytes)} ({product.size_bytes or 0:,} B)"
    if entry.path:
        yield "files", _files(entry)
    yield "sensed", f"{format_time(product.sensed_at)} UTC"
    yield "generated", f"{format_time(product.generated_at)} UTC, baseline {product.baseline}"
    yield "published", f"{format_time(product.published_at)} UTC"
    yield "tile", f"{product.tile}, relative orbit {product.relative_orbit}, {product.platform}"
    yield "cloud", f"{_cloud(entry)} %" if _cloud(entry) else "unknown"
    yield "collection", product.collection
    yield "datatake", product.datatake_id
    yield "datastrip", product.datastrip_id
    yield "S3 prefix", product.s3_prefix


def _files(entry: LedgerEntry) -> str:
    """Return which files of the product are held."""
    if entry.path is None:
        return ""
    return "all" if entry.selection.whole else f"only {entry.selection}"


def _cloud(entry: LedgerEntry) -> str:
    percent = entry.product.cloud_cover_percent
    return "" if percent is None else f"{percent:.1f}"
