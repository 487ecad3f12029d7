"""Totals and extremes over the whole ledger, for metrics: each query reads few rows.

Counters only grow. Those of transitions are kept by a trigger, also when history is compacted.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from s2mirror.adapters.ledger.connection import Connection
from s2mirror.adapters.ledger.row_checksums import damaged
from s2mirror.adapters.ledger.state_values import StateValue
from s2mirror.times import format_utc, parse_utc

COUNTER_TABLES: Final = (
    """
    CREATE TABLE counter (
      name TEXT NOT NULL,
      label TEXT NOT NULL,
      total INTEGER NOT NULL,
      PRIMARY KEY (name, label)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TRIGGER counter_transition AFTER INSERT ON history
      BEGIN
        INSERT INTO counter (name, label, total) VALUES ('transitions', new.event, 1)
        ON CONFLICT (name, label) DO UPDATE SET total = total + 1;
      END
    """,
)
TRANSITIONS: Final = "transitions"
PROCESS_RUNS: Final = "process_runs"
PROCESS_MILLISECONDS: Final = "process_milliseconds"
STORE_REFUSALS: Final = "store_refusals"
COUNT: Final = """
INSERT INTO counter (name, label, total) VALUES (:name, :label, :number)
ON CONFLICT (name, label) DO UPDATE SET total = total + excluded.total
"""
_COUNTED: Final = "SELECT label, total FROM counter WHERE name = :name ORDER BY label"
_RECEIVED: Final = "SELECT coalesce(sum(size_bytes), 0) AS size_bytes FROM transfer"
_LISTED_AT: Final = """
SELECT area, min(coalesce(listed_at, '')) AS listed_at
  FROM coverage LEFT JOIN cursor ON cursor.search = coverage.search GROUP BY area
"""
# Nearly every area has a product among these; a query per area would read all products for an area
# whose images are old.
_NEWEST: Final = """
SELECT area, max(sensed_at) AS sensed_at
  FROM (SELECT id, sensed_at FROM product WHERE path IS NOT NULL ORDER BY sensed_at DESC LIMIT 5000)
  JOIN membership ON product_id = id GROUP BY area
"""
_NEWEST_OF_AREA: Final = """
SELECT area, max(sensed_at) AS sensed_at FROM membership JOIN product ON id = product_id
 WHERE area = :area AND path IS NOT NULL
"""
_NEWEST_ENTRY: Final = "SELECT coalesce(max(id), 0) AS id FROM history"
_PUBLISHED: Final = """
SELECT DISTINCT product_id,
       (SELECT json_group_array(area) FROM membership WHERE product_id = product.id) AS areas
  FROM history JOIN product ON product.id = product_id
 WHERE history.id > :after AND history.id <= :until AND event = 'publish'
   AND sensed_at >= :sensed_from AND path IS NOT NULL
 ORDER BY sensed_at DESC
"""


def _times_text(times: Mapping[str, datetime]) -> str:
    return json.dumps(times, default=format_utc, sort_keys=True)


def _times_in(text: str) -> Mapping[str, datetime]:
    return {name: parse_utc(at) for name, at in dict(json.loads(text)).items()}


JOBS_SUCCEEDED: Final = StateValue("jobs.succeeded", _times_text, _times_in)
"""When each job of the daemon last ended without an error."""


class Totals:
    """Totals and extremes of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def count(self, name: str, label: str, number: int = 1) -> None:
        """Add to a counter, which begins at 0."""
        self._connection.execute(COUNT, {"name": name, "label": label, "number": number})

    def counted(self, name: str) -> dict[str, int]:
        """Return the totals of a counter by label."""
        rows = self._connection.query(_COUNTED, {"name": name})
        return {row["label"]: row["total"] for row in rows}

    def received_bytes(self) -> int:
        """Return the bytes received from the store since the ledger was created."""
        return int(self._connection.query(_RECEIVED)[0]["size_bytes"])

    def listed_at(self) -> dict[str, datetime]:
        """Return when each area was last listed completely, of its collections the oldest."""
        rows = self._connection.query(_LISTED_AT)
        return {
            row["area"]: self._time("cursor", "listed_at", row) for row in rows if row["listed_at"]
        }

    def newest_sensed(self, areas: Iterable[str]) -> dict[str, datetime]:
        """Return the sensing time of the newest product in the archive, by area."""
        wanted = set(areas)
        rows = self._connection.query(_NEWEST)
        for area in sorted(wanted - {row["area"] for row in rows}):
            rows += self._connection.query(_NEWEST_OF_AREA, {"area": area})
        return {
            row["area"]: self._time("product", "sensed_at", row)
            for row in rows
            if row["area"] in wanted
        }

    def newest_entry(self) -> int:
        """Return the number of the newest entry in the history of all products."""
        return int(self._connection.query(_NEWEST_ENTRY)[0]["id"])

    def published(
        self, after: int, until: int, *, sensed_from: datetime
    ) -> list[tuple[str, tuple[str, ...]]]:
        """Return products published between two entries of the history, with their areas.

        Only held ones sensed since then, newest first.
        """
        params = {"after": after, "until": until, "sensed_from": format_utc(sensed_from)}
        rows = self._connection.query(_PUBLISHED, params)
        return [(row["product_id"], tuple(json.loads(row["areas"]))) for row in rows]

    def _time(self, table: str, column: str, row: dict[str, str]) -> datetime:
        try:
            return parse_utc(row[column])
        except ValueError as error:
            raise damaged(self._connection.path, table, row["area"], column) from error
