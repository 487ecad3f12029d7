"""How far each search has come, and which items could not be used."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from s2mirror.adapters.ledger.connection import Connection
from s2mirror.model import Rejected
from s2mirror.times import format_utc, parse_utc

COMPLETE: Final = """
INSERT INTO cursor (search, watermark, listed_at, listed_count, new_count)
VALUES (:search, :watermark, :now, :listed_count, :new_count)
ON CONFLICT (search) DO UPDATE
   SET watermark = max(coalesce(excluded.watermark, ''), coalesce(cursor.watermark, '')),
       listed_at = excluded.listed_at, listed_count = excluded.listed_count,
       new_count = excluded.new_count, error = NULL, error_at = NULL
"""
MOVE: Final = """
INSERT INTO cursor (search, watermark) VALUES (:search, :watermark)
ON CONFLICT (search) DO UPDATE
   SET watermark = max(excluded.watermark, coalesce(cursor.watermark, ''))
"""
FAIL: Final = """
INSERT INTO cursor (search, error, error_at) VALUES (:search, :error, :now)
ON CONFLICT (search) DO UPDATE SET error = excluded.error, error_at = excluded.error_at
"""
REJECT: Final = """
INSERT INTO rejected (id, collection, reason, first_seen_at, last_seen_at)
VALUES (:id, :collection, :reason, :now, :now)
ON CONFLICT (id) DO UPDATE SET reason = excluded.reason, last_seen_at = excluded.last_seen_at
"""

ACCEPT: Final = "DELETE FROM rejected WHERE id IN (SELECT value FROM json_each(:ids))"
_REJECTED: Final = """
SELECT id, collection, reason FROM rejected WHERE last_seen_at >= :since ORDER BY id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far one search has come."""

    search: str
    watermark: datetime | None
    """Newest ``published`` stamp of a complete listing; None until there was one."""
    listed_at: datetime | None
    """When the last complete listing ended; None until there was one."""
    listed_count: int
    new_count: int
    error: str | None
    """Why the newest listing failed; None after one that was complete."""
    error_at: datetime | None


class Cursors:
    """The cursor rows of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> list[Cursor]:
        """Return every search's cursor, by search."""
        rows = self._connection.query("SELECT * FROM cursor ORDER BY search")
        return [
            Cursor(
                search=row["search"],
                watermark=_maybe(row["watermark"]),
                listed_at=_maybe(row["listed_at"]),
                listed_count=row["listed_count"],
                new_count=row["new_count"],
                error=row["error"],
                error_at=_maybe(row["error_at"]),
            )
            for row in rows
        ]

    def watermark(self, search: str) -> datetime | None:
        """Return a search's watermark; None if it never completed."""
        sql = "SELECT watermark FROM cursor WHERE search = :search"
        rows = self._connection.query(sql, {"search": search})
        return _maybe(rows[0]["watermark"]) if rows else None

    def complete(
        self,
        search: str,
        *,
        watermark: datetime | None,
        listed_count: int,
        new_count: int,
        now: datetime,
    ) -> None:
        """Record a complete listing. A watermark never moves back."""
        self._connection.execute(
            COMPLETE,
            {
                "search": search,
                "watermark": format_utc(watermark) if watermark else None,
                "listed_count": listed_count,
                "new_count": new_count,
                "now": format_utc(now),
            },
        )

    def move(self, search: str, watermark: datetime) -> None:
        """Move a search's watermark, never back, while its listing goes on."""
        self._connection.execute(MOVE, {"search": search, "watermark": format_utc(watermark)})

    def fail(self, search: str, error: str, *, now: datetime) -> None:
        """Record that a listing did not complete; the watermark stays."""
        self._connection.execute(FAIL, {"search": search, "error": error, "now": format_utc(now)})

    def reject(self, items: Iterable[Rejected], *, now: datetime) -> None:
        """Record items that could not become products."""
        rows = [
            {"id": i.id, "collection": i.collection, "reason": i.reason, "now": format_utc(now)}
            for i in items
        ]
        with self._connection.atomic():
            self._connection.execute_many(REJECT, rows)

    def accept(self, ids: Iterable[str]) -> None:
        """Forget that items could not become products, as now they could."""
        self._connection.execute(ACCEPT, {"ids": json.dumps(list(ids))})

    def rejected(self, *, since: datetime) -> list[Rejected]:
        """Return all items that could not become products, of those listed *since*."""
        rows = self._connection.query(_REJECTED, {"since": format_utc(since)})
        return [Rejected(**row) for row in rows]


def _maybe(text: str | None) -> datetime | None:
    return parse_utc(text) if text else None
