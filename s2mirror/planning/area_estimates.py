"""What a watch area costs: products and bytes per month, counted or estimated."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from s2mirror.area import WatchArea
from s2mirror.geometry import area_km2
from s2mirror.model import Product
from s2mirror.planning.downloads import ASSUMED_BYTES
from s2mirror.planning.scope import Scope
from s2mirror.tiles import tiles_meeting

MONTH: Final = timedelta(days=30)
_SATELLITES: Final = 2
# The swath is 290 km wide, and at the equator the 143 orbits of five days are 280 km apart: they
# converge towards the poles. An orbit images a tile of 110 km if its swath reaches the tile.
_ORBITS_AT_EQUATOR: Final = (290 + 110) / 280
_REVISIT: Final = timedelta(days=5)
_MOST_TILES: Final = 2_000
_SQUARE_KM2: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaSize:
    """How large an area is."""

    km2: float
    tiles: int
    longitude: float
    """Of a point in the area, in degrees."""
    latitude: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthlyAmount:
    """Products and bytes of 30 days."""

    products: float
    size_bytes: float

    def __add__(self, other: "MonthlyAmount") -> "MonthlyAmount":
        """Return both amounts together."""
        return MonthlyAmount(
            products=self.products + other.products, size_bytes=self.size_bytes + other.size_bytes
        )


NOTHING: Final = MonthlyAmount(products=0, size_bytes=0)


def size_of(area: WatchArea) -> AreaSize:
    """Return how large an area is; for a very large one, the number of tiles is estimated."""
    km2, centre = area_km2(area.geometry), area.geometry.representative_point()
    large = km2 > _MOST_TILES * _SQUARE_KM2
    tiles = round(km2 / _SQUARE_KM2) if large else len(tiles_meeting(area.geometry))
    return AreaSize(
        km2=km2,
        tiles=len(area.tiles) or max(1, tiles),
        longitude=centre.x,
        latitude=centre.y,
    )


def estimated(area: WatchArea, size: AreaSize) -> MonthlyAmount:
    """Return what an area receives per month by the orbits, without regard to clouds."""
    converging = max(0.2, math.cos(math.radians(size.latitude)))
    satellites = min(len(area.platforms) or _SATELLITES, _SATELLITES) / _SATELLITES
    passes = MONTH / _REVISIT * _ORBITS_AT_EQUATOR / converging * satellites
    products = size.tiles * passes * len(area.collections)
    return MonthlyAmount(products=products, size_bytes=products * ASSUMED_BYTES)


def recent(areas: Iterable[WatchArea], since: datetime) -> list[WatchArea]:
    """Return the areas as they are, but for all images since a time."""
    return [replace(area, start_at=since, end_at=None) for area in areas]


@dataclass(slots=True)
class ProductCount:
    """Counts listed products by area, newest first, until the listing ends or is cut off."""

    areas: tuple[WatchArea, ...]
    since: datetime
    until: datetime
    reached: datetime | None = None
    """The oldest image so far, for a listing that was cut off."""
    _products: dict[str, int] = field(default_factory=dict)
    _bytes: dict[str, int] = field(default_factory=dict)

    def add(self, products: Iterable[Product]) -> None:
        """Count the products of a page."""
        scope = Scope(self.areas)
        for product in products:
            self.reached = min(self.reached or product.sensed_at, product.sensed_at)
            for name in scope.wanting(product):
                self._products[name] = self._products.get(name, 0) + 1
                size_bytes = product.size_bytes or ASSUMED_BYTES
                self._bytes[name] = self._bytes.get(name, 0) + size_bytes

    def amounts(self, *, whole: bool) -> Mapping[str, MonthlyAmount]:
        """Return the amount per month of each area; *whole*: the listing was not cut off."""
        begin = self.since if whole or self.reached is None else self.reached
        months = max((self.until - begin) / MONTH, 1 / 30)
        return {
            area.name: MonthlyAmount(
                products=self._products.get(area.name, 0) / months,
                size_bytes=self._bytes.get(area.name, 0) / months,
            )
            for area in self.areas
        }
