"""Reads from the ledger which satellites passed over each area, and what its filters leave out."""

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.passes import PassRows
from s2mirror.config import Settings
from s2mirror.planning.silence import PassSeries, SilenceFacts


def silence_facts(settings: Settings, ledger: Ledger) -> SilenceFacts:
    """Return the passes over the configured areas, in a few rows per area."""
    areas = {area.name: area for area in settings.area}
    listed = {cursor.search: cursor.listed_at for cursor in ledger.cursors.all()}
    covered = ledger.passes.searches()
    return SilenceFacts(
        passes=tuple(_series(p) for p in ledger.passes.all() if p.area in areas),
        listed_at={key: at for key, search in covered.items() if (at := listed.get(search))},
        filtered=frozenset(name for name, area in areas.items() if area.may_lack_passes),
        ends_at={name: area.end for name, area in areas.items() if area.end},
        silent_after=settings.catalog.silent_after,
    )


def _series(found: PassRows) -> PassSeries:
    return PassSeries(**{name: getattr(found, name) for name in PassRows.__slots__})
