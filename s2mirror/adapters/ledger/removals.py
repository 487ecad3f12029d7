"""Which removals have begun: what is about to leave the tree, and why."""

from typing import Final

from s2mirror.adapters.ledger.connection import Connection, Row
from s2mirror.adapters.ledger.row_checksums import checked, insert, require_intact
from s2mirror.lifecycle import Event
from s2mirror.model import Transition

BEGIN: Final = f"""
{insert("removal", {"product_id": ":product_id", "event": ":event", "reason": ":reason"})}
ON CONFLICT (product_id) DO UPDATE
   SET event = excluded.event, reason = excluded.reason, checksums = excluded.checksums
"""
_PENDING: Final = f"SELECT product_id, event, reason, {checked('removal')} FROM removal"


class Removals:
    """The removal rows of a ledger.

    A folder in the trash does not say why it is there; after a crash, this does.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self, product_id: str, transition: Transition) -> None:
        """Remember why a product's folder is about to leave the tree."""
        row = {"product_id": product_id, "event": transition.event, "reason": transition.reason}
        self._connection.execute(BEGIN, row)

    def end(self, product_id: str) -> None:
        """Forget that a removal had begun: it is recorded, or was not carried out."""
        self._connection.execute("DELETE FROM removal WHERE product_id = :id", {"id": product_id})

    def pending(self) -> dict[str, Transition]:
        """Return by product id what has begun and is not recorded yet."""
        return {
            row["product_id"]: self._transition(row) for row in self._connection.query(_PENDING)
        }

    def _transition(self, row: Row) -> Transition:
        require_intact(self._connection.path, "removal", row)
        return Transition(event=Event(row["event"]), reason=row["reason"])
