from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from shapely.geometry import box

from s2mirror.area import WatchArea
from s2mirror.geometry import pack
from s2mirror.lifecycle import State
from s2mirror.model import Entry, Product
from s2mirror.planning.searches import Search, plan_searches

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
START = datetime(2020, 1, 1, tzinfo=UTC)
HERE = box(8, 47, 9, 48)


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


def product(product_id: str = "S2C_x", *, hours_ago: float = 0, **facts: Any) -> Product:  # noqa: ANN401 - Product's fields
    sensed_at = NOW - hours(hours_ago)
    values: dict[str, Any] = {
        "id": product_id,
        "collection": "sentinel-2-l2a",
        "platform": "sentinel-2c",
        "tile": "32TMT",
        "baseline": "05.12",
        "relative_orbit": 65,
        "sensed_at": sensed_at,
        "published_at": sensed_at + hours(4),
        "generated_at": sensed_at + hours(3),
        "cloud_cover_percent": 12.5,
        "size_bytes": 8,
        "s3_prefix": f"Sentinel-2/MSI/L2A/2026/06/01/{product_id}.SAFE/",
        "datatake_id": "",
        "datastrip_id": "",
        "revision": "",
        "footprint_wkb": pack(HERE),
    }
    return Product(**{**values, **facts})


def entry(
    product_id: str = "S2C_x",
    *,
    state: State = State.QUEUED,
    attempts: int = 0,
    areas: tuple[str, ...] = ("alps",),
    changed_hours_ago: float = 0,
    **facts: Any,  # noqa: ANN401 - Product's fields
) -> Entry:
    return Entry(
        product=product(product_id, **facts),
        state=state,
        reason="",
        attempts=attempts,
        next_attempt_at=NOW,
        changed_at=NOW - hours(changed_hours_ago),
        path=None,
        areas=areas,
    )


def area(name: str = "alps", **facts: Any) -> WatchArea:  # noqa: ANN401 - WatchArea's fields
    values: dict[str, Any] = {
        "name": name,
        "geometry": HERE,
        "collections": ("sentinel-2-l1c", "sentinel-2-l2a"),
        "start_at": START,
    }
    return WatchArea(**{**values, **facts})


def search(*areas: WatchArea) -> Search:
    """Return the only search that areas of one collection and interval need."""
    (found,) = plan_searches(areas)
    return found


SMALL_BOXES = st.builds(
    lambda west, south, width, height: box(west, south, west + width, south + height),
    st.integers(0, 8),
    st.integers(0, 8),
    st.integers(1, 4),
    st.integers(1, 4),
)
"""Boxes on a coarse grid, so that they often touch, overlap and contain each other."""
