"""The filters of a watch area: whether a product passes each of them, and why it does not.

Searches, the ledger and ``s2mirror why`` use this table, so that they never disagree.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from s2mirror.area import WatchArea
from s2mirror.model import Product
from s2mirror.naming import baseline_number

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One filter of an area that a product does not pass."""

    rule: str
    """Such as ``max_cloud_cover_percent``: the option of the area, or ``geometry``."""
    text: str
    """For people; it names the area."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter of every area, other than those of its place."""

    rule: str
    passes: Callable[[WatchArea, Product], bool]
    mismatch: Callable[[WatchArea, Product], str]
    """The text for a product that does not pass."""


def _clear_enough(area: WatchArea, product: Product) -> bool:
    """Return whether the cloud cover is low enough; a product without a value passes."""
    limit, found = area.max_cloud_cover_percent, product.cloud_cover_percent
    return limit is None or found is None or found <= limit


def _new_enough(area: WatchArea, product: Product) -> bool:
    limit = area.min_baseline
    return limit is None or baseline_number(product.baseline) >= baseline_number(limit)


FILTERS: Final = (
    Filter(
        "collections",
        lambda area, product: product.collection in area.collections,
        lambda area, product: (
            f"{product.collection}, {area.name} takes {_any_of(area.collections)}"
        ),
    ),
    Filter(
        "start",
        lambda area, product: area.start_at <= product.sensed_at,
        lambda area, product: (
            f"sensed on {_day(product.sensed_at)}, before {area.name} starts on "
            f"{_day(area.start_at)}"
        ),
    ),
    Filter(
        "end",
        lambda area, product: area.end_at is None or product.sensed_at <= area.end_at,
        lambda area, product: (
            f"sensed on {_day(product.sensed_at)}, after {area.name} ends on {_day(area.end_at)}"
        ),
    ),
    Filter(
        "platforms",
        lambda area, product: not area.platforms or product.platform in area.platforms,
        lambda area, product: f"{product.platform}, {area.name} takes {_any_of(area.platforms)}",
    ),
    Filter(
        "relative_orbits",
        lambda area, product: (
            not area.relative_orbits or product.relative_orbit in area.relative_orbits
        ),
        lambda area, product: (
            f"relative orbit {product.relative_orbit}, {area.name} takes "
            f"{_any_of(area.relative_orbits)}"
        ),
    ),
    Filter(
        "max_cloud_cover_percent",
        _clear_enough,
        lambda area, product: (
            f"{product.cloud_cover_percent:g} % clouds, {area.name} takes "
            f"{area.max_cloud_cover_percent:g} %"
        ),
    ),
    Filter(
        "min_baseline",
        _new_enough,
        lambda area, product: (
            f"baseline {product.baseline}, {area.name} takes {area.min_baseline} or newer"
        ),
    ),
)


def passes(area: WatchArea, product: Product) -> bool:
    """Return whether a product passes every filter other than those of its place."""
    return all(found.passes(area, product) for found in FILTERS)


def mismatches(area: WatchArea, product: Product) -> tuple[Mismatch, ...]:
    """Return the filters that a product does not pass, other than those of its place."""
    return tuple(
        Mismatch(found.rule, found.mismatch(area, product))
        for found in FILTERS
        if not found.passes(area, product)
    )


def covers(area: WatchArea, percent: float | None, product: Product) -> bool:
    """Return whether a product is at the place of an area.

    *percent* is the part of the area that its footprint covers; None if it is not near.
    """
    if percent is None or (area.tiles and product.tile not in area.tiles):
        return False
    if area.tiles and area.min_overlap_percent == 0:
        return True
    return percent > 0 and percent >= area.min_overlap_percent


def place_mismatch(
    area: WatchArea, percent: float | None, product: Product, distance_km: Callable[[], float]
) -> tuple[Mismatch, ...]:
    """Return why a product is not at the place of an area; empty if it is."""
    if covers(area, percent, product):
        return ()
    if area.tiles and product.tile not in area.tiles:
        text = f"tile {product.tile}, which is not one of the {len(area.tiles)} of {area.name}"
        return (Mismatch("tiles", text),)
    if percent:
        text = (
            f"covers {percent:.2g} % of {area.name}, which takes at least "
            f"{area.min_overlap_percent:g} %"
        )
        return (Mismatch("min_overlap_percent", text),)
    return (Mismatch("geometry", f"{distance_km():,.0f} km outside {area.name}"),)


def _day(at: "datetime | None") -> str:
    return f"{at:%Y-%m-%d}" if at else ""


def _any_of(values: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, values)))
