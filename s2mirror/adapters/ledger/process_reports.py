"""Queries about the processing of products, for people. Each reads few rows."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from s2mirror.adapters.ledger.connection import Connection, Row
from s2mirror.adapters.ledger.row_checksums import damaged
from s2mirror.process_model import ProcessRun, RunOutcome, RunState
from s2mirror.times import parse_utc

# The conditions are those of the index ``process_failing``.
_FAILING: Final = """
SELECT entry, count(*) AS products, sum(state = 'failed') AS given_up,
       max(failures) AS most_failures, min(failing_since) AS since,
       (SELECT reason FROM process_state AS last
         WHERE last.entry = process_state.entry AND failing_since <> ''
         ORDER BY failing_since DESC LIMIT 1) AS reason
  FROM process_state WHERE failing_since <> '' GROUP BY entry ORDER BY entry
"""
_FAILED: Final = """
SELECT product_id, entry FROM process_state
 WHERE failing_since <> '' AND (:names = '[]' OR entry IN (SELECT value FROM json_each(:names)))
   AND (:area = '' OR EXISTS (SELECT 1 FROM membership
         WHERE membership.product_id = process_state.product_id AND area = :area))
 ORDER BY entry, failing_since
"""
# The condition is that of the index ``process_open``.
_OPEN: Final = """
SELECT entry, state, count(*) AS products FROM process_state
 WHERE state <> 'done' GROUP BY entry, state
"""
_FIRST: Final = """
SELECT next_attempt_at AS since FROM process_state
 WHERE entry = :entry AND state = 'waiting' ORDER BY priority DESC, sensed_at DESC LIMIT 1
"""
_LAST_END: Final = "SELECT max(ended_at) AS since FROM process_run WHERE entry = :entry"
_RUNS: Final = "SELECT * FROM process_run WHERE product_id = :id ORDER BY began_at, entry, attempt"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingEntry:
    """A processing entry whose command failed for products that are not done since."""

    entry: str
    products: int
    given_up: int
    most_failures: int
    since: datetime
    reason: str
    """Of the product that began to fail last."""


class ProcessReports:
    """Reads reports about the processing from the rows of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def failing(self) -> list[FailingEntry]:
        """Return the entries that fail for products now."""
        return [
            FailingEntry(**{**row, "since": self._time("process_state", "failing_since", row)})
            for row in self._connection.query(_FAILING)
        ]

    def failed(self, names: Collection[str] = (), area: str = "") -> list[tuple[str, str]]:
        """Return products and entries that fail now, of these entries and this area, or all."""
        params = {"names": json.dumps(list(names)), "area": area}
        rows = self._connection.query(_FAILED, params)
        return [(row["product_id"], row["entry"]) for row in rows]

    def open(self) -> dict[tuple[str, RunState], int]:
        """Return the number of products by entry and state, but for those that are done."""
        rows = self._connection.query(_OPEN)
        return {(row["entry"], RunState(row["state"])): row["products"] for row in rows}

    def first_waits_since(self, entry: str) -> datetime | None:
        """Return since when the next run of an entry waits; None if none does."""
        rows = self._connection.query(_FIRST, {"entry": entry})
        return self._time("process_state", "next_attempt_at", rows[0]) if rows else None

    def last_ended_at(self, entry: str) -> datetime | None:
        """Return when the last run of an entry ended; None if none has."""
        row = self._connection.query(_LAST_END, {"entry": entry})[0]
        return self._time("process_run", "ended_at", row) if row["since"] else None

    def runs(self, product_id: str) -> list[ProcessRun]:
        """Return the recorded runs of a product, oldest first."""
        return [_run(row) for row in self._connection.query(_RUNS, {"id": product_id})]

    def _time(self, table: str, column: str, row: Row) -> datetime:
        try:
            return parse_utc(row["since"])
        except ValueError as error:
            raise damaged(
                self._connection.path, table, row.get("entry", "one row"), column
            ) from error


def _run(row: Row) -> ProcessRun:
    ended_at = parse_utc(row["ended_at"]) if row["ended_at"] else None
    changed = {"began_at": parse_utc(row["began_at"]), "ended_at": ended_at}
    return ProcessRun(**{**row, **changed, "outcome": RunOutcome(row["outcome"])})
