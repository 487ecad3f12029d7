"""After a change of the configuration: which products do the areas still want."""

from collections.abc import Sequence

from s2mirror.adapters.ledger import Ledger
from s2mirror.area import WatchArea
from s2mirror.planning.scope import Scope, area_fingerprint

_FACT = "area.{}"


def rescope(ledger: Ledger, areas: Sequence[WatchArea]) -> int:
    """Take back the claims of areas whose filters changed, where they no longer hold.

    Nothing is removed: what no area claims is not fetched, and what is held of it stays until a
    person prunes it. What an area wants anew is found by its searches. Returns how many claims
    were taken back.
    """
    released = 0
    for area in areas:
        name, fingerprint = _FACT.format(area.name), area_fingerprint(area)
        before = ledger.fact(name)
        if before == fingerprint:
            continue
        if before is not None:
            released += _release(ledger, area)
        ledger.set_fact(name, fingerprint)
    return released


def _release(ledger: Ledger, area: WatchArea) -> int:
    scope = Scope([area])
    unwanted = [
        product.id for product in ledger.products.of_area(area.name) if not scope.wanting(product)
    ]
    ledger.products.release(area.name, unwanted)
    return len(unwanted)
