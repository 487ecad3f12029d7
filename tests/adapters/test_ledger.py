import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from adapters_builders import queued, record, step
from builders import NOW, overwrite, product
from hypothesis import given
from hypothesis import strategies as st

from s2mirror.adapters.ledger import ArchiveQuery, Ledger, ProductQuery, open_ledger
from s2mirror.adapters.ledger.products import CLAIM
from s2mirror.adapters.ledger.state_values import ARCHIVE_ID
from s2mirror.adapters.ledger.state_values import AREA_PRIORITIES as COUNT
from s2mirror.errors import IllegalTransition, LedgerError, UsageError
from s2mirror.lifecycle import TRANSITIONS, Event, State
from s2mirror.model import Digest, Listing, Rejected, RemoteFile, Transition, VerifiedFile
from s2mirror.times import format_utc, parse_utc

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
READ_BESIDE = """
import sys
import zlib
from pathlib import Path
from s2mirror.adapters.ledger import open_ledger
ledger = open_ledger(Path(sys.argv[1]), create=False)
for _ in range(30):
    print(sum(count for count, _ in ledger.products.counts().values()))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    opened = open_ledger(path)
    yield opened
    opened.close()


def history_of(ledger: Ledger, product_id: str) -> list[tuple[str, str, str, str]]:
    steps = ledger.products.history(product_id)
    return [(found.event, found.from_state, found.to_state, found.reason) for found in steps]


def test_twenty_threads_never_claim_the_same_product(ledger: Ledger) -> None:
    queued(ledger, *(product(f"p{n}") for n in range(60)))

    def claim_all(_: int) -> list[str]:
        found = [ledger.products.claim(NOW) for _ in range(61)]
        ledger.close()
        return [entry.product.id for entry in found if entry]

    with ThreadPoolExecutor(20) as pool:
        claimed = [name for names in pool.map(claim_all, range(20)) for name in names]
    assert sorted(claimed) == sorted(f"p{n}" for n in range(60))


def test_claim_statement_matches_the_life_table() -> None:
    to_state, from_state = re.findall(r"state = '(\w+)'", CLAIM)
    claims = {pair: target for pair, target in TRANSITIONS.items() if pair[1] is Event.CLAIM}
    assert claims == {(State(from_state), Event.CLAIM): State(to_state)}


def test_highest_priority_then_newest_is_claimed(ledger: Ledger) -> None:
    old, new, urgent = (
        product("old", hours_ago=9), product("new", hours_ago=1), product("urgent", hours_ago=99),
    )  # fmt: skip
    areas = {"old": ["alps"], "new": ["alps"], "urgent": ["alps", "flood"]}
    ledger.products.record([old, new, urgent], areas, priorities={"flood": 5, "alps": 1}, now=NOW)
    for name in areas:
        step(ledger, name, Event.ENQUEUE)
    claimed = [ledger.products.claim(NOW) for _ in range(4)]
    names = [entry.product.id for entry in claimed if entry]
    assert names == ["urgent", "new", "old"]
    assert claimed[-1] is None


def test_higher_area_priority_raises_its_products(ledger: Ledger) -> None:
    known, other = product("known", hours_ago=9), product("other", hours_ago=1)
    queued(ledger, known, other)
    ledger.products.record([], {"known": ["flood"]}, priorities={"flood": 5}, now=NOW)
    ledger.products.record([], {"known": ["calm"]}, priorities={"calm": -3}, now=NOW)
    entry = ledger.products.claim(NOW)
    assert entry is not None
    assert entry.product.id == "known"


def test_waiting_products_take_current_area_priorities(ledger: Ledger) -> None:
    queued(ledger, product("was-first", hours_ago=1), areas=("alps", "gone"))
    queued(ledger, product("now-first", hours_ago=9), areas=("flood",))
    record(ledger, product("nobodys"), areas=())
    ledger.products.reweigh({"alps": -1, "flood": 7})
    entry = ledger.products.claim(NOW)
    assert entry is not None
    assert entry.product.id == "now-first"


def test_product_in_back_off_is_not_claimed(ledger: Ledger) -> None:
    queued(ledger, product("x"))
    assert ledger.products.claim(NOW) is not None
    step(ledger, "x", Event.INTERRUPT, next_attempt_at=NOW + MINUTE, attempts=1)
    assert ledger.products.claim(NOW + MINUTE - timedelta(microseconds=1)) is None
    assert ledger.products.next_due_at() == NOW + MINUTE
    entry = ledger.products.claim(NOW + MINUTE)
    assert entry is not None
    assert (entry.state, entry.attempts) == (State.DOWNLOADING, 1)


def test_only_products_of_the_wanted_areas_are_claimed(ledger: Ledger) -> None:
    queued(ledger, product("a"), areas=("alps",))
    queued(ledger, product("r"), areas=("rhine", "delta"))
    entry = ledger.products.claim(NOW, ["delta"])
    assert entry is not None
    assert (entry.product.id, entry.areas) == ("r", ("delta", "rhine"))
    assert ledger.products.claim(NOW, ["delta"]) is None


def test_what_is_recorded_comes_back_as_it_was(ledger: Ledger) -> None:
    found = product("x", cloud_cover_percent=None, size_bytes=None, hours_ago=1.234567)
    record(ledger, found)
    entry = ledger.products.get("x")
    assert entry.product == found
    assert (entry.state, entry.attempts, entry.path) == (State.DISCOVERED, 0, None)
    assert entry.areas == ("alps",)


def test_recording_twice_changes_nothing(ledger: Ledger) -> None:
    record(ledger, product("x"))
    step(ledger, "x", Event.ENQUEUE)
    before, history = ledger.products.get("x"), ledger.products.history("x")
    record(ledger, product("x"))
    assert ledger.products.get("x") == before
    assert ledger.products.history("x") == history


def test_a_known_product_joins_one_more_area(ledger: Ledger) -> None:
    record(ledger, product("x"), areas=("alps",))
    ledger.products.record([], {"x": ["rhine"]}, priorities={}, now=NOW)
    assert ledger.products.get("x").areas == ("alps", "rhine")


def test_the_ledger_knows_pruned_products_for_ever(ledger: Ledger) -> None:
    queued(ledger, product("x", revision="aa"))
    ledger.products.claim(NOW)
    for event in (Event.VERIFY, Event.PUBLISH, Event.MARK, Event.PRUNE):
        step(ledger, "x", event)
    assert dict(ledger.products.known(["x", "y"])) == {"x": "aa"}


def test_unknown_product_error_names_the_list_command(ledger: Ledger) -> None:
    with pytest.raises(UsageError) as caught:
        ledger.products.get("x")
    assert str(caught.value) == (
        "the ledger knows no product 'x'; `s2mirror list` shows those it has, and "
        "`s2mirror why` says why one is not among them"
    )


def test_outdated_entry_cannot_be_advanced(ledger: Ledger) -> None:
    record(ledger, product("x"))
    before = ledger.products.get("x")
    step(ledger, "x", Event.ENQUEUE)
    with pytest.raises(IllegalTransition) as caught:
        ledger.products.advance(before, Transition(event=Event.ENQUEUE), now=NOW)
    assert str(caught.value) == "x is no longer discovered; it cannot enqueue now"
    assert len(ledger.products.history("x")) == 2


def test_illegal_transition_changes_nothing(ledger: Ledger) -> None:
    record(ledger, product("x"))
    with pytest.raises(IllegalTransition, match="cannot mark a product that is discovered"):
        step(ledger, "x", Event.MARK)
    assert ledger.products.get("x").state is State.DISCOVERED
    assert len(ledger.products.history("x")) == 1


def test_history_has_every_transition_with_reason(ledger: Ledger) -> None:
    queued(ledger, product("x"))
    ledger.products.claim(NOW)
    step(ledger, "x", Event.CORRUPT, reason="B02 differs", attempts=1)
    step(ledger, "x", Event.REQUEUE, reason="by hand", attempts=0)
    assert history_of(ledger, "x") == [
        ("discover", "", "discovered", ""),
        ("enqueue", "discovered", "queued", ""),
        ("claim", "queued", "downloading", ""),
        ("corrupt", "downloading", "quarantined", "B02 differs"),
        ("requeue", "quarantined", "queued", "by hand"),
    ]
    assert ledger.products.get("x").attempts == 0


def test_path_is_known_while_the_folder_exists(ledger: Ledger) -> None:
    queued(ledger, product("x"))
    ledger.products.claim(NOW)
    step(ledger, "x", Event.VERIFY)
    assert step(ledger, "x", Event.PUBLISH, path="T32TMT/x.SAFE").path == "T32TMT/x.SAFE"
    assert step(ledger, "x", Event.MARK).path == "T32TMT/x.SAFE"
    assert [entry.product.id for entry in ledger.products.in_tree()] == ["x"]
    assert step(ledger, "x", Event.PRUNE).path is None
    assert list(ledger.products.in_tree()) == []


@pytest.mark.long
def test_each_archived_product_is_found_once(ledger: Ledger) -> None:
    names = [f"x{number:04}" for number in range(1001)]
    record(ledger, *(product(name) for name in names))
    overwrite(ledger, "state = 'archived', path = 'T/' || id || '.SAFE'")
    overwrite(ledger, "state = 'queued'", "id = 'x0007'")
    held = [name for name in names if name != "x0007"]
    assert [entry.product.id for entry in ledger.products.in_tree()] == names
    assert [entry.product.id for entry in ledger.products.held()] == held
    assert list(ledger.products.archived()) == [(name, f"T/{name}.SAFE") for name in held]
    assert ledger.products.has_folder("T/x1000.SAFE")
    assert not ledger.products.has_folder("T/x1001.SAFE")


def test_a_held_product_without_a_folder_is_found(ledger: Ledger) -> None:
    record(ledger, product("x"), product("y"))
    overwrite(ledger, "state = 'archived'", "id = 'y'")
    assert [entry.product.id for entry in ledger.products.homeless()] == ["y"]


def test_lists_and_counts_say_the_same(ledger: Ledger) -> None:
    queued(ledger, product("a", hours_ago=2), product("b", hours_ago=1, tile="33UUP"))
    record(ledger, product("c", size_bytes=None), areas=("rhine",))
    assert ledger.products.counts() == {State.QUEUED: (2, 16), State.DISCOVERED: (1, 0)}
    by_area = ledger.products.area_counts()
    assert by_area["alps"][State.QUEUED] == 2
    assert by_area["rhine"][State.DISCOVERED] == 1
    assert sum(sum(counts.values()) for counts in by_area.values()) == 3

    def ids(**wanted: Any) -> list[str]:  # noqa: ANN401 - filters of several types
        return [entry.product.id for entry in ledger.products.listed(ProductQuery(**wanted))]

    assert ids() == ["c", "b", "a"]
    assert ids(state="queued") == ["b", "a"]
    assert ids(area="rhine") == ["c"]
    assert ids(tile="33UUP") == ["b"]
    assert [entry.product.id for entry in ledger.products.in_state(State.QUEUED)] == ["b", "a"]


def test_baselines_of_held_products_are_counted_by_area(ledger: Ledger) -> None:
    record(ledger, product("a", baseline="05.11"), product("b"), product("c"))
    record(ledger, product("b"), areas=("rhine",))
    assert ledger.held_baselines() == {}
    overwrite(ledger, "state = 'archived', path = id || '.SAFE'", "id <> 'c'")
    l2a, both = "sentinel-2-l2a", {"05.11": 1, "05.12": 1}
    assert ledger.held_baselines() == {"alps": {l2a: both}, "rhine": {l2a: {"05.12": 1}}}
    ledger.products.release("rhine", ["b"])
    overwrite(ledger, "baseline = '05.13'", "id = 'b'")
    overwrite(ledger, "path = NULL", "id = 'a'")
    assert ledger.held_baselines() == {"alps": {l2a: {"05.13": 1}}}
    record(ledger, product("b"), areas=("rhine",))
    counted = ledger.held_baselines()
    ledger.mend()  # counts all rows again
    assert (
        ledger.held_baselines()
        == counted
        == {"alps": {l2a: {"05.13": 1}}, "rhine": {l2a: {"05.13": 1}}}
    )


def test_a_watermark_never_moves_back(ledger: Ledger) -> None:
    cursors = ledger.cursors

    def complete(watermark: datetime | None) -> None:
        cursors.complete("s", watermark=watermark, listed_count=1, new_count=0, now=NOW)

    assert cursors.watermark("s") is None
    complete(None)
    assert cursors.watermark("s") is None
    complete(NOW)
    complete(NOW - HOUR)
    complete(None)
    assert cursors.watermark("s") == NOW
    complete(NOW + timedelta(microseconds=1))
    assert cursors.watermark("s") == NOW + timedelta(microseconds=1)
    assert cursors.watermark("other") is None


def test_failed_listing_keeps_watermark_with_its_error(ledger: Ledger) -> None:
    ledger.cursors.fail("s", "the catalog is busy", now=NOW)
    assert ledger.cursors.watermark("s") is None
    ledger.cursors.complete("s", watermark=NOW, listed_count=5, new_count=2, now=NOW)
    ledger.cursors.fail("s", "busy again", now=NOW + HOUR)
    (cursor,) = ledger.cursors.all()
    assert (cursor.watermark, cursor.error, cursor.error_at) == (NOW, "busy again", NOW + HOUR)
    assert (cursor.listed_count, cursor.new_count, cursor.listed_at) == (5, 2, NOW)
    ledger.cursors.complete("s", watermark=NOW, listed_count=5, new_count=0, now=NOW + 2 * HOUR)
    assert ledger.cursors.all()[0].error is None


def test_rejected_item_keeps_its_newest_reason(ledger: Ledger) -> None:
    bad = Rejected(id="x", collection="sentinel-2-l2a", reason="no time")
    ledger.cursors.reject([bad], now=NOW)
    ledger.cursors.reject([replace(bad, reason="no tile")], now=NOW)
    assert ledger.cursors.rejected(since=NOW) == [replace(bad, reason="no tile")]
    assert ledger.cursors.rejected(since=NOW + 2 * MINUTE) == []
    ledger.cursors.accept([bad.id])
    assert ledger.cursors.rejected(since=NOW) == []


def test_bytes_are_counted_in_their_hour(ledger: Ledger) -> None:
    ledger.add_transfer(5, now=NOW)
    ledger.add_transfer(7, now=NOW + 59 * MINUTE)
    ledger.add_transfer(100, now=NOW + HOUR)
    assert ledger.transferred_bytes(HOUR, now=NOW + HOUR) == 112
    assert ledger.transferred_bytes(MINUTE, now=NOW + HOUR + 2 * MINUTE) == 100
    assert ledger.transferred_bytes(timedelta(days=30), now=NOW + timedelta(days=31)) == 0


REMOTE = RemoteFile(path="GRANULE/é.jp2", key="k/GRANULE/é.jp2", size_bytes=3, etag="ab-2")
PROVEN = VerifiedFile(
    path="GRANULE/é.jp2",
    size_bytes=3,
    etag="ab-2",
    digest=Digest(algorithm="sha3_256", hexdigest="0" * 64),
)


def test_a_proof_comes_back_as_it_was(ledger: Ledger) -> None:
    record(ledger, product("x"))
    file_lists = ledger.file_lists
    assert file_lists.held("x") is None
    file_lists.put_listing("x", Listing(files=(REMOTE,), folders=("AUX_DATA",)))
    assert file_lists.staged_versions("x") == {"GRANULE/é.jp2": ("ab-2", 3)}
    file_lists.put_staged("x", [PROVEN])
    assert file_lists.held("x") is None
    file_lists.publish("x")
    assert file_lists.held("x") == (PROVEN,)
    assert file_lists.held_versions("x") == {"GRANULE/é.jp2": ("ab-2", 3)}
    assert file_lists.staged_versions("x") == {}


def test_a_proof_of_no_files_is_one_too(ledger: Ledger) -> None:
    record(ledger, product("x"))
    ledger.file_lists.put_staged("x", [])
    ledger.file_lists.publish("x")
    assert ledger.file_lists.held("x") == ()


def test_a_proof_tells_its_paths_alone(ledger: Ledger) -> None:
    held(ledger, "x")
    assert [summary.paths for summary in ledger.archived_products.summaries(ArchiveQuery())] == [
        [PROVEN.path]
    ]


def held(ledger: Ledger, name: str) -> None:
    """Record a held product with one file."""
    record(ledger, product(name))
    for transition in (
        *(Transition(event=event) for event in (Event.ENQUEUE, Event.CLAIM, Event.VERIFY)),
        Transition(event=Event.PUBLISH, path=f"{name}.SAFE"),
    ):
        ledger.products.advance(ledger.products.get(name), transition, now=NOW)
    ledger.file_lists.put_staged(name, [PROVEN])
    ledger.file_lists.publish(name)


def test_publishing_a_proof_twice_keeps_it(ledger: Ledger) -> None:
    record(ledger, product("x"))
    ledger.file_lists.put_staged("x", [PROVEN])
    ledger.file_lists.publish("x")
    ledger.file_lists.publish("x")
    assert ledger.file_lists.held("x") == (PROVEN,)


def test_a_forgotten_proof_is_gone(ledger: Ledger) -> None:
    record(ledger, product("x"))
    ledger.file_lists.put_staged("x", [PROVEN])
    ledger.file_lists.publish("x")
    held = ledger.products.get("x")
    ledger.products.advance(held, Transition(event=Event.PRUNE), now=NOW)
    ledger.trashed.forget(["x"])
    assert ledger.file_lists.held("x") is None
    assert ledger.file_lists.held_versions("x") == {}


def test_a_failed_write_leaves_nothing_of_its_transaction(ledger: Ledger) -> None:
    with pytest.raises(LedgerError):
        ledger.products.record(
            [product("x")], {"x": ["alps"], "stranger": ["alps"]}, priorities={}, now=NOW
        )
    assert dict(ledger.products.known(["x"])) == {}
    assert ledger.products.history("x") == []


def test_read_before_write_is_never_outdated(ledger: Ledger) -> None:
    def count(_: int) -> None:
        for _ in range(30):
            with ledger.connection.atomic():
                ledger.state.set(COUNT, {"n": (ledger.state.get(COUNT) or {"n": 0})["n"] + 1})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert ledger.state.get(COUNT) == {"n": 120}


def test_readers_never_wait_for_a_writer(ledger: Ledger, path: Path) -> None:
    record(ledger, product("p"))
    with ledger.connection.atomic():
        ledger.state.set(ARCHIVE_ID, "open")
        done = subprocess.run(
            [sys.executable, "-c", READ_BESIDE, str(path)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.stdout.split() == ["1"] * 30, done.stderr


def test_second_process_marks_while_first_works(ledger: Ledger, path: Path) -> None:
    queued(ledger, product("x"), product("y"))
    other = open_ledger(path, create=False)
    assert ledger.products.claim(NOW) is not None
    assert other.products.claim(NOW) is not None
    assert ledger.products.claim(NOW) is None
    other.close()


@given(
    st.datetimes(datetime(2015, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001 - hypothesis wants naive bounds
    st.datetimes(datetime(2015, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001 - same
)
def test_stored_times_sort_chronologically(one: datetime, other: datetime) -> None:
    first, second = one.replace(tzinfo=UTC), other.replace(tzinfo=UTC)
    assert (format_utc(first) < format_utc(second)) == (first < second)
    assert parse_utc(format_utc(first)) == first
