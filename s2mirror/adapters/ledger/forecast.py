"""Sums over products for the forecast: waiting, newly sensed and pruned ones."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from s2mirror.adapters.ledger.connection import Connection
from s2mirror.adapters.ledger.schema import sql_states
from s2mirror.lifecycle import PENDING, State
from s2mirror.times import format_utc

# A product of several areas counts for only one of them. The plus keeps SQLite from an index lookup
# for each of hundreds of areas.
_WAITING: Final = f"""
SELECT (SELECT min(area) FROM membership
         WHERE product_id = product.id AND +area IN (SELECT value FROM json_each(:areas))) AS area,
       count(*) AS products, sum(size_bytes) AS size_bytes, sum(size_bytes IS NULL) AS unknown
  FROM product WHERE state IN {sql_states(PENDING - {State.VERIFIED})}
 GROUP BY 1
"""
_NEW: Final = """
SELECT (SELECT min(area) FROM membership
         WHERE product_id = product.id AND +area IN (SELECT value FROM json_each(:areas))) AS area,
       count(*) AS products
  FROM product WHERE sensed_at >= :since
 GROUP BY 1
"""
_SIZES: Final = """
SELECT size_bytes FROM product WHERE size_bytes > 0 ORDER BY sensed_at DESC LIMIT 1001
"""
_PRUNED: Final = """
SELECT coalesce(sum(size_bytes), 0) AS size_bytes FROM product
 WHERE state = 'pruned' AND changed_at >= :since
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The products that wait for one area."""

    products: int
    size_bytes: int
    """The bytes of the products of known size."""
    unknown: int
    """The number of products of unknown size."""


class ForecastInputs:
    """Sums over the products of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def waiting(self, areas: Collection[str]) -> dict[str, Waiting]:
        """Return the waiting products by area; a product of several areas counts once."""
        rows = self._connection.query(_WAITING, {"areas": json.dumps(list(areas))})
        return {
            row["area"]: Waiting(
                products=row["products"],
                size_bytes=row["size_bytes"] or 0,
                unknown=row["unknown"] or 0,
            )
            for row in rows
            if row["area"] is not None
        }

    def sensed_since(self, areas: Collection[str], since: datetime) -> dict[str, int]:
        """Return the number of products sensed since then, by area; each product counts once."""
        params = {"areas": json.dumps(list(areas)), "since": format_utc(since)}
        rows = self._connection.query(_NEW, params)
        return {row["area"]: row["products"] for row in rows if row["area"] is not None}

    def median_bytes(self) -> int | None:
        """Return the median size of the newest thousand products; None if no size is known."""
        sizes = sorted(row["size_bytes"] for row in self._connection.query(_SIZES))
        return sizes[len(sizes) // 2] if sizes else None

    def pruned_bytes(self, since: datetime) -> int:
        """Return the bytes of the products pruned since then."""
        rows = self._connection.query(_PRUNED, {"since": format_utc(since)})
        return int(rows[0]["size_bytes"])
