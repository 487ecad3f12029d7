"""Which of several versions of one image are kept.

The same tile of the same datatake can be listed several times. Two halves, downlinked to two
stations, are both kept. A newer baseline of the same half, or a later processing with the same
baseline, replaces the older one, unless an area does not want the newer one. No baseline is known
by name, so the next one is treated like those before it; numbers from 90.00 on are special.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from s2mirror.geometry import unpack
from s2mirror.lifecycle import HELD, PENDING, WAITING, State
from s2mirror.model import PINNED, LedgerEntry, Product, SupersedePolicy
from s2mirror.naming import baseline_number

_STRIP_START: Final = re.compile(r"_S(\d{8}T\d{6})_N")
# A reprocessing may change the start of a datastrip by about a second.
_STRIP_TOLERANCE: Final = timedelta(seconds=5)
# A reprocessing may also change the edges of the data a little.
_COVERED: Final = 0.9
# ESA's commissioning products have 99.05 and 99.06, CloudFerro's own ones 99.99.
_FIRST_SPECIAL_BASELINE: Final = 9000


@dataclass(frozen=True, slots=True, kw_only=True)
class Supersession:
    """An older version, the held one that replaces it, and when the older may be removed."""

    old: LedgerEntry
    new: LedgerEntry
    due_at: datetime

    @property
    def reason(self) -> str:
        """The reason for the history of the older one."""
        return f"superseded by {self.new.product.id}"


def plan_supersede(
    entries: Iterable[LedgerEntry], policy: SupersedePolicy, grace: timedelta
) -> tuple[Supersession, ...]:
    """Return each version that a newer, held one replaces, and from when.

    *entries* are products that are held or pending. A version that was not downloaded yet is
    replaced at once; a held one after *grace* under ``replace-after-grace``.
    """
    if policy is SupersedePolicy.ALL:
        return ()
    found = []
    for old, better in _rivals(entries):
        held = [entry for entry in better if entry.state in HELD]
        if held and (old.state in HELD or old.state in WAITING):
            new = max(held, key=rank)
            waits = policy is SupersedePolicy.REPLACE_AFTER_GRACE and old.state in HELD
            # The grace of an old version that was adopted begins with its adoption.
            since = max(old.changed_at, new.changed_at)
            due_at = since + grace if waits else new.changed_at
            found.append(Supersession(old=old, new=new, due_at=due_at))
    return tuple(found)


def waiting_for_better(entries: Iterable[LedgerEntry], policy: SupersedePolicy) -> dict[str, str]:
    """Return, by product id, why versions are deferred: a newer one is downloaded first."""
    if policy is SupersedePolicy.ALL:
        return {}
    return {
        old.product.id: f"its newer version {max(better, key=rank).product.id} is downloaded first"
        for old, better in _rivals(entries)
        if old.state is State.DISCOVERED and any(entry.state in PENDING for entry in better)
    }


def rank(entry: LedgerEntry) -> tuple[int, datetime, datetime]:
    """Return the sort key of versions of one image: baseline, processing, publication."""
    return _rank(entry.product)


def _rank(product: Product) -> tuple[int, datetime, datetime]:
    number = -1 if _is_special(product) else baseline_number(product.baseline)
    return number, product.generated_at, product.published_at


def superseded_by(products: Iterable[Product]) -> dict[str, str]:
    """Return, by product id, the best version of the same image, for each that has a better one.

    For readers of the archive: unlike a removal, this does not depend on what areas want.
    """
    found: dict[str, str] = {}
    for group in _versions(products):
        for old in group:
            if better := [new for new in group if _is_better(new, old)]:
                found[old.id] = max(better, key=_rank).id
    return found


def _versions(products: Iterable[Product]) -> Iterator[list[Product]]:
    """Yield the versions of each image that has several."""
    groups: dict[tuple[object, ...], list[Product]] = {}
    for product in products:
        key = (product.collection, product.platform, product.sensed_at, product.tile)
        groups.setdefault(key, []).append(product)
    yield from (group for group in groups.values() if len(group) > 1)


def _is_special(product: Product) -> bool:
    """Return whether a baseline is outside of the sequence: such a product replaces no other."""
    return baseline_number(product.baseline) >= _FIRST_SPECIAL_BASELINE


def _rivals(entries: Iterable[LedgerEntry]) -> Iterator[tuple[LedgerEntry, list[LedgerEntry]]]:
    """Yield each version that has newer ones, and the newer ones."""
    known = {entry.product.id: entry for entry in entries}
    for group in _versions(entry.product for entry in known.values()):
        versions = [known[product.id] for product in group]
        for old in versions:
            better = [new for new in versions if _replaces(new, old)]
            if better:
                yield old, better


def _replaces(new: LedgerEntry, old: LedgerEntry) -> bool:
    # A pinned product is kept, also beside its newer version.
    claimed = set(old.areas) <= set(new.areas) and PINNED not in old.areas
    return claimed and _is_better(new.product, old.product)


def _is_better(new: Product, old: Product) -> bool:
    """Return whether *new*, of the same tile and datatake, is a better version of *old*."""
    return _rank(new) > _rank(old) and not _is_special(new) and _shows_all_of(new, old)


def _shows_all_of(new: Product, old: Product) -> bool:
    """Return whether *new*, of the same tile and datatake, shows the same ground as *old*.

    That is so if both datastrips start together and *new* has data nearly everywhere *old* has.
    """
    first, second = _strip_start(new), _strip_start(old)
    if first and second and abs(first - second) > _STRIP_TOLERANCE:
        return False
    before = unpack(old.footprint_wkb)
    shared = unpack(new.footprint_wkb).intersection(before).area
    return bool(shared > _COVERED * before.area)


def _strip_start(product: Product) -> datetime | None:
    found = _STRIP_START.search(product.datastrip_id)
    return datetime.strptime(found[1] + "+0000", "%Y%m%dT%H%M%S%z") if found else None
