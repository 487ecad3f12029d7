"""The catalog's properties of products, which no decision of the mirror depends on."""

import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from s2mirror.adapters.ledger.connection import Connection
from s2mirror.adapters.ledger.schema import sql_states
from s2mirror.lifecycle import GONE

MAX_BYTES: Final = 64 * 1024
"""Real properties have 2 to 3 kB; larger ones are not stored."""
KEEP: Final = f"""
INSERT INTO item (product_id, properties)
SELECT id, :properties FROM product
 WHERE id = :id AND state NOT IN {sql_states(GONE)}
ON CONFLICT (product_id) DO UPDATE SET properties = excluded.properties
"""
# A trigger deletes the properties of removed products.
_LACKING: Final = f"""
SELECT id FROM product
 WHERE id IN (SELECT value FROM json_each(:ids))
   AND state NOT IN {sql_states(GONE)}
   AND NOT EXISTS (SELECT 1 FROM item WHERE product_id = product.id)
"""
_GET: Final = "SELECT properties FROM item WHERE product_id = :id"


class Items:
    """The item rows of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def lacking(self, ids: Iterable[str]) -> set[str]:
        """Return those of *ids* that are known, not removed, and without properties."""
        rows = self._connection.query(_LACKING, {"ids": json.dumps(list(ids))})
        return {row["id"] for row in rows}

    def keep(self, properties: Mapping[str, Mapping[str, Any]]) -> None:
        """Store properties by product id, in place of older ones.

        Properties that are not JSON, or far too large, are skipped: the product does not need them.
        """
        packed = ((product_id, _packed(found)) for product_id, found in properties.items())
        rows = [{"id": product_id, "properties": document} for product_id, document in packed]
        with self._connection.atomic():
            self._connection.execute_many(KEEP, [row for row in rows if row["properties"]])

    def properties(self, product_id: str) -> dict[str, Any]:
        """Return the catalog's properties of a product; empty if none were stored."""
        rows = self._connection.query(_GET, {"id": product_id})
        return unpacked(rows[0]["properties"]) if rows else {}


def unpacked(document: bytes | None) -> dict[str, Any]:
    """Return the properties in a row's document; empty if they are missing or damaged."""
    try:
        found: dict[str, Any] = json.loads(zlib.decompress(document)) if document else {}
    except (zlib.error, ValueError):
        return {}
    return found


def _packed(properties: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(properties, separators=(",", ":"), allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError):
        return b""
    return zlib.compress(text) if len(text) <= MAX_BYTES else b""
