from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta, timezone

import pytest
from core_builders import SENSED_AT, product
from hypothesis import given
from hypothesis import strategies as st

from s2mirror.lifecycle import Event
from s2mirror.model import (
    CatalogQuery,
    HistoryEntry,
    Listing,
    Page,
    Rejected,
    RemoteFile,
    Transition,
)
from s2mirror.times import parse_utc

NAIVE = datetime(2026, 5, 27)  # noqa: DTZ001 - naive on purpose


@pytest.mark.parametrize("field", ["sensed_at", "published_at", "generated_at"])
def test_a_product_with_a_naive_time_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match="must be UTC-aware") as caught:
        product(**{field: NAIVE})
    assert str(caught.value) == f"{field} must be UTC-aware, got {NAIVE!r}"


def test_no_other_value_takes_a_naive_time() -> None:
    with pytest.raises(ValueError, match="at must be UTC-aware"):
        HistoryEntry(at=NAIVE, event="", from_state="", to_state="", reason="")
    with pytest.raises(ValueError, match="next_attempt_at must be UTC-aware"):
        Transition(event=Event.CLAIM, next_attempt_at=NAIVE)
    with pytest.raises(ValueError, match="published_from must be UTC-aware"):
        CatalogQuery(
            collection="sentinel-2-l2a",
            geometry_geojson="{}",
            published_from=NAIVE,
            sensed_from=None,
            sensed_until=None,
            max_cloud_cover_percent=None,
        )


def test_a_value_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        product().tile = "33UUP"  # type: ignore[misc]


@given(st.datetimes(datetime(2015, 1, 1), datetime(2100, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001 - hypothesis wants naive bounds
def test_time_with_zone_is_converted_to_utc(naive: datetime, offset_minutes: int) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    found = parse_utc(moment.isoformat())
    assert found == moment
    assert found.tzinfo is UTC


def test_zulu_time_is_utc() -> None:
    assert parse_utc("2026-05-27T10:20:31Z") == SENSED_AT


@pytest.mark.parametrize("text", ["2026-05-27T10:20:31", "2026-05-27"])
def test_time_without_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        parse_utc(text)


def test_sums_are_over_all_parts() -> None:
    files = tuple(
        RemoteFile(path=str(size), key=str(size), size_bytes=size, etag="") for size in (1, 20)
    )
    assert Listing(files=files, folders=("AUX_DATA",)).size_bytes == 21
    bad = Rejected(id="x", collection="sentinel-2-l2a", reason="broken")
    assert Page(products=(product(),), rejected=(bad,)).item_count == 2
