"""Which files of each product were asked for, and how much of a product a choice is."""

from typing import Final

from s2mirror.adapters.ledger.connection import Connection
from s2mirror.selection import Selection, from_text, to_text

ASK: Final = """
INSERT INTO selection (product_id, kind, document) VALUES (:id, 'asked', :document)
ON CONFLICT (product_id, kind) DO UPDATE SET document = excluded.document
"""
_ASKED: Final = "SELECT document FROM selection WHERE product_id = :id AND kind = 'asked'"
_ALL_ASKED: Final = "SELECT product_id, document FROM selection WHERE kind = 'asked'"
_WHOLE_BYTES: Final = "SELECT whole_bytes FROM selection WHERE product_id = :id AND kind = 'held'"
_SHARE: Final = """
SELECT sum(size_bytes) AS held_bytes, sum(whole_bytes) AS whole_bytes
  FROM (SELECT product.size_bytes, whole_bytes
          FROM selection JOIN product ON product.id = product_id
         WHERE document = :document AND kind = 'held' LIMIT 200)
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
        return from_text(rows[0]["document"]) if rows else None

    def all_asked(self) -> dict[str, Selection]:
        """Return by product id which files persons asked for."""
        rows = self._connection.query(_ALL_ASKED)
        return {row["product_id"]: from_text(row["document"]) for row in rows}

    def whole_bytes(self, product_id: str) -> int | None:
        """Return what all files of a held product would have; None if that is not known."""
        rows = self._connection.query(_WHOLE_BYTES, {"id": product_id})
        return rows[0]["whole_bytes"] if rows else None

    def share(self, selection: Selection) -> float:
        """Return which part of a product *selection* was, of products held so; 1 if of none."""
        if selection.whole:
            return 1.0
        row = self._connection.query(_SHARE, {"document": to_text(selection)})[0]
        return row["held_bytes"] / row["whole_bytes"] if row["whole_bytes"] else 1.0

    def partial_count(self) -> int:
        """Return how many products stand in the tree with some of their files, by choice."""
        return int(self._connection.query(_PARTIAL)[0]["products"])
