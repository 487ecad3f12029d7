"""Adoption in the ledger: one transaction makes a verified product held."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from adapters_builders import queued, record, step
from builders import NOW, product

from s2mirror.adapters.ledger import AdoptedProduct, Ledger, Taken, open_ledger
from s2mirror.adapters.ledger.changes import LOCAL_CATALOG, ChangeKind
from s2mirror.errors import LedgerError
from s2mirror.lifecycle import Event, State
from s2mirror.model import DROPPED, Digest, VerifiedFile
from s2mirror.selection import chosen

ID = "S2A_one"
PATH = f"T32TMT/{ID}.SAFE"
FILES = (
    VerifiedFile(
        path="manifest.safe",
        size_bytes=5,
        etag="",
        digest=Digest(algorithm="md5", hexdigest="0" * 32),
    ),
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(tmp_path / "ledger.db")
    yield opened
    opened.close()


def adopted(**given: Any) -> AdoptedProduct:  # noqa: ANN401 - AdoptedProduct's fields
    values: dict[str, Any] = {
        "product": product(ID, size_bytes=None),
        "path": PATH,
        "files": FILES,
        "areas": ("alps",),
        "properties": {"eo:cloud_cover": 3},
        "reason": "from /old",
    }
    return AdoptedProduct(**{**values, **given})


def events_of(ledger: Ledger) -> list[str]:
    return [entry.event for entry in ledger.products.history(ID)]


def test_adopted_product_is_held_with_everything(ledger: Ledger) -> None:
    selection = chosen(bands=["B02"])
    taken = ledger.adoption.take(adopted(selection=selection, whole_bytes=9), now=NOW)
    entry = ledger.products.get(ID)
    assert taken is Taken.ADOPTED
    assert (entry.state, entry.path, entry.areas) == (State.ARCHIVED, PATH, ("alps",))
    assert (entry.product.size_bytes, entry.selection) == (5, selection)
    assert ledger.file_lists.held(ID) == FILES
    assert ledger.selections.whole_bytes(ID) == 9
    assert ledger.items.properties(ID) == {"eo:cloud_cover": 3}
    assert events_of(ledger) == ["discover", "adopt"]
    assert ledger.products.history(ID)[-1].reason == "from /old"
    assert ledger.damaged_rows() == ()


def test_processed_mark_comes_along(ledger: Ledger) -> None:
    ledger.adoption.take(adopted(processed=True), now=NOW)
    assert ledger.products.get(ID).state is State.PROCESSED
    assert events_of(ledger) == ["discover", "adopt", "mark"]


def test_second_adoption_changes_nothing(ledger: Ledger) -> None:
    ledger.adoption.take(adopted(), now=NOW)
    before = ledger.products.get(ID), events_of(ledger)
    assert ledger.adoption.take(adopted(processed=True), now=NOW) is Taken.HELD
    elsewhere = adopted(path=f"other/{ID}.SAFE", files=())
    assert ledger.adoption.take(elsewhere, now=NOW) is Taken.HELD_ELSEWHERE
    assert (ledger.products.get(ID), events_of(ledger)) == before
    assert ledger.file_lists.held(ID) == FILES


@pytest.mark.parametrize(
    "events",
    [
        (),
        (Event.ENQUEUE,),
        (Event.ENQUEUE, Event.CLAIM, Event.GIVE_UP),
        (Event.ENQUEUE, Event.CLAIM, Event.CORRUPT),
        (Event.PRUNE,),
        (Event.SUPERSEDE,),
        (Event.WITHDRAW,),
    ],
)
def test_known_product_keeps_the_catalogs_values(ledger: Ledger, events: tuple[Event, ...]) -> None:
    known = product(ID, revision="from the catalog", size_bytes=None)
    record(ledger, known, areas=("lake",))
    for event in events:
        step(ledger, ID, event, reason="before", attempts=2)
    assert ledger.adoption.take(adopted(), now=NOW) is Taken.ADOPTED
    entry = ledger.products.get(ID)
    assert entry.product == replace(known, size_bytes=5)
    assert (entry.state, entry.areas, entry.attempts) == (State.ARCHIVED, ("alps", "lake"), 0)


@pytest.mark.parametrize("more", [(), (Event.VERIFY,)])
def test_product_being_downloaded_is_left_alone(ledger: Ledger, more: tuple[Event, ...]) -> None:
    queued(ledger, product(ID))
    for event in (Event.CLAIM, *more):
        step(ledger, ID, event)
    before = ledger.products.get(ID)
    assert ledger.adoption.take(adopted(), now=NOW) is Taken.IN_PROGRESS
    assert ledger.products.get(ID) == before


def test_path_of_another_product_records_nothing(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="own folder in the archive"):
        ledger.adoption.take(adopted(path="T32TMT/S2A_two.SAFE"), now=NOW)
    assert ledger.products.known([ID]) == {}


def test_adoption_is_noted_for_the_local_catalog(ledger: Ledger) -> None:
    ledger.changes.subscribe(LOCAL_CATALOG, [ChangeKind.PUBLISHED])
    ledger.adoption.take(adopted(), now=NOW + timedelta(hours=1))
    assert ledger.changes.pending_ids(LOCAL_CATALOG) == {ID}


def test_adoption_ends_an_unfinished_drop(ledger: Ledger) -> None:
    """Otherwise the next prune would remove what a person has just adopted."""
    record(ledger, product(ID))
    ledger.products.join(DROPPED, ID)
    ledger.adoption.take(adopted(), now=NOW)
    assert DROPPED not in ledger.products.get(ID).areas
