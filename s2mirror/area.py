"""A watch area as the planners see it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from s2mirror.errors import UsageError
from s2mirror.selection import WHOLE, Selection

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchArea:
    """Where, what and when to mirror. A filter that is None or empty lets everything through."""

    name: str
    geometry: "BaseGeometry"
    collections: tuple[str, ...]
    start_at: datetime
    """First sensing time wanted, included."""
    end_at: datetime | None = None
    """Last sensing time wanted, included."""
    tiles: frozenset[str] = frozenset()
    """When not empty, these decide instead of the geometry."""
    max_cloud_cover_percent: float | None = None
    platforms: frozenset[str] = frozenset()
    relative_orbits: frozenset[int] = frozenset()
    min_baseline: str | None = None
    min_overlap_percent: float = 0.0
    """How much of the area a footprint must cover at least."""
    priority: int = 0
    share: int = 1
    """Of what areas of one priority get together."""
    interval: timedelta = timedelta(minutes=15)
    prune_after: timedelta | None = None
    """How long a processed product stays; None for ever, unless ``keep_newest`` says otherwise."""
    selection: Selection = WHOLE
    """Which files of each product."""
    keep_newest: int | None = None
    """How many of the newest products stay whatever their age."""


def check_area_names(names: Iterable[str], known: Collection[str]) -> None:
    """Raise UsageError for the first of *names* that is not the name of a *known* area."""
    if unknown := sorted(set(names).difference(known)):
        raise UsageError(f"no area is named {unknown[0]!r}; there are {', '.join(known)}")
