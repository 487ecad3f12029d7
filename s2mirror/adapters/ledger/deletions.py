"""The known products that were deleted upstream."""

import json
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final

from s2mirror.adapters.ledger.connection import Connection, Row
from s2mirror.adapters.ledger.row_checksums import checked, insert, require_intact, update
from s2mirror.adapters.ledger.schema import sql_states
from s2mirror.adapters.ledger.state_values import DELETIONS_READ_UNTIL, StateValues
from s2mirror.lifecycle import HELD, State
from s2mirror.model import Deletion
from s2mirror.times import format_utc, parse_utc

_NEW: Final = {
    "product_id": ":product_id",
    "deleted_at": ":deleted_at",
    "cause": ":cause",
    "listed": "1",
}
RECORD: Final = f"""
{insert("deletion", _NEW)}
ON CONFLICT (product_id) DO UPDATE
   SET deleted_at = excluded.deleted_at, cause = excluded.cause, listed = 1,
       checksums = excluded.checksums
"""
SET_LISTED: Final = update(
    "deletion", {"listed": ":listed"}, "product_id IN (SELECT value FROM json_each(:ids))"
)
_DOUBTFUL: Final = f"""
SELECT product_id, product.collection, {checked("deletion")}
  FROM deletion CROSS JOIN product ON product.id = product_id
 WHERE listed AND product.published_at <= deleted_at ORDER BY product_id
"""
# A product that was published again later exists again. Times in the ledger sort as text.
# CROSS JOIN keeps the few deletions first: SQLite would look for each of many products otherwise.
_OF_HELD: Final = f"""
SELECT deletion.*, {checked("deletion")} FROM deletion CROSS JOIN product ON product.id = product_id
 WHERE product.state IN {sql_states(HELD)} AND product.published_at <= deleted_at
   AND NOT listed
"""
_OF_ABSENT: Final = f"""
SELECT deletion.*, {checked("deletion")} FROM deletion CROSS JOIN product ON product.id = product_id
 WHERE product.state IN (SELECT value FROM json_each(:states))
   AND product.path IS NULL AND product.published_at <= deleted_at AND NOT listed
"""


class Deletions:
    """The deletion rows of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def record(self, deletions: Iterable[Deletion]) -> None:
        """Record deletions of known products, as doubtful until the catalog confirms them."""
        rows = [
            {"product_id": d.product_id, "deleted_at": format_utc(d.deleted_at), "cause": d.cause}
            for d in deletions
        ]
        with self._connection.atomic():
            self._connection.execute_many(RECORD, rows)

    def doubtful(self) -> dict[str, list[str]]:
        """Return, by collection, deleted products that the catalog still listed at the last check.

        CDSE may have deleted one of two products with the same name.
        """
        found: dict[str, list[str]] = {}
        for row in self._connection.query(_DOUBTFUL):
            require_intact(self._connection.path, "deletion", row)
            found.setdefault(row["collection"], []).append(row["product_id"])
        return found

    def set_listed(self, ids: Iterable[str], *, listed: bool) -> None:
        """Record whether the catalog lists products although they were deleted."""
        self._connection.execute(SET_LISTED, {"ids": json.dumps(list(ids)), "listed": listed})

    def of_held(self) -> dict[str, Deletion]:
        """Return the deletions of held products, by product id."""
        return {row["product_id"]: self._deletion(row) for row in self._connection.query(_OF_HELD)}

    def of_absent(self, states: Collection[State]) -> list[Deletion]:
        """Return the deletions of products in *states* that have no folder."""
        params = {"states": json.dumps(list(states))}
        return [self._deletion(row) for row in self._connection.query(_OF_ABSENT, params)]

    def read_until(self) -> datetime | None:
        """Return the time up to which the feed has been read; None if never."""
        return StateValues(self._connection).get(DELETIONS_READ_UNTIL)

    def set_read_until(self, until: datetime) -> None:
        """Record the time up to which the feed has been read."""
        StateValues(self._connection).set(DELETIONS_READ_UNTIL, until)

    def _deletion(self, row: Row) -> Deletion:
        require_intact(self._connection.path, "deletion", row)
        return Deletion(
            product_id=row["product_id"],
            deleted_at=parse_utc(row["deleted_at"]),
            cause=row["cause"],
        )
