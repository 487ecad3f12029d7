"""Counts by tile and day, for maps and calendars: each reads an index, not all products."""

import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from s2mirror.adapters.ledger.connection import Connection
from s2mirror.lifecycle import State
from s2mirror.times import format_utc, parse_utc

_OF_AREA: Final = "EXISTS (SELECT 1 FROM membership WHERE area = :area AND product_id = product.id)"
# A loose index scan: one search of an index per tile, however many products the tile has.
_TILES: Final = """
WITH RECURSIVE known(tile) AS (
  SELECT min(tile) FROM product
   UNION ALL
  SELECT (SELECT min(tile) FROM product WHERE tile > known.tile)
    FROM known WHERE known.tile IS NOT NULL)
SELECT tile,
       (SELECT max(sensed_at) FROM product
         WHERE path IS NOT NULL AND product.tile = known.tile) AS newest_at
  FROM known WHERE tile IS NOT NULL
"""
_TILES_OF_AREA: Final = """
SELECT tile, max(CASE WHEN path IS NOT NULL THEN sensed_at END) AS newest_at
  FROM membership JOIN product ON product.id = product_id
 WHERE area = :area GROUP BY tile ORDER BY tile
"""
_SINCE: Final = """
SELECT tile, substr({day}, 1, 10) AS day, state, count(*) AS products
  FROM product {index} WHERE sensed_at >= :since {more}
"""
# SQLite would read every product in the order of tiles instead.
_BY_TILE: Final = _SINCE.format(
    day="max(sensed_at)", index="INDEXED BY product_sensed", more="GROUP BY tile, state"
)
_BY_TILE_OF_AREA: Final = _SINCE.format(
    day="max(sensed_at)", index="", more=f"AND {_OF_AREA} GROUP BY tile, state"
)
_CHOSEN: Final = "AND tile IN (SELECT value FROM json_each(:tiles))"
_BY_DAY: Final = _SINCE.format(day="sensed_at", index="", more=f"{_CHOSEN} GROUP BY 1, 2, 3")
_BY_DAY_OF_AREA: Final = _SINCE.format(
    day="sensed_at", index="", more=f"{_CHOSEN} AND {_OF_AREA} GROUP BY 1, 2, 3"
)
_FIRST: Final = """
SELECT id FROM product WHERE state IN (SELECT value FROM json_each(:states))
 ORDER BY priority DESC, sensed_at DESC LIMIT :limit
"""
_FIRST_OF_AREA: Final = f"""
SELECT id FROM product WHERE state IN (SELECT value FROM json_each(:states)) AND {_OF_AREA}
 ORDER BY priority DESC, sensed_at DESC LIMIT :limit
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileNewest:
    """A tile of which the ledger has products."""

    tile: str
    newest_at: datetime | None
    """When the newest image in the archive was sensed; None if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCount:
    """Products of one tile in one state that were sensed on one day, or until it."""

    tile: str
    day: date
    state: State
    products: int


class Overview:
    """Counts over the products of a ledger; an empty *area* stands for all products."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def tiles(self, area: str = "") -> list[TileNewest]:
        """Return every tile that has products, by name."""
        rows = self._connection.query(_TILES_OF_AREA if area else _TILES, {"area": area})
        return [TileNewest(tile=row["tile"], newest_at=_instant(row["newest_at"])) for row in rows]

    def newest_days(self, since: datetime, area: str = "") -> list[DayCount]:
        """Return the products sensed since then by tile and state, each with its newest day."""
        return self._counts(_BY_TILE_OF_AREA if area else _BY_TILE, since, area)

    def days(self, since: datetime, tiles: Collection[str], area: str = "") -> list[DayCount]:
        """Return the products of some tiles sensed since then, by tile, day and state."""
        sql = _BY_DAY_OF_AREA if area else _BY_DAY
        return self._counts(sql, since, area, tiles=json.dumps(list(tiles)))

    def _counts(self, sql: str, since: datetime, area: str, **more: str) -> list[DayCount]:
        params = {"since": format_utc(since), "area": area, **more}
        found = []
        for row in self._connection.query(sql, params):
            with suppress(ValueError):  # a damaged row, which a finding of its own names
                found.append(
                    DayCount(
                        tile=row["tile"],
                        day=date.fromisoformat(row["day"]),
                        state=State(row["state"]),
                        products=row["products"],
                    )
                )
        return found

    def first(self, states: Collection[State], limit: int, area: str = "") -> list[str]:
        """Return the ids of the first products in some states: by priority, then newest first."""
        params = {"states": json.dumps(list(states)), "limit": limit, "area": area}
        rows = self._connection.query(_FIRST_OF_AREA if area else _FIRST, params)
        return [row["id"] for row in rows]


def _instant(text: str | None) -> datetime | None:
    """Return the time in a text; None for none, and for a damaged one."""
    try:
        return parse_utc(text) if text else None
    except ValueError:
        return None
