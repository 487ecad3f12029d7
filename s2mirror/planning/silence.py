"""Predict satellite passes from those before, and find areas over which nothing was published.

The orbits repeat: each satellite of the constellation passes over a place in the same relative
orbit every ten days, so with two of them, the gaps of an orbit are about five days. Which
satellites fly changes with campaigns and failures. Therefore no satellite is expected, only the
longest gap that the orbit had lately: a constellation of fewer satellites is learned with its first
long gap, and one of more never delays the alarm.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from s2mirror.planning.findings import Finding, Severity

if TYPE_CHECKING:
    from s2mirror.planning.facts import Facts

MIN_PASSES: Final = 4
"""Fewer passes of an orbit show no rhythm."""
_LONGEST_GAP: Final = timedelta(days=15, hours=12)
"""An orbit with a longer gap is not acquired regularly, as over oceans."""
_ONE_PASS: Final = timedelta(hours=12)
"""Sensing times this close belong to the same pass."""
_LOWEST_SUN_DEGREES: Final = 10.0
"""Sentinel-2 acquires nothing in the polar night: its limit is 8° at the time of the pass."""
_ORBIT_GIVEN_UP: Final = timedelta(days=30)
"""An orbit that stays away for longer, while others of its area come, is not acquired any more."""
_DIGEST: Final = 5
"""More silent areas than this have one cause and one finding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassSeries:
    """The newest passes over an area in one relative orbit, the oldest first."""

    area: str
    collection: str
    relative_orbit: int
    sensed_at: Sequence[datetime]
    latitude: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceFacts:
    """What is known about the passes over all areas."""

    passes: tuple[PassSeries, ...] = ()
    listed_at: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    """By collection and area: when everything was last listed completely."""
    filtered: frozenset[str] = frozenset()
    """Areas whose filters, such as one for clouds, may leave out a whole pass."""
    ends_at: Mapping[str, datetime] = field(default_factory=dict)
    """The last sensing time that an area wants, if there is one."""
    silent_after: timedelta | None = timedelta(hours=36)
    """How long after a pass its products may be missing; None: for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingPass:
    """A pass that was due, and of which nothing was listed in time."""

    area: str
    collection: str
    relative_orbit: int
    due_at: datetime
    newest_at: datetime
    """The newest pass over the area in any orbit."""

    @property
    def silent(self) -> bool:
        """Whether nothing at all has come over the area since the pass was due."""
        return self.newest_at < self.due_at


def due_at(sensed_at: Iterable[datetime]) -> datetime | None:
    """Return when the next pass of one orbit is due; None if its passes have no rhythm."""
    passes: list[datetime] = []
    for instant in sorted(sensed_at):
        if not passes or instant - passes[-1] > _ONE_PASS:
            passes.append(instant)
    longest = max((b - a for a, b in pairwise(passes)), default=timedelta())
    if len(passes) < MIN_PASSES or longest > _LONGEST_GAP:
        return None
    return passes[-1] + longest


def noon_sun_degrees(latitude: float, at: datetime) -> float:
    """Return how high the Sun is at noon, to within a degree."""
    turn = 2 * math.pi * (at.timetuple().tm_yday + 10) / 365.25
    return 90 - abs(latitude + 23.44 * math.cos(turn))


def missing_passes(facts: SilenceFacts) -> Iterator[MissingPass]:
    """Yield the passes that were due, in areas without filters that may have left them out."""
    newest: dict[tuple[str, str], datetime] = {}
    for series in facts.passes:
        key = (series.collection, series.area)
        newest[key] = max([*series.sensed_at, *([newest[key]] if key in newest else [])])
    for series in facts.passes:
        due = due_at(series.sensed_at)
        if due is None or not _is_missing(series, due, facts):
            continue
        found = MissingPass(
            area=series.area,
            collection=series.collection,
            relative_orbit=series.relative_orbit,
            due_at=due,
            newest_at=newest[series.collection, series.area],
        )
        if found.silent or found.newest_at - due < _ORBIT_GIVEN_UP:
            yield found


def _is_missing(series: PassSeries, due: datetime, facts: SilenceFacts) -> bool:
    """Return whether a pass is expected and a complete listing after its time lacks it."""
    listed_at = facts.listed_at.get((series.collection, series.area))
    ends_at = facts.ends_at.get(series.area)
    return (
        facts.silent_after is not None
        and series.area not in facts.filtered
        and listed_at is not None
        and due + facts.silent_after < listed_at
        and (ends_at is None or due <= ends_at)
        and noon_sun_degrees(series.latitude, due) >= _LOWEST_SUN_DEGREES
    )


def areas_silent(facts: "Facts") -> Iterator[Finding]:
    """Yield a warning for silent areas, and a notice for an area that lacks one pass."""
    first: dict[str, MissingPass] = {}
    for found in sorted(missing_passes(facts.silence), key=lambda m: (not m.silent, m.due_at)):
        first.setdefault(found.area, found)
    silent = [found for found in first.values() if found.silent]
    if len(silent) > _DIGEST:
        yield _digest(silent, facts.silence)
    else:
        yield from (_finding(found, facts.silence) for found in silent)
    for found in first.values():
        if not found.silent:
            yield _finding(found, facts.silence)


_REMEDY: Final = (
    "see whether CDSE reports an outage; `s2mirror audit --area NAME` asks both catalogs whether "
    "they list products that are missing here"
)


def _finding(found: MissingPass, facts: SilenceFacts) -> Finding:
    other = "" if found.silent else ", while later passes over the area were"
    return Finding(
        code="area.silent",
        severity=Severity.WARNING if found.silent else Severity.NOTICE,
        text=(
            f"a pass over {found.area} was due on {found.due_at:%d %B %Y} ({found.collection}, "
            f"relative orbit {found.relative_orbit}), and nothing of it was published within "
            f"{_hours(facts)}{other}"
        ),
        remedy=_REMEDY.replace("NAME", found.area),
        subject=found.area,
        since=found.due_at,
    )


def _digest(silent: Sequence[MissingPass], facts: SilenceFacts) -> Finding:
    first = silent[0]
    return Finding(
        code="area.silent",
        severity=Severity.WARNING,
        text=(
            f"passes over {len(silent)} areas were due since {first.due_at:%d %B %Y}, over "
            f"{first.area} first, and nothing of them was published within {_hours(facts)}"
        ),
        remedy=_REMEDY,
        since=first.due_at,
    )


def _hours(facts: SilenceFacts) -> str:
    return f"{(facts.silent_after or timedelta()).total_seconds() / 3600:g} h"
