"""After a change of the configuration: which products do the areas still want."""

import json
from collections.abc import Sequence

from s2mirror.adapters.ledger import Ledger
from s2mirror.area import WatchArea
from s2mirror.planning.scope import Scope, area_fingerprint
from s2mirror.planning.searches import Search, plan_searches

_FACT = "area.{}"
_PRIORITIES = "areas.priorities"


def rescope(ledger: Ledger, areas: Sequence[WatchArea]) -> int:
    """Take back the claims of areas whose filters changed, where they no longer hold.

    Nothing is removed: what no area claims is not fetched, and what is held of it stays until a
    person prunes it. What an area wants anew is found by its searches, which begin anew: one that
    comes back with an old configuration must not go on where it was, as claims were taken back
    since. What waits takes the priority that its areas have now. Returns how many claims were
    taken back.
    """
    before = {area.name: ledger.state_value(_FACT.format(area.name)) for area in areas}
    changed = [area for area in areas if before[area.name] != area_fingerprint(area)]
    if changed:
        for area in changed:
            ledger.coverage.forget(area.name)
        ledger.forget_searches(except_for=[search.key for search in searches_for(areas, ledger)])
    released = 0
    for area in changed:
        if before[area.name] is not None:
            released += _release(ledger, area)
        ledger.set_state_value(_FACT.format(area.name), area_fingerprint(area))
    _reweigh(ledger, areas)
    return released


def _reweigh(ledger: Ledger, areas: Sequence[WatchArea]) -> None:
    priorities = {area.name: area.priority for area in areas}
    text = json.dumps(priorities, sort_keys=True)
    if ledger.state_value(_PRIORITIES) != text:
        ledger.products.reweigh(priorities)
        ledger.set_state_value(_PRIORITIES, text)


def searches_for(areas: Sequence[WatchArea], ledger: Ledger) -> tuple[Search, ...]:
    """Return the searches that serve *areas*, given what was listed before."""
    wanted = {area.name: area_fingerprint(area) for area in areas}
    return plan_searches(areas, ledger.coverage.searches(wanted))


def _release(ledger: Ledger, area: WatchArea) -> int:
    scope = Scope([area])
    unwanted = [
        product.id for product in ledger.products.of_area(area.name) if not scope.wanting(product)
    ]
    ledger.products.release(area.name, unwanted)
    return len(unwanted)
