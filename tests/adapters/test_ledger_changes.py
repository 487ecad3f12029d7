"""Change notes reach every consumer that subscribes, once, and never accumulate."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from adapters_builders import queued, record, step
from builders import NOW, product
from hypothesis import given, settings
from hypothesis import strategies as st

from s2mirror.adapters.ledger import Ledger, open_ledger
from s2mirror.adapters.ledger.changes import ChangeKind
from s2mirror.lifecycle import Event
from s2mirror.model import PINNED
from s2mirror.selection import WHOLE

ALL = frozenset(ChangeKind)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(tmp_path / "ledger.db")
    yield opened
    opened.close()


def hold(ledger: Ledger, name: str) -> None:
    queued(ledger, product(name))
    publish(ledger, name)


def publish(ledger: Ledger, name: str) -> None:
    ledger.products.claim(NOW, only=name)
    step(ledger, name, Event.VERIFY)
    step(ledger, name, Event.PUBLISH, path=f"{name}.SAFE")


def kinds(ledger: Ledger, consumer: str = "all") -> list[str]:
    """Return the kinds of the pending changes, and mark them as done."""
    found = ledger.changes.pending(consumer, 1000)
    if found:
        ledger.changes.done(consumer, found[-1].number)
    return [change.kind for change in found]


def test_life_of_product_is_noted_by_kind(ledger: Ledger) -> None:
    ledger.changes.subscribe("all", ALL)
    hold(ledger, "p")
    assert kinds(ledger) == ["published"]
    step(ledger, "p", Event.MARK)
    assert kinds(ledger) == ["processed"]
    step(ledger, "p", Event.COMPLETE)
    publish(ledger, "p")
    assert kinds(ledger) == ["replaced"]
    ledger.products.join(PINNED, "p")
    ledger.selections.ask("p", WHOLE)
    ledger.selections.ask("p", WHOLE)
    ledger.products.release(PINNED, ["p"])
    assert kinds(ledger) == ["pinned", "selected", "selected", "unpinned"]
    ledger.products.join("valley", "p")
    ledger.products.release("valley", ["p"])
    assert kinds(ledger) == ["areas", "areas"]
    step(ledger, "p", Event.PRUNE)
    step(ledger, "p", Event.REQUEUE)
    assert kinds(ledger) == ["removed", "requeued"]


def test_product_never_held_is_noted_when_excluded(ledger: Ledger) -> None:
    ledger.changes.subscribe("all", ALL)
    record(ledger, product("p"))
    ledger.products.release("alps", ["p"])
    step(ledger, "p", Event.SUPERSEDE)
    assert kinds(ledger) == ["excluded"]


def test_each_consumer_has_its_own_position(ledger: Ledger) -> None:
    ledger.changes.subscribe("one", ALL)
    ledger.changes.subscribe("two", {ChangeKind.PROCESSED})
    hold(ledger, "p")
    step(ledger, "p", Event.MARK)
    assert kinds(ledger, "one") == ["published", "processed"]
    assert kinds(ledger, "one") == []
    assert kinds(ledger, "two") == ["processed"]


def test_note_of_one_consumer_reaches_no_other(ledger: Ledger) -> None:
    hold(ledger, "p")
    assert ledger.changes.subscribe("one", ALL)
    assert not ledger.changes.subscribe("one", ALL)
    ledger.changes.subscribe("two", ALL)
    assert ledger.changes.note_all("one") == 1
    assert kinds(ledger, "one") == ["published"]
    assert kinds(ledger, "two") == []


def test_change_without_trigger_is_noted_by_hand(ledger: Ledger) -> None:
    ledger.changes.subscribe("all", ALL)
    ledger.changes.subscribe("other", {ChangeKind.MOVED})
    ledger.changes.note(["p", "q"], ChangeKind.REPAIRED, now=NOW)
    assert kinds(ledger) == ["repaired", "repaired"]
    assert kinds(ledger, "other") == []


def test_notes_of_removed_consumer_are_deleted(ledger: Ledger) -> None:
    ledger.changes.subscribe("gone", ALL)
    hold(ledger, "p")
    ledger.changes.unsubscribe("gone")
    hold(ledger, "q")
    assert ledger.connection.query("SELECT * FROM change") == []


def test_change_during_the_work_stays_pending(ledger: Ledger) -> None:
    ledger.changes.subscribe("all", ALL)
    hold(ledger, "p")
    hold(ledger, "q")
    newest = ledger.changes.pending("all", 1, newest_first=True)
    step(ledger, "q", Event.MARK)
    ledger.changes.settle("all", newest)
    assert kinds(ledger) == ["published", "processed"]


@pytest.mark.long
@settings(max_examples=15, deadline=timedelta(seconds=5))
@given(st.lists(st.sampled_from(["change", "one", "two"]), max_size=12))
def test_every_consumer_sees_every_change_once(
    tmp_path_factory: pytest.TempPathFactory, work: list[str]
) -> None:
    opened = open_ledger(tmp_path_factory.mktemp("changes") / "ledger.db")
    seen: dict[str, list[int]] = {"one": [], "two": []}
    for consumer in seen:
        opened.changes.subscribe(consumer, ALL)
    for number, act in enumerate([*work, "one", "two"]):
        if act == "change":
            opened.changes.note([f"p{number}"], ChangeKind.REPAIRED, now=NOW)
        else:
            found = opened.changes.pending(act, 100)
            seen[act] += [int(change.product_id[1:]) for change in found]
            if found:
                opened.changes.done(act, found[-1].number)
    expected = [number for number, act in enumerate(work) if act == "change"]
    assert seen == {"one": expected, "two": expected}
    assert opened.connection.query("SELECT * FROM change") == []
    opened.close()
