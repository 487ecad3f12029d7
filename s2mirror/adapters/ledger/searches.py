"""The progress of each search: its watermark, its sweeps, and the areas that it covers."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from s2mirror.adapters.ledger.connection import Connection, Row
from s2mirror.adapters.ledger.row_checksums import (
    checked,
    recomputed,
    require_intact,
    update,
    upsert,
)
from s2mirror.model import Rejected, SweepKind, SweepState
from s2mirror.times import format_utc, parse_utc

_NEW_CURSOR: Final = {"search": ":search", "listed_count": "0", "new_count": "0"}
_ADVANCED: Final = "max(coalesce(excluded.watermark, ''), coalesce(cursor.watermark, ''))"
_LISTED: Final = {
    "listed_at": ":now",
    "listed_count": ":listed_count",
    "new_count": ":new_count",
}
COMPLETE_LISTING: Final = upsert(
    "cursor",
    _NEW_CURSOR | {"watermark": ":watermark"} | _LISTED,
    {"watermark": _ADVANCED, "error": "NULL", "error_at": "NULL"} | _LISTED,
    conflict="search",
)
MOVE_WATERMARK: Final = upsert(
    "cursor",
    _NEW_CURSOR | {"watermark": ":watermark"},
    {"watermark": _ADVANCED},
    conflict="search",
)
_FAILED: Final = {"error": ":error", "error_at": ":now"}
FAIL_LISTING: Final = upsert("cursor", _NEW_CURSOR | _FAILED, _FAILED, conflict="search")
REJECT: Final = """
INSERT INTO rejected (id, collection, reason, skipped, first_seen_at, last_seen_at)
VALUES (:id, :collection, :reason, :skipped, :now, :now)
ON CONFLICT (id) DO UPDATE
   SET reason = excluded.reason, skipped = excluded.skipped, last_seen_at = excluded.last_seen_at
"""

ACCEPT: Final = "DELETE FROM rejected WHERE id IN (SELECT value FROM json_each(:ids))"
_REJECTED: Final = """
SELECT id, collection, reason FROM rejected
 WHERE last_seen_at >= :since AND skipped = 0 ORDER BY id
"""
_SKIPPED: Final = """
SELECT reason, count(*) AS items FROM rejected
 WHERE last_seen_at >= :since AND skipped <> 0 GROUP BY reason ORDER BY reason
"""
_NEW_SWEEP: Final = {
    "search": ":search",
    "kind": ":kind",
    "under_way": "1",
    "found_late": "0",
}
BEGIN_SWEEP: Final = upsert("sweep", _NEW_SWEEP, {"under_way": "1"}, conflict="search, kind")
_THIS: Final = "search = :search AND kind = :kind"
REACH_TIME: Final = update("sweep", {"reached": ":reached"}, _THIS)
COUNT_LATE: Final = update("sweep", {"found_late": "found_late + :found_late"}, _THIS)
COMPLETE_SWEEP: Final = update(
    "sweep", {"under_way": "0", "reached": "NULL", "completed_at": ":now"}, _THIS
)
COVER: Final = """
INSERT INTO coverage (collection, area, fingerprint, search, watched_since)
VALUES (:collection, :area, :fingerprint, :search, :now)
ON CONFLICT (collection, area) DO UPDATE
   SET fingerprint = excluded.fingerprint, search = excluded.search,
       watched_since = CASE WHEN fingerprint = excluded.fingerprint THEN watched_since
                            ELSE excluded.watched_since END
