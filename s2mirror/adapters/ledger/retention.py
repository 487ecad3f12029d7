"""The products that the retention rules may release, from indexes: never all held ones.

Row numbers are collected first, eight bytes each, and the rows are read a few at a time.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from s2mirror.adapters.ledger.connection import Connection, Row
from s2mirror.adapters.ledger.row_checksums import (
    checked,
    damaged,
    is_intact,
    require_intact,
)
from s2mirror.adapters.ledger.rows import ENTRY_ROWS, UNDECODABLE, entry_of
from s2mirror.lifecycle import HELD, State
from s2mirror.model import LedgerEntry
from s2mirror.times import format_utc, parse_utc

_AT_ONCE: Final = 500
_FEW: Final = 20_000
"""Of an area with no more products than this, all are read; else an index of all held ones is."""
INDEXES: Final = (
    "CREATE INDEX product_processed ON product (changed_at) WHERE state = 'processed'",
)
_CHANGED: Final = "(changed_at <= :until OR changed_at > :now)"
_PROCESSED: Final = f"""
SELECT rowid FROM product INDEXED BY product_processed WHERE state = 'processed' AND {_CHANGED}
"""
_ARCHIVED: Final = f"SELECT rowid FROM product WHERE state = 'archived' AND {_CHANGED}"
_ARRIVED_AT: Final = """
(SELECT max(at) FROM history WHERE product_id = product.id AND event = 'publish')
"""
# A product arrives after it was sensed, and is processed after it arrived.
_ARRIVED: Final = f"""
SELECT rowid FROM product INDEXED BY product_in_archive
 WHERE path IS NOT NULL AND sensed_at <= :until
   AND ({_CHANGED} OR (state = 'processed' AND {_ARRIVED_AT} <= :until))
"""
_SENSED: Final = """
SELECT rowid FROM product INDEXED BY product_in_archive
 WHERE path IS NOT NULL AND sensed_at <= :until
"""
_NOT_KEPT: Final = """
 AND NOT EXISTS (SELECT 1 FROM membership WHERE product_id = product.id
                    AND +area IN (SELECT value FROM json_each(:keeping)))
"""
_OLDEST_FIRST: Final = """
SELECT rowid FROM product WHERE state = :state AND path IS NOT NULL ORDER BY changed_at, rowid
"""
_LIGHT: Final = f"""
SELECT rowid AS number, id, tile, state, sensed_at, changed_at, path, {_ARRIVED_AT} AS arrived_at,
       (SELECT json_group_array(area) FROM membership WHERE product_id = product.id) AS areas
  FROM product WHERE rowid IN (SELECT value FROM json_each(:numbers))
"""
_ENTRIES: Final = f"{ENTRY_ROWS} WHERE p.rowid IN (SELECT value FROM json_each(:numbers))"
_MEMBERS: Final = "membership CROSS JOIN product ON product.id = product_id AND area = :area"
_IS_MEMBER: Final = """
 AND EXISTS (SELECT 1 FROM membership WHERE area = :area AND product_id = product.id)
"""
_HELD: Final = "product.path IS NOT NULL AND state IN ('archived', 'processed')"
_NEWEST: Final = f"""
SELECT id, sensed_at, {{values}}
  FROM {{rows}} WHERE {_HELD} {{also}}
 ORDER BY sensed_at DESC, id DESC LIMIT :number
"""
_TILES: Final = """
WITH RECURSIVE found (tile) AS (
  SELECT min(tile) FROM product WHERE path IS NOT NULL
   UNION ALL
  SELECT (SELECT min(tile) FROM product WHERE path IS NOT NULL AND tile > found.tile)
    FROM found WHERE tile IS NOT NULL)
