"""The progress of each search: its watermark, its sweeps, and the areas that it covers."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from s2mirror.adapters.ledger.connection import Connection
from s2mirror.model import Rejected, SweepKind, SweepState
from s2mirror.times import format_utc, parse_utc

COMPLETE_LISTING: Final = """
INSERT INTO cursor (search, watermark, listed_at, listed_count, new_count)
VALUES (:search, :watermark, :now, :listed_count, :new_count)
ON CONFLICT (search) DO UPDATE
   SET watermark = max(coalesce(excluded.watermark, ''), coalesce(cursor.watermark, '')),
       listed_at = excluded.listed_at, listed_count = excluded.listed_count,
       new_count = excluded.new_count, error = NULL, error_at = NULL
"""
MOVE_WATERMARK: Final = """
INSERT INTO cursor (search, watermark) VALUES (:search, :watermark)
ON CONFLICT (search) DO UPDATE
   SET watermark = max(excluded.watermark, coalesce(cursor.watermark, ''))
"""
FAIL_LISTING: Final = """
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
BEGIN_SWEEP: Final = """
INSERT INTO sweep (search, kind, under_way) VALUES (:search, :kind, 1)
ON CONFLICT (search, kind) DO UPDATE SET under_way = 1
"""
REACH_TIME: Final = """
UPDATE sweep SET reached = :reached WHERE search = :search AND kind = :kind
"""
COUNT_LATE: Final = """
UPDATE sweep SET found_late = found_late + :found_late WHERE search = :search AND kind = :kind
"""
COMPLETE_SWEEP: Final = """
UPDATE sweep SET under_way = 0, reached = NULL, completed_at = :now
 WHERE search = :search AND kind = :kind
"""
COVER: Final = """
INSERT INTO coverage (collection, area, fingerprint, search)
VALUES (:collection, :area, :fingerprint, :search)
ON CONFLICT (collection, area) DO UPDATE
   SET fingerprint = excluded.fingerprint, search = excluded.search
"""
# A search that found no product has no watermark; its successor then has none either, so that it
# lists everything as new.
TAKE_OVER: Final = (
    """
    INSERT INTO cursor (search, watermark, listed_at, listed_count, new_count)
    SELECT :search, CASE WHEN count(watermark) = count(*) THEN min(watermark) END,
           min(listed_at), 0, 0
      FROM cursor WHERE search IN (SELECT value FROM json_each(:donors))
    """,
    """
    INSERT INTO sweep (search, kind, under_way, completed_at, found_late)
    SELECT :search, kind, 0, min(completed_at), sum(found_late)
      FROM sweep WHERE kind = 'full' AND search IN (SELECT value FROM json_each(:donors))
    """,
)
UNCOVER: Final = "DELETE FROM coverage WHERE area = :area"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The progress of one search."""

    search: str
    watermark: datetime | None
    """Newest ``published`` time of a complete listing; None before the first one."""
    listed_at: datetime | None
    """When the last complete listing ended; None before the first one."""
    listed_count: int
    new_count: int
    error: str | None
    """Why the newest listing failed; None after a complete one."""
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
        """Return a search's watermark; None if no listing was complete."""
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
            COMPLETE_LISTING,
            {
                "search": search,
                "watermark": format_utc(watermark) if watermark else None,
                "listed_count": listed_count,
                "new_count": new_count,
                "now": format_utc(now),
            },
        )

    def move(self, search: str, watermark: datetime) -> None:
        """Advance a search's watermark while its listing continues; it never decreases."""
        self._connection.execute(
            MOVE_WATERMARK, {"search": search, "watermark": format_utc(watermark)}
        )

    def fail(self, search: str, error: str, *, now: datetime) -> None:
        """Record that a listing failed; the watermark stays."""
        self._connection.execute(
            FAIL_LISTING, {"search": search, "error": error, "now": format_utc(now)}
        )

    def reject(self, items: Iterable[Rejected], *, now: datetime) -> None:
        """Record items that could not become products."""
        rows = [
            {"id": i.id, "collection": i.collection, "reason": i.reason, "now": format_utc(now)}
            for i in items
        ]
        with self._connection.atomic():
            self._connection.execute_many(REJECT, rows)

    def accept(self, ids: Iterable[str]) -> None:
        """Delete the record of unusable items that are usable now."""
        self._connection.execute(ACCEPT, {"ids": json.dumps(list(ids))})

    def rejected(self, *, since: datetime) -> list[Rejected]:
        """Return the items listed *since* then that could not become products."""
        rows = self._connection.query(_REJECTED, {"since": format_utc(since)})
        return [Rejected(**row) for row in rows]


