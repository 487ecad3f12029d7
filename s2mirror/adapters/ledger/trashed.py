"""Products in the trash: what they were before, so that they can be restored as they were.

While a product is in the trash, its file list, selection and item properties stay in the ledger.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from s2mirror.adapters.ledger.connection import Connection
from s2mirror.adapters.ledger.rows import check_path, decoded
from s2mirror.adapters.ledger.schema import sql_states
from s2mirror.lifecycle import GONE, State
from s2mirror.model import LedgerEntry

_NOTE: Final = """
INSERT OR REPLACE INTO trashed (product_id, state, path) VALUES (:id, :state, :path)
"""
_OF: Final = "SELECT state, path FROM trashed WHERE product_id = :id"
_IDS: Final = "SELECT product_id FROM trashed"
_GIVEN: Final = "product_id IN (SELECT value FROM json_each(:ids))"
_GONE: Final = f"""
{_GIVEN} AND product_id IN (SELECT id FROM product WHERE state IN {sql_states(GONE)})
"""
_FORGET: Final = (
    f"DELETE FROM file_list WHERE {_GONE}",
    f"DELETE FROM item WHERE {_GONE}",
    f"DELETE FROM trashed WHERE {_GIVEN}",
)


@dataclass(frozen=True, slots=True)
class TrashedProduct:
    """What a product was before it was moved to the trash."""

    state: State
    """ARCHIVED or PROCESSED."""
    path: str
    """Its folder, relative to the archive root."""


class Trashed:
    """The trashed rows of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def note(self, entry: LedgerEntry) -> None:
        """Record what a held product is, as it leaves the tree."""
        self.put(entry.product.id, TrashedProduct(entry.state, entry.path or ""))

    def put(self, product_id: str, before: TrashedProduct) -> None:
        """Record what a product was before it left the tree."""
        row = {"id": product_id, "state": before.state, "path": before.path}
        self._connection.execute(_NOTE, row)

    def of(self, product_id: str) -> TrashedProduct | None:
        """Return what a product was before its removal; None if its bytes were deleted."""
        rows = self._connection.query(_OF, {"id": product_id})
        if not rows:
            return None
        path, row = self._connection.path, rows[0]
        check_path(path, product_id, row["path"])
        return TrashedProduct(
            state=decoded(path, "trashed", "state", row["state"], key=product_id),
            path=row["path"],
        )

    def ids(self) -> set[str]:
        """Return the products that were moved to the trash and are not forgotten yet."""
        return {row["product_id"] for row in self._connection.query(_IDS)}

    def end(self, product_id: str) -> None:
        """Forget that a product is in the trash: it is held again."""
        self._connection.execute(_FORGET[-1], {"ids": json.dumps([product_id])})

    def forget(self, ids: Collection[str]) -> None:
        """Delete what was kept for the restoration of products whose bytes are deleted."""
        params = {"ids": json.dumps(list(ids))}
        with self._connection.atomic():
            for statement in _FORGET:
                self._connection.execute(statement, params)
