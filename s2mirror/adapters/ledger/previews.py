"""Previews in the ledger: due ones, results and cost."""

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from s2mirror.adapters.ledger.connection import Connection, Row
from s2mirror.adapters.ledger.rows import decoded
from s2mirror.adapters.ledger.schema import sql_states
from s2mirror.lifecycle import HELD
from s2mirror.preview_model import Outcome, Preview, Spending
from s2mirror.times import format_utc

_DUE: Final = """
SELECT preview_due.product_id, preview_due.attempts
  FROM preview_due JOIN product ON product.id = product_id
 WHERE preview_due.next_attempt_at <= :now
 ORDER BY preview_due.next_attempt_at, product.sensed_at DESC LIMIT :limit
"""
_LATER: Final = """
UPDATE preview_due SET next_attempt_at = :next_attempt_at, attempts = :attempts
 WHERE product_id = :id
"""
_ENQUEUE: Final = f"""
INSERT OR IGNORE INTO preview_due (product_id, next_attempt_at)
SELECT id, '' FROM product
 WHERE state IN {sql_states(HELD)}
   AND id IN (SELECT product_id FROM membership
               WHERE area IN (SELECT value FROM json_each(:areas)))
"""
_RECORD: Final = """
INSERT OR REPLACE INTO preview (subject, name, outcome, paths, reason, made_at, units)
VALUES (:subject, :name, :outcome, :paths, :reason, :made_at, :units)
"""
# Items of the local catalog show rendered previews; the quicklook is an asset in any case.
_NOTE: Final = """
INSERT INTO change (consumer, product_id, kind, at)
SELECT consumer, id, kind, :made_at FROM change_subscription JOIN product ON id = :subject
 WHERE path IS NOT NULL
   AND kind = CASE :name WHEN 'quicklook' THEN 'quicklook' ELSE 'previewed' END
"""
_OPEN_MONTH: Final = """
INSERT INTO preview_spending (month, requests, units) VALUES (:month, 0, 0)
ON CONFLICT (month) DO NOTHING
"""
# One statement, so that two processes together cannot exceed the allowance.
_RESERVE: Final = """
UPDATE preview_spending SET requests = requests + 1, units = units + :units
 WHERE month = :month AND requests + 1 <= :max_requests AND units + :units <= :max_units
"""
_CORRECT: Final = """
UPDATE preview_spending
   SET requests = max(0, requests + :requests), units = max(0.0, units + :units)
 WHERE month = :month
"""


class Previews:
    """The preview rows of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def due(self, now: datetime, limit: int) -> dict[str, int]:
        """Return the products with due previews, newest sensing first: attempts by product id."""
        rows = self._connection.query(_DUE, {"now": format_utc(now), "limit": limit})
        return {row["product_id"]: row["attempts"] for row in rows}

    def due_count(self) -> int:
        """Return the number of products with a preview that is due, now or later."""
        return int(self._connection.query("SELECT count(*) AS n FROM preview_due")[0]["n"])

    def settle(self, product_id: str) -> None:
        """Record that a product has no due preview any more."""
        sql = "DELETE FROM preview_due WHERE product_id = :id"
        self._connection.execute(sql, {"id": product_id})

    def later(self, product_id: str, *, attempts: int, next_attempt_at: datetime) -> None:
        """Postpone the previews of a product."""
        row = {
            "id": product_id,
            "attempts": attempts,
            "next_attempt_at": format_utc(next_attempt_at),
        }
        self._connection.execute(_LATER, row)

    def enqueue(self, areas: Collection[str]) -> int:
        """Make the previews of all held products of *areas* due; return how many became due."""
        return self._connection.execute(_ENQUEUE, {"areas": json.dumps(list(areas))})

    def record(self, preview: Preview) -> None:
        """Store the result of a preview, in place of an earlier one."""
        subject = {"subject": preview.subject, "name": preview.name}
        result = {
            "outcome": preview.outcome,
            "paths": json.dumps(preview.paths),
            "reason": preview.reason,
            "made_at": format_utc(preview.made_at),
            "units": preview.units,
        }
        with self._connection.atomic():
            self._connection.execute(_RECORD, subject | result)
            self._connection.execute(_NOTE, subject | result)

    def of(self, subject: str) -> dict[str, Preview]:
        """Return the previews of a subject, by name."""
        sql = "SELECT * FROM preview WHERE subject = :subject ORDER BY name"
        rows = self._connection.query(sql, {"subject": subject})
        return {row["name"]: self._preview(row) for row in rows}

    def counts(self) -> Mapping[Outcome, int]:
        """Return the number of previews by outcome."""
        sql = "SELECT outcome, min(subject) AS subject, count(*) AS n FROM preview GROUP BY outcome"
        rows = self._connection.query(sql)
        return {self._decoded(row, "outcome", key=row["subject"]): row["n"] for row in rows}

    def reserve(self, month: str, units: float, *, allowance: Spending) -> bool:
        """Count a request of *units* if the month's allowance permits it; return whether so."""
        row = {
            "month": month,
            "units": units,
            "max_requests": allowance.requests,
            "max_units": allowance.units,
        }
        self._connection.execute(_OPEN_MONTH, {"month": month})
        return self._connection.execute(_RESERVE, row) == 1

    def correct(self, month: str, units: float, *, requests: int = 0) -> None:
        """Add the difference between the true and the reserved cost of a request."""
        row = {"month": month, "units": units, "requests": requests}
        self._connection.execute(_CORRECT, row)

    def spending(self, month: str) -> Spending:
        """Return the cost of the previews of a month."""
        sql = "SELECT requests, units FROM preview_spending WHERE month = :month"
        rows = self._connection.query(sql, {"month": month})
        return Spending(**rows[0]) if rows else Spending(requests=0, units=0.0)

    def _preview(self, row: Row) -> Preview:
        return Preview(
            subject=row["subject"],
            name=row["name"],
            outcome=self._decoded(row, "outcome", key=row["subject"]),
            paths=tuple(self._decoded(row, "paths", key=row["subject"])),
            reason=row["reason"],
            made_at=self._decoded(row, "made_at", key=row["subject"]),
            units=row["units"],
        )

    def _decoded(self, row: Row, column: str, *, key: str) -> Any:  # noqa: ANN401 - as below
        return decoded(self._connection.path, "preview", column, row[column], key=key)
