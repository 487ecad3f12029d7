"""Hostile responses against the client of the deletion feed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hostile_server import HostileServer, bomb, whole
from hypothesis import given, settings
from hypothesis import strategies as st

from s2mirror.adapters.odata import ODataDeletions, ODataOptions
from s2mirror.errors import CatalogError, CatalogUnavailable
from s2mirror.model import Deletion

START = datetime(2026, 5, 1, tzinfo=UTC)
GOOD = {"Name": "S2A_1.SAFE", "DeletionDate": "2026-05-02T00:00:00Z", "DeletionCause": "Other"}


def feed(server: HostileServer, **changes: Any) -> ODataDeletions:  # noqa: ANN401 - ODataOptions' fields
    return ODataDeletions(ODataOptions(url=server.url, **changes))


def document(*entries: object) -> list[bytes]:
    return [whole(json.dumps({"value": entries}).encode())]


@pytest.fixture(scope="module")
def server() -> Iterator[HostileServer]:
    with HostileServer().running() as running:
        yield running


@contextmanager
def refused(server: HostileServer, *answer: bytes) -> Iterator[pytest.ExceptionInfo[CatalogError]]:
    server.answers = [list(answer)]
    with pytest.raises(CatalogError) as caught:
        list(feed(server).since(START))
    yield caught


def test_usual_entry_becomes_a_deletion(server: HostileServer) -> None:
    server.answers = [document(GOOD)]
    when = datetime(2026, 5, 2, tzinfo=UTC)
    expected = Deletion(product_id="S2A_1", deleted_at=when, cause="Other")
    assert list(feed(server).since(START)) == [(expected,)]


ODD = {
    "a date before the year 1": document(GOOD | {"DeletionDate": "0001-01-01T00:00:00+14:00"}),
    "a date after the year 9999": document(GOOD | {"DeletionDate": "9999-12-31T23:59:59-14:00"}),
    "a name that is no text": document(GOOD | {"Name": {"a": 1}}),
    "deep JSON": [whole(b'{"value":' * 100_000)],
    "deep JSON below Python's limit": [whole(b'{"value":' + b"[" * 500 + b"]" * 500 + b"}")],
    "a number for a list": [whole(b'{"value": NaN}')],
    "a compressed bomb": [bomb(20)],
}


@pytest.mark.parametrize("answer", ODD.values(), ids=ODD)
def test_odd_response_is_a_catalog_error(server: HostileServer, answer: list[bytes]) -> None:
    with refused(server, *answer) as caught:
        assert "the feed of deleted products" in str(caught.value)


def test_text_that_cannot_be_stored_is_replaced(server: HostileServer) -> None:
    server.answers = [document(GOOD | {"Name": "S2A\0\ud800.SAFE", "DeletionCause": "x" * 10_000})]
    ((found,),) = feed(server).since(START)
    assert (found.product_id, len(found.cause)) == ("S2A??", 500)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_feed_elsewhere_is_never_an_empty_feed(server: HostileServer, status: int) -> None:
    with HostileServer(document()).running() as elsewhere:
        head = b"HTTP/1.1 %d Moved\r\nContent-Length: 0\r\nLocation: " % status
        with refused(server, head + elsewhere.url.encode() + b"\r\n\r\n") as caught:
            assert isinstance(caught.value, CatalogUnavailable)
            assert f"redirects to {elsewhere.url}, which is not followed" in str(caught.value)
    assert elsewhere.requests == []


def test_slow_feed_ends_at_the_deadline() -> None:
    server = HostileServer([b"HTTP/1.1 200 OK\r\nX: ", *[b"x"] * 1000], pause_seconds=0.05)
    late = r"was not complete within 1 s; will be tried again"
    with server.running(), pytest.raises(CatalogUnavailable, match=late):
        list(feed(server, timeout_seconds=0.2).since(START))


def test_feed_without_end_is_read_in_parts(server: HostileServer) -> None:
    dates = [(START + timedelta(seconds=number)).isoformat() for number in range(1, 7)]
    server.answers = [document(*[GOOD | {"DeletionDate": date}] * 1000) for date in dates]
    with pytest.raises(CatalogError, match="has more than 5 pages; the next poll reads on from"):
        list(feed(server, max_pages=5).since(START))
    assert server.answers == [document(*[GOOD | {"DeletionDate": dates[-1]}] * 1000)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
ENTRIES = st.builds(lambda name, odd: GOOD | {name: odd}, st.sampled_from(list(GOOD)), JSON) | JSON


@pytest.mark.long
@settings(max_examples=60)
@given(
    st.builds(document, ENTRIES, ENTRIES)
    | st.builds(lambda v: [whole(json.dumps(v).encode())], JSON)
)
def test_any_json_is_read_or_a_catalog_error(server: HostileServer, answer: list[bytes]) -> None:
    server.answers = [answer]
    with suppress(CatalogError):
        for batch in feed(server).since(START):
            for deletion in batch:
                f"{deletion.product_id}{deletion.cause}".encode()
