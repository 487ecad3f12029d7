"""Whether the retention rules release one product, by which rule, and why.

A product is kept if it is pinned, being processed, not processed although that is required, or in
an area that keeps it. An area keeps its newest products at any age; of the others, the first limit
of age that is over releases a product. An area without any rule keeps everything, but for a full
disk or archive; see ``watermarks``.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from s2mirror.area import WatchArea
from s2mirror.lifecycle import State
from s2mirror.model import DROPPED, PINNED, LedgerEntry
from s2mirror.planning.checked_time import CheckedTime

ALL_TILES: Final = ""
"""Stands for the tile of an area's newest products of all tiles together."""
BY_AREAS: Final = "areas"
"""Stands for all rules of areas, in counts that do not tell them apart."""
_UNCLAIMED: Final = "`s2mirror prune --unclaimed` removes it"


class Rule(StrEnum):
    """Why a product is removed: the option that releases it, or a person."""

    AFTER = "prune.after"
    MAX_AGE = "prune.max_age"
    MAX_AGE_SENSED = "prune.max_age_sensed"
    KEEP_NEWEST = "prune.keep_newest"
    KEEP_NEWEST_PER_TILE = "prune.keep_newest_per_tile"
    DISK_HIGH = "prune.disk_high_percent"
    MAX_SIZE = "prune.max_size"
    SUPERSEDED = "supersede.policy"
    WITHDRAWN = "deleted.policy"
    UNCLAIMED = "--unclaimed"
    DROPPED = "drop"


