"""What the change feed has said: its last line of each held product, and lines not yet written.

A line is stored here in the transaction that settles the change notes it reports, then written to
the feed's file, then deleted here. So after a crash the same line is written again, never another
one of the same number, and none is left out.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from s2mirror.adapters.ledger.connection import Connection
from s2mirror.times import format_utc

TABLES: Final = (
    # What a reader of the feed has of each product.
    """
    CREATE TABLE feed_product (
      product_id TEXT PRIMARY KEY,
      path TEXT NOT NULL,
      fingerprint TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE TABLE feed_line (number INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL) STRICT",
)
PUT: Final = """
INSERT OR REPLACE INTO feed_product (product_id, path, fingerprint)
VALUES (:product_id, :path, :fingerprint)
"""
_KNOWN: Final = """
SELECT product_id, path, fingerprint FROM feed_product
 WHERE product_id IN (SELECT value FROM json_each(:ids))
"""
_LAST: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'feed_line'"
QUEUE: Final = "INSERT INTO feed_line (number, text) VALUES (:number, :text)"
_WAITING: Final = "SELECT number, text FROM feed_line ORDER BY number LIMIT :limit"
# Also what the feed has and the ledger does not hold any more.
NOTE_ALL: Final = """
INSERT INTO change (consumer, product_id, kind, at)
SELECT :consumer, id, kind, :now
  FROM (SELECT id, 'published' AS kind FROM product WHERE path IS NOT NULL
        UNION ALL
        SELECT product_id, 'removed' FROM feed_product
         WHERE product_id NOT IN (SELECT id FROM product WHERE path IS NOT NULL))
 ORDER BY id
"""


class FeedLine(NamedTuple):
    """One line of the feed: its number, and its JSON without the end of the line."""

    number: int
    text: str


class Announced(NamedTuple):
    """What the feed last said of a held product."""

    path: str
    fingerprint: str
    """Of its list of files."""


class FeedRows:
    """The rows of the change feed in a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def last_number(self) -> int:
        """The number of the last line, written or not; 0 before the first one."""
        rows = self._connection.query(_LAST)
        return int(rows[0]["seq"]) if rows else 0

    def announced(self, ids: Iterable[str]) -> dict[str, Announced]:
        """Return what the feed last said of these products, as far as it has them."""
        rows = self._connection.query(_KNOWN, {"ids": json.dumps(list(ids))})
        return {row["product_id"]: Announced(row["path"], row["fingerprint"]) for row in rows}

    def queue(self, line: FeedLine, product_id: str, announced: Announced | None) -> None:
        """Store a line to be written, and what it says of a product; None: it is not held."""
        self._connection.execute(QUEUE, line._asdict())
        self._put(product_id, announced)

    def waiting(self, limit: int) -> list[FeedLine]:
        """Return the oldest lines that are not written yet."""
        return [FeedLine(**row) for row in self._connection.query(_WAITING, {"limit": limit})]

    def written(self, last: int) -> None:
        """Delete the lines up to a number, which are in the feed's file."""
        self._connection.execute("DELETE FROM feed_line WHERE number <= :last", {"last": last})

    def restart(self, last: int, announced: Mapping[str, Announced]) -> None:
        """Forget all lines; go on after the number *last*, with what the feed's files say."""
        with self._connection.atomic():
            self._connection.execute("DELETE FROM feed_product")
            for product_id, found in announced.items():
                self._put(product_id, found)
            number = max(last, self.last_number)
            self._connection.execute("DELETE FROM feed_line")
            self._connection.execute(QUEUE, {"number": number, "text": ""})
            self._connection.execute("DELETE FROM feed_line")

    def _put(self, product_id: str, announced: Announced | None) -> None:
        if announced is None:
            sql = "DELETE FROM feed_product WHERE product_id = :id"
            self._connection.execute(sql, {"id": product_id})
        else:
            self._connection.execute(PUT, {"product_id": product_id, **announced._asdict()})

    def note_all(self, consumer: str, *, now: datetime) -> None:
        """Note every held product, and each that only the feed has, as changed for a consumer."""
        params = {"consumer": consumer, "now": format_utc(now)}
        self._connection.execute(NOTE_ALL, params)
