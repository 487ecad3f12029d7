"""A watch area, as the planning modules use it."""

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
    """The products to mirror, by place, kind and time. A None or empty filter selects all."""

    name: str
    geometry: "BaseGeometry"
    collections: tuple[str, ...]
    start_at: datetime
    """First sensing time wanted, included."""
    end_at: datetime | None = None
    """Last sensing time wanted, included."""
    tiles: frozenset[str] = frozenset()
    """If not empty, products are matched by these, not by the geometry."""
    max_cloud_cover_percent: float | None = None
    platforms: frozenset[str] = frozenset()
    relative_orbits: frozenset[int] = frozenset()
    min_baseline: str | None = None
    min_overlap_percent: float = 0.0
    """The smallest part of the area that a footprint must cover."""
    priority: int = 0
    share: int = 1
    """The area's share among areas of the same priority."""
    interval: timedelta = timedelta(minutes=15)
    prune_after: timedelta | None = None
    """How long a processed product is kept; None for ever, unless ``keep_newest`` limits it."""
    selection: Selection = WHOLE
    """The files to download of each product."""
    keep_newest: int | None = None
    """How many of the newest products are kept at any age."""
    keep_newest_per_tile: int | None = None
    """How many of the newest products of each tile are kept at any age."""
    max_age: timedelta | None = None
    """How long a product is kept after its arrival; None for no limit."""
    max_age_sensed: timedelta | None = None
    """How long a product is kept after its sensing; None for no limit."""
    protected: bool = False
    """Whether its products are also kept from a full disk, by its own ``prune_after = "never"``."""


def check_area_names(names: Iterable[str], known: Collection[str]) -> None:
    """Raise UsageError for the first of *names* that is not the name of a *known* area."""
    if unknown := sorted(set(names).difference(known)):
        raise UsageError(f"no area is named {unknown[0]!r}; there are {', '.join(known)}")
