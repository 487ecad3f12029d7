"""``show``: one product; and the values of a product, as commands print them."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Annotated, Final

import typer

from s2mirror.adapters.ledger import Ledger
from s2mirror.area import check_area_names
from s2mirror.cli.context import ConfigOption, JsonOption, complete_product
from s2mirror.cli.ledgers import shared_ledger
from s2mirror.cli.output import (
    format_size,
    format_time,
    print_json,
    print_line,
    print_table,
)
from s2mirror.config import Settings
from s2mirror.model import PINNED, LedgerEntry, Product
from s2mirror.naming import plain_id
from s2mirror.process_model import ProcessRun


def check_area(name: str, settings: Settings, ledger: Ledger) -> None:
    """Raise UsageError for an area that neither configuration nor ledger has."""
    known = {area.name for area in settings.area}
    if not name or name in known:
        return
    check_area_names([name], sorted(known | set(ledger.products.area_counts())))


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
        history, pin = ledger.products.history(name), ledger.pins.of(name)
        archive_root, runs = settings.archive.root, ledger.process_reports.runs(name)
    if as_json:
        print_json(product_values(entry) | {"pin": pin, "history": history, "runs": runs})
        return 0
    print_line(entry.product.id)
    for key, value in _lines(entry, str(archive_root)):
        print_line(f"  {key:10}  {value}")
    if pin:
        print_line(f"  {'pinned':10}  since {format_time(pin.at)} UTC, by `{pin.command}`")
    print_line("")
    print_table(
        ("at (UTC)", "event", "from", "to", "reason"),
        [(format_time(s.at), s.event, s.from_state, s.to_state, s.reason) for s in history],
    )
    _print_runs(runs)
    return 0


def _print_runs(runs: Sequence[ProcessRun]) -> None:
    """Print the newest runs of each processing entry."""
    if runs:
        print_line("")
        print_table(
            ("began (UTC)", "entry", "attempt", "outcome", "exit code", "last output"),
            [
                (
                    *(format_time(run.began_at), run.entry, str(run.attempt), run.outcome),
                    *("" if run.exit_code is None else str(run.exit_code), run.output[-80:]),
                )
                for run in runs
            ],
        )


PRODUCT_KEYS: Final = (
    *(field.name for field in fields(Product) if field.name != "footprint_wkb"),
    *("state", "reason", "attempts", "next_attempt_at", "changed_at", "path", "areas"),
    *("pinned", "partial", "files", "verified_at"),
)
"""The keys of :func:`product_values`, which are also the names of columns."""


def product_values(entry: LedgerEntry) -> dict[str, object]:
    """Return a product as it is printed in JSON."""
    product = entry.product
    return {name: getattr(product, name) for name in PRODUCT_KEYS if hasattr(product, name)} | {
        "state": entry.state,
        "reason": entry.reason,
        "attempts": entry.attempts,
        "next_attempt_at": entry.next_attempt_at,
        "changed_at": entry.changed_at,
        "path": entry.path,
        "areas": entry.areas,
        "pinned": PINNED in entry.areas,
        "partial": not entry.selection.whole,
        "files": str(entry.selection),
        "verified_at": entry.verified_at,
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
        yield "files", files_text(entry)
        yield "verified", f"{format_time(entry.verified_at)} UTC, every byte"
    yield "sensed", f"{format_time(product.sensed_at)} UTC"
    yield "generated", f"{format_time(product.generated_at)} UTC, baseline {product.baseline}"
    yield "published", f"{format_time(product.published_at)} UTC"
    yield "tile", f"{product.tile}, relative orbit {product.relative_orbit}, {product.platform}"
    yield "cloud", f"{cloud_text(entry)} %" if cloud_text(entry) else "unknown"
    yield "collection", product.collection
    yield "datatake", product.datatake_id
    yield "datastrip", product.datastrip_id
    yield "S3 prefix", product.s3_prefix


def files_text(entry: LedgerEntry) -> str:
    """Return which files of the product are held."""
    if entry.path is None:
        return ""
    return "all" if entry.selection.whole else f"only {entry.selection}"


def cloud_text(entry: LedgerEntry) -> str:
    """Return the cloud cover of the product, empty if it is not known."""
    percent = entry.product.cloud_cover_percent
    return "" if percent is None else f"{percent:.1f}"
