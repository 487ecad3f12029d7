"""Moves of products to a changed layout, and the count of those that are elsewhere."""

from datetime import timedelta
from typing import Final

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.records import LayoutRecord
from s2mirror.adapters.ledger.state_values import LAYOUT
from s2mirror.config import Settings
from s2mirror.service.local_catalog import finish_local_catalog
from s2mirror.service.logs import log
from s2mirror.service.product_records import update_product_records
from s2mirror.service.results import Values
from s2mirror.service.wiring import Mirror
from s2mirror.steps.relayout import Relayout, Relocator
from s2mirror.stop import StopFlag

_COUNT_EVERY: Final = timedelta(days=1)


def relocator(mirror: Mirror) -> Relocator:
    """Return the step that moves products to the configured layout."""
    return relocator_of(mirror.ledger, mirror.archive, mirror.settings)


def relocator_of(ledger: Ledger, archive: Archive, settings: Settings) -> Relocator:
    """Return the same step for a ledger and an archive that are opened without a mirror."""
    return Relocator(
        ledger=ledger,
        archive=archive,
        template=settings.archive.template,
        marker_suffix=settings.processing.marker_suffix,
    )


def settle_layout(mirror: Mirror) -> int:
    """Record the moves that a crash interrupted; return their number. Call it at a start.

    If the layout has changed, this also counts the products that are at paths of another one. The
    count reads all products, so it is repeated once a day, and only until there are none.
    """
    settled = relocator(mirror).settle_moves(now=mirror.now())
    last, now = mirror.ledger.state.get(LAYOUT), mirror.now()
    is_known = last is not None and last.template == mirror.template
    if last and is_known and not (last.elsewhere and abs(now - last.counted_at) > _COUNT_EVERY):
        return settled
    record_count(mirror, relocator(mirror).count())
    return settled


def record_count(mirror: Mirror, elsewhere: int) -> None:
    """Record how many held products are at paths of another layout."""
    record = LayoutRecord(template=mirror.template, elsewhere=elsewhere, counted_at=mirror.now())
    mirror.ledger.state.set(LAYOUT, record)


def relayout(mirror: Mirror, stop: StopFlag) -> Values:
    """Move held products to the configured layout; the local catalog follows."""
    mirror.require_archive()
    done = relocator(mirror).relayout(stop, now=mirror.now())
    update_product_records(mirror, stop)
    finish_local_catalog(mirror, stop)
    if not stop.is_set():
        record_count(mirror, len(done.refused))
    if done.moved:
        log.info("products.moved", products=len(done.moved))
    return relayout_values(done, stopped=stop.is_set())


def relayout_values(done: Relayout, *, dry_run: bool = False, stopped: bool = False) -> Values:
    """Return the result of a relayout as JSON has it."""
    moved = {product_id: {"from": old, "to": new} for product_id, (old, new) in done.moved.items()}
    return {"moved": moved, "refused": done.refused, "dry_run": dry_run, "stopped": stopped}
