"""Adapt the ledger to changed areas: which products they still want, and what must be listed.

The ledger stores a fingerprint of the filters of each area. Where it differs from the
configuration, claims that no longer match are released, and all searches of the area start again.
Old cursors of such an area must not be used again, not even when its old configuration returns:
products whose claims were released meanwhile are older than the watermark, so that the tail would
never list them again. That is why the coverage of a changed area is forgotten, and every search
that is not in use any more with it.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import (
    AREA_PRIORITIES,
    SEARCH_GEOMETRIES,
    area_fingerprint_key,
)
from s2mirror.area import WatchArea
from s2mirror.errors import LedgerError
from s2mirror.planning.scope import Scope, area_fingerprint
from s2mirror.planning.searches import Search, plan_searches

_MOST_GEOMETRIES: Final = 20
"""Groups of areas with stored search geometries: there is one per collection and interval."""


def rescope(ledger: Ledger, areas: Sequence[WatchArea]) -> int:
    """Release claims of areas that no longer match their filters; return how many.

    Nothing is removed: a product without a claim is not downloaded, and a held one is kept until a
    person prunes it. Products that an area newly wants are found by its searches, which start
    again. Waiting products get the present priority of their areas.
    """
    before = {area.name: ledger.state.get(area_fingerprint_key(area.name)) for area in areas}
    changed = [area for area in areas if before[area.name] != area_fingerprint(area)]
    if changed:
        for area in changed:
            ledger.coverage.forget(area.name)
        ledger.forget_searches(except_for=[search.key for search in searches_for(areas, ledger)])
    released = 0
    for area in changed:
        if before[area.name] is not None:
            released += _release(ledger, area)
        ledger.state.set(area_fingerprint_key(area.name), area_fingerprint(area))
    _update_priorities(ledger, areas)
    return released


def _update_priorities(ledger: Ledger, areas: Sequence[WatchArea]) -> None:
    priorities = {area.name: area.priority for area in areas}
    if ledger.state.get(AREA_PRIORITIES) != priorities:
        ledger.products.reweigh(priorities)
        ledger.state.set(AREA_PRIORITIES, priorities)


def searches_for(areas: Sequence[WatchArea], ledger: Ledger) -> tuple[Search, ...]:
    """Return the searches for *areas*, given what was listed before.

    Large search geometries are made once and stored in the ledger.
    """
    wanted = {area.name: area_fingerprint(area) for area in areas}
    before = _stored_geometries(ledger)
    stored = dict(before)
    found = plan_searches(areas, ledger.coverage.searches(wanted), stored)
    new = {key: text for key, text in stored.items() if key not in before}
    if new:
        with suppress(LedgerError):  # this process may not write, or the disk is full
            ledger.state.set(SEARCH_GEOMETRIES, stored if len(stored) <= _MOST_GEOMETRIES else new)
    return found


def _stored_geometries(ledger: Ledger) -> Mapping[str, str]:
    try:
        return ledger.state.get(SEARCH_GEOMETRIES) or {}
    except LedgerError:  # a damaged value stops no command: it is made again
        return {}


def _release(ledger: Ledger, area: WatchArea) -> int:
    scope = Scope([area])
    unwanted = [
        product.id for product in ledger.products.of_area(area.name) if not scope.wanting(product)
    ]
    ledger.products.release(area.name, unwanted)
    return len(unwanted)
