"""Events of the mirror and of products, as one stream."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from adapters_builders import record, step
from builders import NOW, product
from hypothesis import given
from hypothesis import strategies as st

from s2mirror.adapters.ledger import Ledger, open_ledger
from s2mirror.adapters.ledger.events import MAX_EVENTS, PRODUCT_EVENTS
from s2mirror.lifecycle import TRANSITIONS, Event

HOUR: Final = timedelta(hours=1)
LONG_AGO: Final = datetime.min.replace(tzinfo=NOW.tzinfo)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    ledger = open_ledger(tmp_path_factory.mktemp("events") / "ledger.db")
    yield ledger
    ledger.close()


@pytest.fixture
def ledger(shared: Ledger) -> Ledger:
    for table in ("event", "history", "membership", "product"):
        shared.connection.execute(f"DELETE FROM {table}")  # noqa: S608 - constants
    return shared


def names(ledger: Ledger, at: datetime = LONG_AGO, **filters: Any) -> list[str]:  # noqa: ANN401 - filters of several types
    return [found.event for found in ledger.events.since(at, **filters)]


def add_numbered(ledger: Ledger, hours: range) -> None:
    for hour in hours:
        ledger.events.add(f"n{hour}", at=NOW + hour * HOUR)


def test_events_and_history_are_one_stream(ledger: Ledger) -> None:
    ledger.events.add("daemon.started", at=NOW - HOUR, detail="version 1")
    record(ledger, product("x"), areas=("alps", "jura"))
    step(ledger, "x", Event.ENQUEUE, reason="room")
    ledger.events.add("process.failed", at=NOW + HOUR, area="alps", product_id="x", detail="exit 1")
    found = list(ledger.events.since(LONG_AGO))
    assert [(each.event, each.areas, each.product_id, each.detail) for each in found] == [
        ("daemon.started", (), "", "version 1"),
        ("product.discovered", ("alps", "jura"), "x", ""),
        ("product.enqueued", ("alps", "jura"), "x", "room"),
        ("process.failed", ("alps", "jura"), "x", "exit 1"),
    ]
    assert [each.at for each in found] == [NOW - HOUR, NOW, NOW, NOW + HOUR]


def test_each_filter_selects_its_events(ledger: Ledger) -> None:
    record(ledger, product("x"), areas=("alps",))
    record(ledger, product("y"), areas=("jura",))
    ledger.events.add("brake.held", at=NOW + HOUR)
    ledger.events.add("brake.released", at=NOW + 2 * HOUR)
    ledger.events.add("brakes", at=NOW + 2 * HOUR)
    ledger.events.add("process.failed", at=NOW + 2 * HOUR, area="jura", product_id="z")
    assert names(ledger, NOW + HOUR, until=NOW + HOUR) == ["brake.held"]
    assert names(ledger, events=["brake"]) == ["brake.held", "brake.released"]
    assert names(ledger, events=["brake.held", "product"]) == [
        *["product.discovered"] * 2,
        "brake.held",
    ]
    assert names(ledger, events=["unknown"]) == []
    assert names(ledger, area="jura") == ["product.discovered", "process.failed"]
    assert names(ledger, product_id="x") == ["product.discovered"]
    assert names(ledger, product_id="z") == ["process.failed"]


def test_limit_yields_newest_oldest_first(ledger: Ledger) -> None:
    add_numbered(ledger, range(5))
    assert names(ledger, limit=2) == ["n3", "n4"]
    assert names(ledger, limit=9) == ["n0", "n1", "n2", "n3", "n4"]
    assert names(ledger, until=NOW + 2 * HOUR, limit=1) == ["n2"]
    assert names(ledger, NOW + 9 * HOUR, limit=1) == []


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 13))
def test_limited_events_are_end_of_all(shared: Ledger, hours: list[int], limit: int) -> None:
    shared.connection.execute("DELETE FROM event")
    for number, hour in enumerate(hours):
        shared.events.add(f"n{number}", at=NOW + hour * HOUR)
    assert names(shared, limit=limit) == names(shared)[-limit:]


def test_events_are_read_page_by_page(ledger: Ledger) -> None:
    values = ((NOW.isoformat(timespec="microseconds"), f"n{number}") for number in range(503))
    ledger.connection.execute_many(
        "INSERT INTO event (at, event, area, product_id, detail) VALUES (:at, :event, '', '', '')",
        [{"at": at, "event": name} for at, name in values],
    )
    stream = ledger.events.since(NOW)
    assert next(stream).event == "n0"
    ledger.events.add("late", at=NOW)
    assert [found.event for found in stream][-2:] == ["n502", "late"]


def test_old_and_surplus_events_are_compacted(ledger: Ledger) -> None:
    add_numbered(ledger, range(3))
    assert ledger.compact_history(NOW + HOUR) == 1
    assert names(ledger) == ["n1", "n2"]
    ledger.connection.execute(
        "UPDATE event SET id = id + :more WHERE event = 'n2'", {"more": MAX_EVENTS}
    )
    assert ledger.compact_history(NOW) == 1
    assert names(ledger) == ["n2"]


def test_every_history_entry_has_event_name() -> None:
    verbs = {event.value for _, event in TRANSITIONS} | {"discover", "pin", "unpin", "move"}
    assert set(PRODUCT_EVENTS) == verbs
    assert len(set(PRODUCT_EVENTS.values())) == len(verbs)


def test_events_outlast_the_process(tmp_path: Path) -> None:
    first = open_ledger(tmp_path / "ledger.db")
    first.events.add("daemon.stopped", at=NOW)
    first.close()
    assert names(open_ledger(tmp_path / "ledger.db", read_only=True)) == ["daemon.stopped"]
