"""Requests of commands to the daemon, as the ledger stores them."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from builders import NOW

from s2mirror.adapters.ledger import Ledger, open_ledger
from s2mirror.adapters.ledger.requests import LAPSES_AFTER

ARGUMENTS = {"yes": True, "unclaimed": False}


@pytest.fixture(name="ledger")
def _ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(tmp_path / "ledger.db")
    yield opened
    opened.close()


def test_oldest_request_is_begun_once_and_answered(ledger: Ledger) -> None:
    first = ledger.requests.ask("prune", ARGUMENTS, now=NOW)
    ledger.requests.ask("rebuild", {}, now=NOW)
    begun = ledger.requests.begin_next(now=NOW)
    assert begun is not None
    assert (begun.id, begun.kind, begun.arguments) == (first, "prune", ARGUMENTS)
    following = ledger.requests.begin_next(now=NOW)
    assert following is not None
    assert following.kind == "rebuild"
    assert ledger.requests.begin_next(now=NOW) is None
    ledger.requests.answer(first, {"values": {"é": 1}})
    status = ledger.requests.status(first)
    assert status is not None
    assert status.answer == {"values": {"é": 1}}


def test_request_of_a_killed_command_is_never_begun(ledger: Ledger) -> None:
    ledger.requests.ask("prune", ARGUMENTS, now=NOW)
    renewed = ledger.requests.ask("rebuild", {}, now=NOW)
    later = NOW + LAPSES_AFTER + timedelta(seconds=1)
    ledger.requests.renew(renewed, now=later)
    begun = ledger.requests.begin_next(now=later)
    assert begun is not None
    assert begun.id == renewed
    assert not ledger.requests.waiting(), "the lapsed one is deleted"


@pytest.mark.parametrize("column", ["kind", "arguments", "renewed_at", "id"])
def test_damaged_request_is_never_begun(ledger: Ledger, column: str) -> None:
    ledger.requests.ask("prune", ARGUMENTS, now=NOW)
    ledger.connection.execute(f"UPDATE request SET {column} = '{{}}'")  # noqa: S608 - constants
    assert ledger.requests.begin_next(now=NOW) is None
    assert not ledger.requests.waiting()


def test_only_an_unbegun_request_can_be_withdrawn(ledger: Ledger) -> None:
    request = ledger.requests.ask("prune", ARGUMENTS, now=NOW)
    assert ledger.requests.withdraw(request)
    assert ledger.requests.status(request) is None
    request = ledger.requests.ask("prune", ARGUMENTS, now=NOW)
    ledger.requests.begin_next(now=NOW)
    assert not ledger.requests.withdraw(request)


def test_next_daemon_answers_what_a_dead_one_began(ledger: Ledger) -> None:
    begun = ledger.requests.ask("prune", ARGUMENTS, now=NOW)
    ledger.requests.begin_next(now=NOW)
    waiting = ledger.requests.ask("rebuild", {}, now=NOW)
    assert ledger.requests.interrupt({"error": "ended"}) == 1
    status = ledger.requests.status(begun)
    assert status is not None
    assert status.answer == {"error": "ended"}
    following = ledger.requests.begin_next(now=NOW)
    assert following is not None
    assert following.id == waiting


def test_answer_that_nobody_read_is_deleted_later(ledger: Ledger) -> None:
    request = ledger.requests.ask("rebuild", {}, now=NOW)
    ledger.requests.begin_next(now=NOW)
    ledger.requests.answer(request, {"values": {}})
    ledger.requests.begin_next(now=NOW + timedelta(hours=23))
    assert ledger.requests.status(request) is not None
    ledger.requests.begin_next(now=NOW + timedelta(hours=25))
    assert ledger.requests.status(request) is None
