"""Requests of commands to the running daemon, and its answers.

Only users who may write the ledger can ask, and they could change it anyway. A request is in one of
three states: ``asked``, ``begun`` and ``answered``. Its command renews an asked request while it
waits; a request that is not renewed has lost its command, and is never begun.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from s2mirror.adapters.ledger.connection import Connection, Row
from s2mirror.adapters.ledger.row_checksums import checked, insert, require_intact, update
from s2mirror.errors import LedgerError
from s2mirror.times import format_utc, parse_utc

LAPSES_AFTER: Final = timedelta(seconds=30)
"""Without renewal. A command renews its request every few seconds."""
_KEPT: Final = timedelta(days=1)
_NEW: Final = {
    "id": ":id",
    "kind": ":kind",
    "arguments": ":arguments",
    "renewed_at": ":now",
    "state": "'asked'",
}
ASK: Final = insert("request", _NEW)
RENEW: Final = update("request", {"renewed_at": ":now"}, "id = :id AND state = 'asked'")
BEGIN: Final = update("request", {"state": "'begun'"}, "id = :id AND state = 'asked'")
ANSWER: Final = update(
    "request", {"state": "'answered'", "answer": ":answer"}, "id = :id AND state = 'begun'"
)
INTERRUPT: Final = update(
    "request", {"state": "'answered'", "answer": ":answer"}, "state = 'begun'"
)
_ASKED: Final = f"SELECT *, {checked('request')} FROM request WHERE state = 'asked' ORDER BY rowid"
_ONE: Final = f"SELECT *, {checked('request')} FROM request WHERE id = :id"
_FORGET: Final = "DELETE FROM request WHERE id = :id"
_WITHDRAW: Final = "DELETE FROM request WHERE id = :id AND state = 'asked'"
_FORGET_OLD: Final = "DELETE FROM request WHERE state <> 'begun' AND renewed_at < :before"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorRequest:
    """What a command asks of the daemon."""

    id: str
    kind: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestStatus:
    """What a command sees of its request."""

    begun: bool
    answer: Mapping[str, Any] | None
    """None until the daemon has answered."""


class Requests:
    """The requests in a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ask(
        self, kind: str, arguments: Mapping[str, Any], *, now: datetime, request_id: str = ""
    ) -> str:
        """Record a request, and return its id.

        A caller that may be stopped at any time gives an id of its own, so that it can withdraw.
        """
        request_id = request_id or uuid4().hex
        params = {"id": request_id, "kind": kind, "arguments": json.dumps(dict(arguments))}
        self._connection.execute(ASK, {**params, "now": format_utc(now)})
        return request_id

    def renew(self, request_id: str, *, now: datetime) -> None:
        """Record that the command still waits for the request to be begun."""
        self._connection.execute(RENEW, {"id": request_id, "now": format_utc(now)})

    def withdraw(self, request_id: str) -> bool:
        """Delete a request that is not begun; return whether it was deleted."""
        return self._connection.execute(_WITHDRAW, {"id": request_id}) > 0

    def status(self, request_id: str) -> RequestStatus | None:
        """Return the status of a request; None if there is no such request."""
        rows = self._connection.query(_ONE, {"id": request_id})
        if not rows:
            return None
        require_intact(self._connection.path, "request", rows[0])
        answer = rows[0]["answer"]
        return RequestStatus(
            begun=rows[0]["state"] != "asked", answer=None if answer is None else json.loads(answer)
        )

    def forget(self, request_id: str) -> None:
        """Delete a request whose answer has been read."""
        self._connection.execute(_FORGET, {"id": request_id})

    def waiting(self) -> bool:
        """Return whether a request is asked. This is cheap: the daemon calls it every second."""
        return bool(self._connection.query("SELECT 1 FROM request WHERE state = 'asked' LIMIT 1"))

    def begin_next(self, *, now: datetime) -> OperatorRequest | None:
        """Begin the oldest request, and return it; None if none is left.

        Requests that were not renewed, and damaged ones, are deleted.
        """
        self._connection.execute(_FORGET_OLD, {"before": format_utc(now - _KEPT)})
        for row in self._connection.query(_ASKED):
            request = self._usable(row, now)
            if request is None:
                self.forget(row["id"])
            elif self._connection.execute(BEGIN, {"id": request.id}):
                return request
        return None

    def answer(self, request_id: str, answer: Mapping[str, Any]) -> None:
        """Record the answer to a request that was begun."""
        params = {"id": request_id, "answer": json.dumps(dict(answer), ensure_ascii=False)}
        self._connection.execute(ANSWER, params)

    def interrupt(self, answer: Mapping[str, Any]) -> int:
        """Answer every request that an earlier daemon has begun; return their number."""
        return self._connection.execute(INTERRUPT, {"answer": json.dumps(dict(answer))})

    def _usable(self, row: Row, now: datetime) -> OperatorRequest | None:
        try:
            require_intact(self._connection.path, "request", row)
        except LedgerError:
            return None
        if abs(now - parse_utc(row["renewed_at"])) > LAPSES_AFTER:
            return None
        arguments = json.loads(row["arguments"])
        return OperatorRequest(id=row["id"], kind=row["kind"], arguments=arguments)
