"""The newest satellite passes over each area, from what the STAC catalog listed for it.

A pass is one datatake of one relative orbit: all its products have the same sensing time. The rows
are kept as pages are recorded, so that no report reads the products.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from s2mirror.adapters.ledger.connection import Connection
from s2mirror.model import Product

KEPT: Final = 8
"""Passes of one area, collection and relative orbit: about 40 days with two satellites."""
_OLDEST: Final = timedelta(days=120)
"""Older passes say nothing about the next one."""
NOTE: Final = """
INSERT OR IGNORE INTO satellite_pass (area, collection, relative_orbit, sensed_seconds, latitude)
VALUES (:area, :collection, :relative_orbit, :sensed_seconds, :latitude)
"""
_ALL: Final = """
SELECT area, collection, relative_orbit, max(latitude) AS latitude,
       group_concat(sensed_seconds) AS seconds
  FROM satellite_pass WHERE sensed_seconds BETWEEN 0 AND 4102444800
 GROUP BY area, collection, relative_orbit
"""
TABLES: Final = (
    """
    CREATE TABLE satellite_pass (
      area TEXT NOT NULL,
      collection TEXT NOT NULL,
      relative_orbit INTEGER NOT NULL,
      sensed_seconds INTEGER NOT NULL,
      latitude INTEGER NOT NULL,
      PRIMARY KEY (area, collection, relative_orbit, sensed_seconds)
    ) STRICT, WITHOUT ROWID
    """,
    f"""
    CREATE TRIGGER satellite_pass_older AFTER INSERT ON satellite_pass
      BEGIN
        DELETE FROM satellite_pass
         WHERE area = new.area AND collection = new.collection
           AND relative_orbit = new.relative_orbit
           AND sensed_seconds <= (
             SELECT sensed_seconds FROM satellite_pass
              WHERE area = new.area AND collection = new.collection
                AND relative_orbit = new.relative_orbit
              ORDER BY sensed_seconds DESC LIMIT 1 OFFSET {KEPT});
      END
    """,
    # A changed area may have other orbits.
    """
    CREATE TRIGGER satellite_pass_forgotten AFTER DELETE ON coverage
      BEGIN
        DELETE FROM satellite_pass WHERE area = old.area AND collection = old.collection;
      END
    """,
)
_BANDS: Final = "CDEFGHJKLMNPQRSTUVWX"
"""The bands of latitude in the names of tiles, of 8° each, from 80° S on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRows:
    """The newest passes over an area in one relative orbit, the oldest first."""

    area: str
    collection: str
    relative_orbit: int
    sensed_at: tuple[datetime, ...]
    latitude: int
    """Of the middle of a tile's band, in degrees."""


class Passes:
    """The rows of satellite passes of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def note(
        self, listed: Iterable[Product], areas: Mapping[str, Collection[str]], *, now: datetime
    ) -> None:
        """Record the passes of *listed* products; *areas* maps product ids to area names.

        Call it in the transaction that records the products.
        """
        oldest = now - _OLDEST
        found = {
            (name, p.collection, p.relative_orbit, int(p.sensed_at.timestamp())): _latitude(p.tile)
            for p in listed
            if oldest <= p.sensed_at <= now
            for name in areas.get(p.id, ())
        }
        names = ("area", "collection", "relative_orbit", "sensed_seconds")
        rows = [dict(zip(names, key, strict=True)) | {"latitude": v} for key, v in found.items()]
        self._connection.execute_many(NOTE, rows)

    def all(self) -> Iterator[PassRows]:
        """Yield the passes of every area, collection and relative orbit."""
        for row in self._connection.query(_ALL):
            seconds = sorted(map(int, row.pop("seconds").split(",")))
            yield PassRows(**row, sensed_at=tuple(datetime.fromtimestamp(s, UTC) for s in seconds))

    def searches(self) -> dict[tuple[str, str], str]:
        """Return, by collection and area, the search that has listed all passes."""
        rows = self._connection.query("SELECT collection, area, search FROM coverage")
        return {(row["collection"], row["area"]): row["search"] for row in rows}


def _latitude(tile: str) -> int:
    """Return the latitude of the middle of a tile's band; 0 for a name without one."""
    band = _BANDS.find(tile[2:3]) if tile[2:3] else -1
    return -76 + 8 * band if band >= 0 else 0
