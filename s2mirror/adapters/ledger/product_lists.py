"""Lists of products for people: filtered, sorted, and read a few at a time."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from s2mirror.adapters.ledger.connection import Connection, Row
from s2mirror.adapters.ledger.rows import ENTRY_ROWS, entry_of
from s2mirror.model import PINNED, LedgerEntry
from s2mirror.times import format_utc

_DOWN: Final = ("sensed_at", "published_at", "generated_at", "changed_at", "size_bytes")
_UP: Final = ("id", "collection", "platform", "tile", "state", "cloud_cover_percent")
SORT_KEYS: Final = MappingProxyType(dict.fromkeys(_DOWN, "DESC") | dict.fromkeys(_UP, "ASC"))
"""The columns by which a list may be sorted: newest and largest first, others ascending."""
_PAGE_ROWS: Final = 500
_FILTERS: Final = MappingProxyType(
    {
        "state": "p.state = :state",
        "tile": "p.tile = :tile",
        "collection": "p.collection = :collection",
        "area": "p.id IN (SELECT product_id FROM membership WHERE area = :area)",
        "pinned": f"p.id IN (SELECT product_id FROM membership WHERE area = '{PINNED}')",
        "published_from": "p.published_at >= :published_from",
        "sensed_from": "p.sensed_at >= :sensed_from",
        "sensed_until": "p.sensed_at <= :sensed_until",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductQuery:
    """Which products to list; an empty filter selects all."""

    state: str = ""
    tile: str = ""
    collection: str = ""
    area: str = ""
    pinned: bool = False
    published_from: datetime | None = None
    sensed_from: datetime | None = None
    sensed_until: datetime | None = None
    sort: str = "sensed_at"
    """One of ``SORT_KEYS``."""
    reverse: bool = False
    limit: int = -1
    """At most this many; -1 for all."""

    def params(self) -> Row:
        """Return the values of the filters that are set."""
        found = {name: getattr(self, name) for name in _FILTERS if getattr(self, name)}
        return {
            name: format_utc(value) if isinstance(value, datetime) else value
            for name, value in found.items()
        }


class ProductList:
    """The products that a query selects, in its order, as they are when they are read.

    Only the numbers of their rows are kept in memory.
    """

    def __init__(self, connection: Connection, query: ProductQuery) -> None:
        self._connection = connection
        params = query.params()
        where = " AND ".join(["1", *(_FILTERS[name] for name in params)])
        down = (SORT_KEYS[query.sort] == "DESC") != query.reverse
        sql = f"""
SELECT p.rowid FROM product AS p WHERE {where}
 ORDER BY p.{query.sort} {"DESC" if down else "ASC"} NULLS LAST, p.id LIMIT :limit
"""
        self._numbers = connection.integers(sql, params | {"limit": query.limit})

    def __len__(self) -> int:
        """Return the number of products."""
        return len(self._numbers)

    def __iter__(self) -> Iterator[LedgerEntry]:
        """Yield the products. Raises LedgerError for a damaged row."""
        for start in range(0, len(self), _PAGE_ROWS):
            yield from self._page(self._numbers[start : start + _PAGE_ROWS].tolist())

    def _page(self, numbers: list[int]) -> Iterator[LedgerEntry]:
        sql = f"{ENTRY_ROWS} WHERE p.rowid IN (SELECT value FROM json_each(:numbers))"
        rows = self._connection.query(sql, {"numbers": json.dumps(numbers)})
        found = {row["number"]: row for row in rows}
        path = self._connection.path
        yield from (entry_of(path, found[number]) for number in numbers if number in found)
