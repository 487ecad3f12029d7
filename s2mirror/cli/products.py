"""``list`` and ``show``: the products, one by one."""

from collections.abc import Iterator
from typing import Annotated

import typer

from s2mirror.area import check_area_names
from s2mirror.cli.context import (
    ConfigOption,
    JsonOption,
    complete_area,
    complete_product,
    looking,
)
from s2mirror.cli.output import (
    complain,
    print_json,
    print_table,
    product_facts,
    say,
    size,
    when,
)
from s2mirror.errors import UsageError
from s2mirror.lifecycle import State
from s2mirror.model import LedgerEntry
from s2mirror.service.wiring import Mirror


def register(app: typer.Typer) -> None:
    """Add these commands to *app*."""
    app.command("list")(list_products)
    app.command()(show)


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
            metavar="NAME",
            help="Only products of this area.",
            autocompletion=complete_area,
        ),
    ] = "",
    tile: Annotated[
        str, typer.Option(metavar="TILE", help="Only products of this MGRS tile: 32TMT.")
    ] = "",
    limit: Annotated[
        int, typer.Option(min=1, metavar="NUMBER", help="At most so many, the newest.")
    ] = 1000,
    as_json: JsonOption = False,
) -> int:
    """List products, newest sensing first."""
    if state and state not in list(State):
        raise UsageError(f"no state is called {state!r}; there are {', '.join(State)}")
    with looking(config) as mirror:
        _check_area(mirror, area)
        tile = tile.upper().removeprefix("T")
        found = mirror.ledger.products.listed(state=state, area=area, tile=tile, limit=limit + 1)
    if as_json:
        print_json([product_facts(entry) for entry in found[:limit]])
    elif found:
        _print_list(found[:limit])
    else:
        complain("there is no such product" if state or area or tile else "no product yet")
    if len(found) > limit:
        complain(f"there are more than {limit}; --limit shows more")
    return 0


def _check_area(mirror: Mirror, name: str) -> None:
    """Raise UsageError for an area that neither the configuration nor the ledger has."""
    known = {area.name for area in mirror.areas}
    if not name or name in known:
        return
    check_area_names([name], sorted(known | set(mirror.ledger.products.area_counts())))


def _print_list(found: list[LedgerEntry]) -> None:
    print_table(
        ("product", "state", ">size", "files", ">cloud %", "areas", "reason"),
        [
            (
                entry.product.id,
                entry.state,
                size(entry.product.size_bytes),
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
        typer.Argument(metavar="ID", help="Product name.", autocompletion=complete_product),
    ],
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> int:
    """Show one product with its whole history."""
    name = plain_id(product_id)
    with looking(config) as mirror:
        entry = mirror.ledger.products.get(name)
        history = mirror.ledger.products.history(name)
        archive_root = mirror.archive.root
    if as_json:
        print_json(product_facts(entry) | {"history": history})
        return 0
    say(entry.product.id)
    for key, value in _lines(entry, str(archive_root)):
        say(f"  {key:10}  {value}")
    say("")
    print_table(
        ("at (UTC)", "event", "from", "to", "reason"),
        [(when(s.at), s.event, s.from_state, s.to_state, s.reason) for s in history],
    )
    return 0


def plain_id(text: str) -> str:
    """Return the product that a person means by its name, with ``.SAFE`` or as a path."""
    return text.rstrip("/").rpartition("/")[2].removesuffix(".SAFE")


def _lines(entry: LedgerEntry, archive_root: str) -> Iterator[tuple[str, str]]:
    product = entry.product
    yield "state", f"{entry.state} since {when(entry.changed_at)} UTC"
    if entry.reason:
        yield "reason", entry.reason
    if entry.attempts:
        yield "attempts", f"{entry.attempts}, the next not before {when(entry.next_attempt_at)} UTC"
    if entry.path:
        yield "folder", f"{archive_root}/{entry.path}"
    yield "areas", ", ".join(entry.areas) or "none"
    yield "size", f"{size(product.size_bytes)} ({product.size_bytes or 0:,} B)"
    if entry.path:
        yield "files", _files(entry)
    yield "sensed", f"{when(product.sensed_at)} UTC"
    yield "generated", f"{when(product.generated_at)} UTC, baseline {product.baseline}"
    yield "published", f"{when(product.published_at)} UTC"
    yield "tile", f"{product.tile}, relative orbit {product.relative_orbit}, {product.platform}"
    yield "cloud", f"{_cloud(entry)} %" if _cloud(entry) else "not told"
    yield "collection", product.collection
    yield "datatake", product.datatake_id
    yield "datastrip", product.datastrip_id
    yield "S3 prefix", product.s3_prefix


def _files(entry: LedgerEntry) -> str:
    """Return which files stand in the folder."""
    if entry.path is None:
        return ""
    return "all" if entry.selection.whole else f"only {entry.selection}"


def _cloud(entry: LedgerEntry) -> str:
    percent = entry.product.cloud_cover_percent
    return "" if percent is None else f"{percent:.1f}"
