from datetime import UTC, datetime, timedelta
from typing import Any

from builders import HERE, NOW, product
from hypothesis import strategies as st
from shapely.geometry import box

from s2mirror.area import WatchArea
from s2mirror.lifecycle import State
from s2mirror.model import LedgerEntry
from s2mirror.planning.searches import Search, plan_searches

START = datetime(2020, 1, 1, tzinfo=UTC)


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


def entry(
    product_id: str = "S2C_x",
    *,
    state: State = State.QUEUED,
    attempts: int = 0,
    areas: tuple[str, ...] = ("alps",),
    changed_hours_ago: float = 0,
    **changes: Any,  # noqa: ANN401 - Product's fields
) -> LedgerEntry:
    return LedgerEntry(
        product=product(product_id, **changes),
        state=state,
        reason="",
        attempts=attempts,
        next_attempt_at=NOW,
        changed_at=NOW - hours(changed_hours_ago),
        path=None,
        areas=areas,
    )


def area(name: str = "alps", **changes: Any) -> WatchArea:  # noqa: ANN401 - WatchArea's fields
    values: dict[str, Any] = {
        "name": name,
        "geometry": HERE,
        "collections": ("sentinel-2-l1c", "sentinel-2-l2a"),
        "start_at": START,
    }
    return WatchArea(**{**values, **changes})


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
"""Boxes on a coarse grid, which often touch, overlap and contain each other."""