SELECT tile FROM found WHERE tile IS NOT NULL
"""
_TILES_OF_FEW: Final = f"SELECT DISTINCT tile FROM {_MEMBERS} WHERE path IS NOT NULL"
# ``json_each`` has a column ``path`` too.
_OLDER: Final = f"""
SELECT product.rowid FROM json_each(:limits) CROSS JOIN product INDEXED BY product_newest
 WHERE product.path IS NOT NULL AND product.tile = key AND product.sensed_at <= value {_IS_MEMBER}
"""
_OLDER_OF_ALL: Final = f"{_SENSED} {_IS_MEMBER}"
_AREAS: Final = "SELECT count(DISTINCT area) AS areas FROM tally WHERE area <> '' AND products > 0"
_DAMAGED_MEMBER: Final = f"""
SELECT *, {checked("membership")} FROM membership WHERE NOT {is_intact("membership")} LIMIT 1
"""
_COUNT: Final = """
SELECT coalesce(sum(products), 0) AS products, coalesce(sum(size_bytes), 0) AS size_bytes
  FROM tally WHERE area = :area AND state IN (SELECT value FROM json_each(:states))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRow:
    """A held product in few values, not checked for damage; see :meth:`Retention.entries`."""

    number: int
    id: str
    tile: str
    state: State
    sensed_at: datetime
    changed_at: datetime
    arrived_at: datetime
    """When it was archived; the time of the last change if that is not recorded."""
    areas: tuple[str, ...]
    path: str


