"""Moves of products within the archive tree: noted before the rename, recorded after it."""

from datetime import datetime
from typing import Final

from s2mirror.adapters.ledger.connection import Connection
from s2mirror.adapters.ledger.row_checksums import update
from s2mirror.adapters.ledger.rows import check_path
from s2mirror.errors import IllegalTransition
from s2mirror.model import LedgerEntry
from s2mirror.times import format_utc

TABLES: Final = (
    """
    CREATE TABLE move (
      product_id TEXT PRIMARY KEY REFERENCES product (id),
      path TEXT NOT NULL
    ) STRICT
    """,
)
BEGIN_MOVE: Final = "INSERT OR REPLACE INTO move (product_id, path) VALUES (:id, :path)"
SET_PATH: Final = update("product", {"path": ":path"}, "id = :id AND state = :state")
LOG_MOVE: Final = """
INSERT INTO history (product_id, at, event, from_state, to_state, reason)
VALUES (:id, :now, 'move', :state, :state, :reason)
"""


class Moves:
    """The moves of a ledger that have begun, and how they end."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self, product_id: str, path: str) -> None:
        """Note that a product's folder is about to be moved to *path*."""
        self._connection.execute(BEGIN_MOVE, {"id": product_id, "path": path})

    def end(self, product_id: str) -> None:
        """Delete the note of a move that is recorded, or that was not done."""
        self._connection.execute("DELETE FROM move WHERE product_id = :id", {"id": product_id})

    def pending(self) -> dict[str, str]:
        """Return the new paths of the moves that are not recorded, by product id."""
        rows = self._connection.query("SELECT product_id, path FROM move")
        return {row["product_id"]: row["path"] for row in rows}

    def record(self, entry: LedgerEntry, path: str, *, now: datetime) -> None:
        """Record that a product's folder is at *path* now. Its state and its age do not change.

        Raises IllegalTransition if the product is no longer in the state of *entry*.
        """
        check_path(self._connection.path, entry.product.id, path)
        row = {"id": entry.product.id, "path": path, "state": entry.state}
        with self._connection.atomic():
            if self._connection.execute(SET_PATH, row) != 1:
                raise IllegalTransition(
                    f"{entry.product.id} is no longer {entry.state}; its folder was not recorded"
                )
            reason = f"from {entry.path} to {path}"
            self._connection.execute(LOG_MOVE, row | {"reason": reason, "now": format_utc(now)})
            self.end(entry.product.id)