"""
# A search that found no product has no watermark; its successor then has none either, so that it
# lists everything as new.
TAKE_OVER: Final = (
    f"""
    INSERT INTO cursor (search, watermark, listed_at, listed_count, new_count, checksums)
    SELECT search, watermark, listed_at, listed_count, new_count, {recomputed("cursor")}
      FROM (SELECT :search AS search, min(listed_at) AS listed_at,
                   CASE WHEN count(watermark) = count(*) THEN min(watermark) END AS watermark,
                   0 AS listed_count, 0 AS new_count, NULL AS error, NULL AS error_at
              FROM cursor WHERE search IN (SELECT value FROM json_each(:donors))) AS cursor
    """,
    f"""
    INSERT INTO sweep (search, kind, under_way, completed_at, found_late, checksums)
    SELECT search, kind, under_way, completed_at, found_late, {recomputed("sweep")}
      FROM (SELECT :search AS search, kind, 0 AS under_way, NULL AS reached,
                   min(completed_at) AS completed_at, sum(found_late) AS found_late
              FROM sweep
             WHERE kind = 'full' AND search IN (SELECT value FROM json_each(:donors))) AS sweep
     WHERE kind IS NOT NULL
    """,
)
_CURSORS: Final = f"SELECT *, {checked('cursor')} FROM cursor"
_SWEEPS: Final = f"SELECT *, {checked('sweep')} FROM sweep"
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
            for row in _intact(self._connection, "cursor", f"{_CURSORS} ORDER BY search")
        ]

    def watermark(self, search: str) -> datetime | None:
        """Return a search's watermark; None if no listing was complete."""
        sql = f"{_CURSORS} WHERE search = :search"
        rows = _intact(self._connection, "cursor", sql, search=search)
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
        rows = [asdict(item) | {"now": format_utc(now)} for item in items]
        with self._connection.atomic():
            self._connection.execute_many(REJECT, rows)

    def accept(self, ids: Iterable[str]) -> None:
        """Delete the record of unusable items that are usable now."""
        self._connection.execute(ACCEPT, {"ids": json.dumps(list(ids))})

    def rejected(self, *, since: datetime) -> list[Rejected]:
        """Return the items listed *since* then that could not become products."""
        rows = self._connection.query(_REJECTED, {"since": format_utc(since)})
        return [Rejected(**row) for row in rows]

    def skipped(self, *, since: datetime) -> dict[str, int]:
        """Return the number of items listed *since* then that are not mirrored, by the reason."""
        rows = self._connection.query(_SKIPPED, {"since": format_utc(since)})
        return {row["reason"]: row["items"] for row in rows}


class Sweeps:
    """The sweep rows of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def states(self, search: str) -> dict[SweepKind, SweepState]:
        """Return a search's sweeps by kind, without kinds that have not begun."""
        sql = f"{_SWEEPS} WHERE search = :search"
        rows = _intact(self._connection, "sweep", sql, search=search)
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

    def note(
        self, collection: str, fingerprints: Mapping[str, str], search: str, *, now: datetime
    ) -> None:
        """Record that a search has listed everything that these areas want.

        The first time for an area's present filters, the area is watched from *now* on.
        """
        shared = {"collection": collection, "search": search, "now": format_utc(now)}
        rows = [shared | {"area": a, "fingerprint": f} for a, f in fingerprints.items()]
        with self._connection.atomic():
            self._connection.execute_many(COVER, rows)

    def take_over(
        self, collection: str, fingerprints: Mapping[str, str], search: str, *, now: datetime
    ) -> None:
        """Start a new search from the progress of others, if they cover all of its areas."""
        known = self.searches(fingerprints)
        donors = {known.get((collection, area)) for area in fingerprints}
        if None in donors or search in donors:
            return
        _intact(self._connection, "cursor", _CURSORS)
        _intact(self._connection, "sweep", _SWEEPS)
        params = {"search": search, "donors": json.dumps(sorted(filter(None, donors)))}
        with self._connection.atomic():
            for statement in TAKE_OVER:
                self._connection.execute(statement, params)
            self.note(collection, fingerprints, search, now=now)

    def forget(self, area: str) -> None:
        """Delete the coverage of an area."""
        self._connection.execute(UNCOVER, {"area": area})


def _intact(connection: Connection, table: str, sql: str, **params: str) -> list[Row]:
    """Return the rows of a query. Raises LedgerError for a damaged one."""
    rows = connection.query(sql, params)
    for row in rows:
        require_intact(connection.path, table, row)
    return rows


def _maybe(text: str | None) -> datetime | None:
    return parse_utc(text) if text else None
