"""How far each search's sweeps have come."""

from datetime import datetime
from typing import Final

from s2mirror.adapters.ledger.connection import Connection
from s2mirror.model import SweepKind, SweepState
from s2mirror.times import format_utc, parse_utc

BEGIN: Final = """
INSERT INTO sweep (search, kind, under_way) VALUES (:search, :kind, 1)
ON CONFLICT (search, kind) DO UPDATE SET under_way = 1
"""
REACH: Final = """
UPDATE sweep SET reached = :reached WHERE search = :search AND kind = :kind
"""
COUNT_LATE: Final = """
UPDATE sweep SET found_late = found_late + :found_late WHERE search = :search AND kind = :kind
"""
COMPLETE: Final = """
UPDATE sweep SET under_way = 0, reached = NULL, completed_at = :now
 WHERE search = :search AND kind = :kind
"""


class Sweeps:
    """The sweep rows of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def states(self, search: str) -> dict[SweepKind, SweepState]:
        """Return a search's sweeps by kind; a kind that was never begun is not there."""
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
        """Begin a sweep, or go on with the one under way."""
        self._connection.execute(BEGIN, {"search": search, "kind": kind})

    def reach(self, search: str, kind: SweepKind, reached: datetime) -> None:
        """Note that everything sensed after *reached* has been listed."""
        params = {"search": search, "kind": kind, "reached": format_utc(reached)}
        self._connection.execute(REACH, params)

    def count_late(self, search: str, kind: SweepKind, found_late: int) -> None:
        """Count products that only a sweep has found."""
        params = {"search": search, "kind": kind, "found_late": found_late}
        self._connection.execute(COUNT_LATE, params)

    def complete(self, search: str, kind: SweepKind, *, now: datetime) -> None:
        """Note that a sweep has listed everything."""
        self._connection.execute(COMPLETE, {"search": search, "kind": kind, "now": format_utc(now)})


def _maybe(text: str | None) -> datetime | None:
    return parse_utc(text) if text else None