class Keep(StrEnum):
    """Why a product is kept."""

    PINNED = "pinned"
    DROPPED = "dropped"
    PROCESSING = "processing"
    NOT_PROCESSED = "not processed"
    NO_AREA = "no configured area"
    NEWEST = "newest"
    AGE = "age"
    NO_RULE = "no rule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What the rules ask of a product."""

    id: str
    tile: str
    state: State
    sensed_at: datetime
    changed_at: datetime
    """When it was processed, or archived if it is not processed."""
    arrived_at: datetime
    """When it was archived."""
    areas: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """Whether a product is kept or released, by which rule, and a text for people."""

    rule: Rule | Keep
    text: str

    @property
    def keeps(self) -> bool:
        """Whether the product is kept."""
        return isinstance(self.rule, Keep)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of all areas, and what they need to know of the archive."""

    areas: Mapping[str, WatchArea]
    require_processed: bool
    newest: Mapping[tuple[str, str], tuple[datetime, str]] = field(default_factory=dict)
    """By area, and tile or ``ALL_TILES``: sensing time and id of the last one of the newest; absent
    if there are not more products than are kept."""
    processing: Collection[str] = ()
    """Products with a processing run under way."""

    def opinion(self, product: Candidate, time: CheckedTime) -> Opinion:
        """Return whether every area releases a product, else why it is kept."""
        if kept := self.never(product):
            return kept
        opinions = [self._of_area(area, product, time) for area in self._areas_of(product)]
        return next((found for found in opinions if found.keeps), opinions[0])

    def under_pressure(self, product: Candidate) -> Opinion | None:
        """Return why a product is kept even from a full disk or archive; None if it may go."""
        if kept := self.never(product):
            return kept
        for area in self._areas_of(product):
            if area.protected:
                return _kept(Keep.NO_RULE, f"area {area.name} keeps everything")
            if kept := self._newest_of(area, product):
                return kept
        return None

    def never(self, product: Candidate) -> Opinion | None:
        """Return why no retention rule may release a product; None if one may."""
        if kept := self.against_any(product):
            return kept
        if self.require_processed and product.state is not State.PROCESSED:
            return _kept(Keep.NOT_PROCESSED, "not marked processed")
        if not product.areas:
            return _kept(Keep.NO_AREA, f"no area claims it; {_UNCLAIMED}")
        for name in product.areas:
            if name not in self.areas:
                return _kept(Keep.NO_AREA, f"area {name} is no longer configured; {_UNCLAIMED}")
        return None

    def against_any(self, product: Candidate) -> Opinion | None:
        """Return why a product is kept whatever else is true; None if nothing protects it."""
        if PINNED in product.areas:
            return _kept(Keep.PINNED, f"pinned; `s2mirror unpin {product.id}` lets the rules apply")
        if DROPPED in product.areas:
            return _kept(Keep.DROPPED, "dropped by request; the next prune removes it")
        if product.id in self.processing:
            return _kept(Keep.PROCESSING, "a processing command runs for it")
        return None

    def protects(self, entry: LedgerEntry) -> bool:
        """Return whether a product is kept also if it is superseded or withdrawn."""
        return self.against_any(candidate_of(entry)) is not None

    def limits_by_number(self, area: WatchArea) -> dict[str, datetime]:
        """Return, by tile, the sensing time up to which an area without a limit of age may release.

        Empty if it has such a limit, or no more products than it keeps.
        """
        if _has_age(area):
            return {}
        tiles = {
            tile: sensed_at
            for (name, tile), (sensed_at, _) in self.newest.items()
            if name == area.name
        }
        if area.keep_newest:
            return {ALL_TILES: tiles[ALL_TILES]} if ALL_TILES in tiles else {}
        return tiles

    def _areas_of(self, product: Candidate) -> Iterator[WatchArea]:
        return (self.areas[name] for name in product.areas if name in self.areas)

    def _of_area(self, area: WatchArea, product: Candidate, time: CheckedTime) -> Opinion:
        if kept := self._newest_of(area, product):
            return kept
        limits = list(_limits(area, product))
        for rule, since, limit, what in limits:
            if _is_over(rule, since, limit, time):
                return Opinion(rule=rule, text=f"{what} {since:%Y-%m-%d}")
        if limits:
            ends = (_start(rule, since, time) + limit for rule, since, limit, _ in limits)
            text = f"area {area.name} keeps it until {min(ends):%Y-%m-%d %H:%M} UTC"
            return _kept(Keep.AGE, text)
        return _by_number(area)

    def _newest_of(self, area: WatchArea, product: Candidate) -> Opinion | None:
        for number, tile in (
            (area.keep_newest, ALL_TILES),
            (area.keep_newest_per_tile, product.tile),
        ):
            last = self.newest.get((area.name, tile))
            if number and (last is None or (product.sensed_at, product.id) >= last):
                of = f" of tile {tile}" if tile else ""
                return _kept(Keep.NEWEST, f"among the newest {number}{of} of area {area.name}")
        return None


def candidate_of(entry: LedgerEntry, arrived_at: datetime | None = None) -> Candidate:
    """Return what the rules ask of a product in the ledger."""
    return Candidate(
        id=entry.product.id,
        tile=entry.product.tile,
        state=entry.state,
        sensed_at=entry.product.sensed_at,
        changed_at=entry.changed_at,
        arrived_at=arrived_at or entry.changed_at,
        areas=entry.areas,
    )


def has_rule(area: WatchArea) -> bool:
    """Return whether an area releases products by age or number."""
    return _has_age(area) or bool(area.keep_newest or area.keep_newest_per_tile)


def _has_age(area: WatchArea) -> bool:
    ages = (area.prune_after, area.max_age, area.max_age_sensed)
    return any(age is not None for age in ages)


_Limit = tuple[Rule, datetime, timedelta, str]


def _limits(area: WatchArea, product: Candidate) -> Iterator[_Limit]:
    """Yield each limit of age of an area: rule, start, length, and what happened at its start."""
    if area.prune_after is not None:
        done = "processed" if product.state is State.PROCESSED else "archived"
        yield Rule.AFTER, product.changed_at, area.prune_after, f"{done} on"
    if area.max_age is not None:
        yield Rule.MAX_AGE, product.arrived_at, area.max_age, "archived on"
    if area.max_age_sensed is not None:
        yield Rule.MAX_AGE_SENSED, product.sensed_at, area.max_age_sensed, "sensed on"


def _is_over(rule: Rule, since: datetime, limit: timedelta, time: CheckedTime) -> bool:
    return time.now - _start(rule, since, time) >= limit


def _start(rule: Rule, since: datetime, time: CheckedTime) -> datetime:
    """Return the time from which a limit counts; only records of this machine can be wrong."""
    return since if rule is Rule.MAX_AGE_SENSED else time.since(since)


def _by_number(area: WatchArea) -> Opinion:
    """Return the opinion of an area without a limit of age on a product not among the newest."""
    if area.keep_newest:
        text = f"no longer among the newest {area.keep_newest} of area {area.name}"
        return Opinion(rule=Rule.KEEP_NEWEST, text=text)
    if area.keep_newest_per_tile:
        text = f"no longer among the newest {area.keep_newest_per_tile} of its tile"
        return Opinion(rule=Rule.KEEP_NEWEST_PER_TILE, text=text)
    return _kept(Keep.NO_RULE, f"area {area.name} keeps everything")


def _kept(rule: Keep, text: str) -> Opinion:
    return Opinion(rule=rule, text=text)