class Retention:
    """Reads what the retention rules need to know of the held products."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def count(self, states: Collection[State] = HELD, *, area: str = "") -> tuple[int, int]:
        """Return the number and bytes of products in *states*, of one area or of all."""
        params = {"area": area, "states": json.dumps(list(states))}
        row = self._connection.query(_COUNT, params)[0]
        return row["products"], row["size_bytes"]

    def has_one_area(self) -> bool:
        """Return whether the products are in no more than one area."""
        return bool(self._connection.query(_AREAS)[0]["areas"] <= 1)

    def require_members(self) -> None:
        """Raise LedgerError if any membership is damaged, which takes 2 s per million of them.

        Its product would seem to be in fewer areas, or another one in more, where it takes the
        place of one of the newest. Neither product has a damaged row of its own.
        """
        for row in self._connection.query(_DAMAGED_MEMBER):
            require_intact(self._connection.path, "membership", row)

    def changed(
        self, states: Iterable[State], until: datetime, keeping: Collection[str], *, now: datetime
    ) -> set[int]:
        """Return the row numbers of products whose last change was at *until* or before.

        Products of the areas *keeping* are left out, here and below. Changes later than *now*
        are included: they were recorded while the clock was ahead.
        """
        sql = {State.PROCESSED: _PROCESSED, State.ARCHIVED: _ARCHIVED}
        return set().union(
            *(self._numbers(sql[state], until, keeping, now=format_utc(now)) for state in states)
        )

    def arrived(self, until: datetime, keeping: Collection[str], *, now: datetime) -> set[int]:
        """Return the row numbers of products that were archived at *until* or before."""
        return self._numbers(_ARRIVED, until, keeping, now=format_utc(now))

    def sensed(self, until: datetime, keeping: Collection[str]) -> set[int]:
        """Return the row numbers of products that were sensed at *until* or before."""
        return self._numbers(_SENSED, until, keeping)

    def older(
        self, area: str, limits: Mapping[str, datetime], keeping: Collection[str]
    ) -> set[int]:
        """Return the row numbers of an area's products sensed at a limit or before.

        The limits are by tile; one for the tile "" is for products of every tile.
        """
        if "" in limits:
            return self._numbers(_OLDER_OF_ALL, limits[""], keeping, area=area)
        texts = {tile: format_utc(at) for tile, at in limits.items()}
        params = {"area": area, "limits": json.dumps(texts), "keeping": json.dumps(list(keeping))}
        return set(self._connection.integers(_OLDER + _NOT_KEPT, params))

    def _numbers(
        self, sql: str, until: datetime, keeping: Collection[str], **params: str
    ) -> set[int]:
        values = {"until": format_utc(until), "keeping": json.dumps(list(keeping)), **params}
        return set(self._connection.integers(sql + _NOT_KEPT, values))

    def oldest_first(self, state: State) -> Iterator[HeldRow]:
        """Yield the held products of a state, the one that changed first at the beginning."""
        return self.rows(self._connection.integers(_OLDEST_FIRST, {"state": state}))

    def rows(self, numbers: Iterable[int]) -> Iterator[HeldRow]:
        """Yield these held products, in this order."""
        for some in _batches(numbers):
            found = {row["number"]: row for row in self._of(_LIGHT, some)}
            yield from (
                self._row(found[number])
                for number in some
                if number in found and found[number]["state"] in HELD
            )

    def _row(self, row: Row) -> HeldRow:
        try:
            return _row(row)
        except UNDECODABLE as error:
            raise damaged(self._connection.path, "product", row["id"], "row") from error

    def entries(self, numbers: Iterable[int]) -> Iterator[LedgerEntry]:
        """Yield these products in this order. Raises LedgerError for a damaged row."""
        for some in _batches(numbers):
            found = {row["number"]: row for row in self._of(_ENTRIES, some)}
            yield from (entry_of(self._connection.path, found[n]) for n in some if n in found)

    def _of(self, sql: str, numbers: list[int]) -> list[Row]:
        return self._connection.query(sql, {"numbers": json.dumps(numbers)})

    def last_of_newest(self, area: str, number: int) -> tuple[datetime, str] | None:
        """Return sensing time and id of the last of the *number* newest held products of an area.

        Returns None if the area has no more than these. Raises LedgerError if one of them is
        damaged: another would then seem to be older.
        """
        count, _ = self.count(area=area)
        if count <= number:
            return None
        return self._last_of(area, number, _MEMBERS if count <= _FEW else "", {})

    def last_of_newest_per_tile(
        self, area: str, number: int
    ) -> Iterator[tuple[str, tuple[datetime, str]]]:
        """Yield the same for each tile of which the area has more than *number* products."""
        count, _ = self.count(area=area)
        if count <= number:
            return
        rows = _MEMBERS if count <= _FEW else ""
        params = {"area": area} if rows else {}
        for found in self._connection.query(_TILES_OF_FEW if rows else _TILES, params):
            last = self._last_of(area, number, rows, {"tile": found["tile"]})
            if last:
                yield found["tile"], last

    def _last_of(
        self, area: str, number: int, rows: str, tile: Mapping[str, str]
    ) -> tuple[datetime, str] | None:
        index = "product_newest" if tile else "product_in_archive"
        also = ("" if rows else _IS_MEMBER) + (" AND tile = :tile" if tile else "")
        sql = _NEWEST.format(
            values=checked("product"), rows=rows or f"product INDEXED BY {index}", also=also
        )
        params: dict[str, Any] = {"area": area, "number": number + 1, **tile}
        found = self._connection.query(sql, params)
        if len(found) <= number:
            return None
        for row in found:
            require_intact(self._connection.path, "product", row)
        return parse_utc(found[number - 1]["sensed_at"]), found[number - 1]["id"]


def _row(row: Row) -> HeldRow:
    changed_at = parse_utc(row["changed_at"])
    arrived = row["arrived_at"] if row["state"] == State.PROCESSED else None
    return HeldRow(
        number=row["number"],
        id=row["id"],
        tile=row["tile"],
        state=State(row["state"]),
        sensed_at=parse_utc(row["sensed_at"]),
        changed_at=changed_at,
        arrived_at=parse_utc(arrived) if arrived else changed_at,
        areas=tuple(sorted(json.loads(row["areas"]))),
        path=row["path"] or "",
    )


def _batches(numbers: Iterable[int]) -> Iterator[list[int]]:
    some: list[int] = []
    for number in numbers:
        some.append(number)
        if len(some) == _AT_ONCE:
            yield some
            some = []
    if some:
        yield some