class Sweeps:
    """The sweep rows of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def states(self, search: str) -> dict[SweepKind, SweepState]:
        """Return a search's sweeps by kind, without kinds that have not begun."""
        sql = "SELECT * FROM sweep WHERE search = :search"
        rows = self._connection.query(sql, {"search": search})
        return {
            SweepKind(row["kind"]): SweepState(
                kind=SweepKind(row["kind"]),
                under_way=bool(row["under_way"]),
                reached=_maybe(row["reached"]),
                completed_at=_maybe(row["completed_at"]),
                found_late=row["found_late"],
            )
            for row in rows
        }

    def begin(self, search: str, kind: SweepKind) -> None:
        """Begin a sweep, or continue the present one."""
        self._connection.execute(BEGIN_SWEEP, {"search": search, "kind": kind})

    def reach(self, search: str, kind: SweepKind, reached: datetime) -> None:
        """Record that everything sensed after *reached* has been listed."""
        params = {"search": search, "kind": kind, "reached": format_utc(reached)}
        self._connection.execute(REACH_TIME, params)

    def count_late(self, search: str, kind: SweepKind, found_late: int) -> None:
        """Count products that only a sweep has found."""
        params = {"search": search, "kind": kind, "found_late": found_late}
        self._connection.execute(COUNT_LATE, params)

    def complete(self, search: str, kind: SweepKind, *, now: datetime) -> None:
        """Record that a sweep is complete."""
        self._connection.execute(
            COMPLETE_SWEEP, {"search": search, "kind": kind, "now": format_utc(now)}
        )


class Coverage:
    """The coverage rows of a ledger. A fingerprint identifies the filters of an area."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def searches(self, fingerprints: Mapping[str, str]) -> dict[tuple[str, str], str]:
        """Return, by collection and area, the search that has listed everything for its filters."""
        rows = self._connection.query("SELECT * FROM coverage")
        return {
            (row["collection"], row["area"]): row["search"]
            for row in rows
            if fingerprints.get(row["area"]) == row["fingerprint"]
        }

    def note(self, collection: str, fingerprints: Mapping[str, str], search: str) -> None:
        """Record that a search has listed everything that these areas want."""
        shared = {"collection": collection, "search": search}
        rows = [shared | {"area": a, "fingerprint": f} for a, f in fingerprints.items()]
        with self._connection.atomic():
            self._connection.execute_many(COVER, rows)

    def take_over(self, collection: str, fingerprints: Mapping[str, str], search: str) -> None:
        """Start a new search from the progress of others, if they cover all of its areas."""
        known = self.searches(fingerprints)
        donors = {known.get((collection, area)) for area in fingerprints}
        if None in donors or search in donors:
            return
        params = {"search": search, "donors": json.dumps(sorted(filter(None, donors)))}
        with self._connection.atomic():
            for statement in TAKE_OVER:
                self._connection.execute(statement, params)
            self.note(collection, fingerprints, search)

    def forget(self, area: str) -> None:
        """Delete the coverage of an area."""
        self._connection.execute(UNCOVER, {"area": area})


def _maybe(text: str | None) -> datetime | None:
    return parse_utc(text) if text else None
