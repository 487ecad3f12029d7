"""Which files of each product were asked for, and how much of a product a choice is."""

from typing import Final

from s2mirror.adapters.ledger.connection import Connection, Row
from s2mirror.adapters.ledger.row_checksums import checked, insert, is_intact, require_intact
from s2mirror.selection import Selection, from_text, to_text

ASK: Final = f"""
{insert("selection", {"product_id": ":id", "kind": "'asked'", "document": ":document"})}
ON CONFLICT (product_id, kind) DO UPDATE
   SET document = excluded.document, checksums = excluded.checksums
"""
_ALL_ASKED: Final = f"""
SELECT product_id, document, {checked("selection")} FROM selection WHERE kind = 'asked'
"""
_ASKED: Final = f"{_ALL_ASKED} AND product_id = :id"
_WHOLE_BYTES: Final = f"""
SELECT product_id, whole_bytes, {checked("selection")}
  FROM selection WHERE product_id = :id AND kind = 'held'
"""
_SHARE: Final = f"""
SELECT sum(size_bytes) AS held_bytes, sum(whole_bytes) AS whole_bytes
  FROM (SELECT product.size_bytes, whole_bytes
          FROM selection JOIN product ON product.id = product_id
         WHERE document = :document AND kind = 'held' AND {is_intact("selection")} LIMIT 200)
"""
_PARTIAL: Final = """
SELECT count(*) AS products FROM selection JOIN product ON product.id = product_id
 WHERE kind = 'held' AND document <> '[]' AND path IS NOT NULL
"""


class Selections:
    """The selection rows of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ask(self, product_id: str, selection: Selection) -> None:
        """Remember which files a person asked for, beside what the areas want."""
        self._connection.execute(ASK, {"id": product_id, "document": to_text(selection)})

    def asked(self, product_id: str) -> Selection | None:
        """Return which files a person asked for; None if nobody did."""
        rows = self._connection.query(_ASKED, {"id": product_id})
        return self._selection(rows[0]) if rows else None

    def all_asked(self) -> dict[str, Selection]:
        """Return by product id which files persons asked for."""
        rows = self._connection.query(_ALL_ASKED)
        return {row["product_id"]: self._selection(row) for row in rows}

    def _selection(self, row: Row) -> Selection:
        require_intact(self._connection.path, "selection", row)
        return from_text(row["document"])

    def whole_bytes(self, product_id: str) -> int | None:
        """Return what all files of a held product would have; None if that is not known."""
        rows = self._connection.query(_WHOLE_BYTES, {"id": product_id})
        if not rows:
            return None
        require_intact(self._connection.path, "selection", rows[0])
        whole_bytes: int | None = rows[0]["whole_bytes"]
        return whole_bytes

    def share(self, selection: Selection) -> float:
        """Return which part of a product *selection* was, of products held so; 1 if of none."""
        if selection.whole:
            return 1.0
        row = self._connection.query(_SHARE, {"document": to_text(selection)})[0]
        return row["held_bytes"] / row["whole_bytes"] if row["whole_bytes"] else 1.0

    def partial_count(self) -> int:
        """Return how many products stand in the tree with some of their files, by choice."""
        return int(self._connection.query(_PARTIAL)[0]["products"])
