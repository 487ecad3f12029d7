"""Queries for the judgement of a mirror. Each reads few rows, however large the ledger is."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from s2mirror.adapters.ledger.connection import Connection, Row
from s2mirror.adapters.ledger.reading import claimants
from s2mirror.adapters.ledger.row_checksums import damaged
from s2mirror.lifecycle import State
from s2mirror.times import format_utc, parse_utc

SAMPLE: Final = 100
"""So many of the queued products are looked at, in the order of the queue."""
_CLAIMED: Final = """(:areas = '[]' OR EXISTS (
   SELECT 1 FROM membership WHERE product_id = p.id
      AND +area IN (SELECT value FROM json_each(:areas))))"""
# A claim and its end change no time of a product's wait; what moved it into the queue does.
_QUEUE: Final = f"""
SELECT id, sensed_at, attempts, reason, size_bytes, next_attempt_at,
       coalesce((SELECT max(at) FROM history
                  WHERE product_id = p.id AND to_state = 'queued' AND event <> 'interrupt'),
                changed_at) AS since
  FROM product AS p
 WHERE state = :state AND {_CLAIMED}
 ORDER BY priority DESC, sensed_at DESC LIMIT {SAMPLE}
"""
_IN_STATE: Final = f"""
SELECT count(*) AS products, min(changed_at) AS since, max(changed_at) AS newest_at,
       max(reason) AS reason
  FROM product AS p WHERE state = :state AND {_CLAIMED}
"""
# The condition is that of the index ``preview_failed``.
_PREVIEWS: Final = """
SELECT count(*) AS products, min(made_at) AS since, max(made_at) AS newest_at,
       max(reason) AS reason
  FROM preview WHERE outcome = 'failed' AND made_at >= :since
"""
_RECEIVED: Final = "SELECT max(received_at) AS at FROM transfer"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedProduct:
    """A product that waits, or that a worker has claimed."""

    id: str
    sensed_at: datetime
    attempts: int
    reason: str
    size_bytes: int | None
    next_attempt_at: datetime
    since: datetime
    """When it was enqueued, or requeued by a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSummary:
    """The products of one state, or the failed previews."""

    products: int
    since: datetime | None
    newest_at: datetime | None
    reason: str


class WorkFacts:
    """Reads facts about the work from the rows of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def first(self, areas: Collection[str], *states: State) -> list[QueuedProduct]:
        """Return the first products in each of some states, in the order of the queue."""
        found = []
        for state in states:
            params = {"areas": claimants(areas), "state": state}
            found += [
                QueuedProduct(
                    id=row["id"],
                    sensed_at=self._time(row, "sensed_at"),
                    attempts=row["attempts"],
                    reason=row["reason"],
                    size_bytes=row["size_bytes"],
                    next_attempt_at=self._time(row, "next_attempt_at"),
                    since=self._time(row, "since"),
                )
                for row in self._connection.query(_QUEUE, params)
            ]
        return found

    def in_state(self, state: State, areas: Collection[str]) -> StateSummary:
        """Return how many products of *areas* are in a state, and since when; reads them all."""
        row = self._connection.query(_IN_STATE, {"areas": claimants(areas), "state": state})[0]
        return self._summary(row)

    def failed_previews(self, since: datetime) -> StateSummary:
        """Return the previews that could not be made since then."""
        return self._summary(self._connection.query(_PREVIEWS, {"since": format_utc(since)})[0])

    def _summary(self, row: Row) -> StateSummary:
        return StateSummary(
            products=row["products"],
            since=self._time(row, "since") if row["since"] else None,
            newest_at=self._time(row, "newest_at") if row["newest_at"] else None,
            reason=row["reason"] or "",
        )

    def received_at(self) -> datetime | None:
        """Return when bytes were last received from the store; None if never."""
        found = self._connection.query(_RECEIVED)[0]
        return self._time(found, "at", table="transfer") if found["at"] else None

    def _time(self, row: Row, column: str, *, table: str = "product") -> datetime:
        try:
            return parse_utc(row[column])
        except (TypeError, ValueError) as error:
            name = row.get("id") or "one row"
            raise damaged(self._connection.path, table, name, column) from error
