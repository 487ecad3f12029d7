"""Notes of changes of products, for the parts that repeat them outside the ledger.

A part that does so is a consumer: the local catalog is one. Triggers write a note for each consumer
that subscribes to the kind of change, in the transaction of the change itself, so that none is
missed. Each consumer deletes its own notes after it has done its work: a crash costs a repetition,
and a slow consumer delays no other.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from s2mirror.adapters.ledger.connection import Connection
from s2mirror.model import PINNED
from s2mirror.times import format_utc

LOCAL_CATALOG: Final = "local_catalog"
"""The consumer that writes the items of the local catalog."""


class ChangeKind(StrEnum):
    """What has changed. The ledger stores the value."""

    PUBLISHED = "published"
    """The product's folder entered the archive tree."""
    REPLACED = "replaced"
    """Its folder was replaced by another version, or by one with more files."""
    REPAIRED = "repaired"
    """Files in its folder were replaced by good ones."""
    VERIFIED = "verified"
    """Every byte in its folder was verified again."""
    MOVED = "moved"
    """Its folder has another path in the tree."""
    REMOVED = "removed"
    """Its folder left the tree."""
    EXCLUDED = "excluded"
    """It will not be downloaded, and had no folder in the tree."""
    REQUEUED = "requeued"
    """It will be downloaded again, after it was removed or excluded."""
    PROCESSED = "processed"
    """It was marked as processed, or is to be processed again."""
    RUN = "run"
    """A processing entry is done with it, or is not run for it again."""
    PINNED = "pinned"
    """A person pinned it: it is kept."""
    UNPINNED = "unpinned"
    """It is not pinned any more."""
    AREAS = "areas"
    """An area began or ceased to claim it, while it has a folder in the tree."""
    SELECTED = "selected"
    """A person requested other files of it."""
    QUICKLOOK = "quicklook"
    """It has a quicklook among its previews, or has none."""
    PREVIEWED = "previewed"
    """It has a new rendered preview."""


def change_tables(held: str, gone: str) -> tuple[str, ...]:
    """Return the statements for the tables and triggers; the states are SQL lists."""
    return (
        """
        CREATE TABLE change (
          number INTEGER PRIMARY KEY AUTOINCREMENT,
          consumer TEXT NOT NULL,
          product_id TEXT NOT NULL,
          kind TEXT NOT NULL,
          at TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX change_of_consumer ON change (consumer, number)",
        """
        CREATE TABLE change_subscription (
          kind TEXT NOT NULL,
          consumer TEXT NOT NULL,
          PRIMARY KEY (kind, consumer)
        ) STRICT, WITHOUT ROWID
        """,
        f"""
        CREATE TRIGGER change_of_state AFTER UPDATE OF path, state ON product
          WHEN new.path IS NOT old.path OR (new.state <> old.state AND (
               new.state IN {gone} OR old.state IN {gone} OR new.state IN {held}))
          BEGIN {noted("new.id", _KIND_OF_UPDATE.format(gone=gone), "new.changed_at")}; END
        """,
        f"""
        CREATE TRIGGER change_added AFTER INSERT ON product
          WHEN new.path IS NOT NULL OR new.state IN {gone}
          BEGIN {noted("new.id", _KIND_OF_INSERT, "new.changed_at")}; END
        """,
        *(_trigger_of_membership(*each) for each in _MEMBERSHIPS),
        f"""
        CREATE TRIGGER change_of_run AFTER UPDATE OF state ON process_state
          WHEN new.state IN ('done', 'failed') OR old.state IN ('done', 'failed')
          BEGIN {noted("new.product_id", "'run'", _NOW)}; END
        """,
        *(
            f"""
            CREATE TRIGGER change_of_selection_{verb} AFTER {verb} ON selection
              WHEN new.kind = 'asked'
              BEGIN {noted("new.product_id", "'selected'", _NOW)}; END
            """
            for verb in ("insert", "update")
        ),
    )


_NOW: Final = "strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now')"
_KIND_OF_UPDATE: Final = """
CASE WHEN new.path IS NULL AND old.path IS NOT NULL THEN 'removed'
     WHEN new.path IS NOT NULL AND old.path IS NULL THEN 'published'
     WHEN old.state = 'verified' AND new.state = 'archived' THEN 'replaced'
     WHEN new.path IS NOT old.path THEN 'moved'
     WHEN new.state IN {gone} THEN 'excluded'
     WHEN old.state IN {gone} THEN 'requeued'
     ELSE 'processed' END
"""
_KIND_OF_INSERT: Final = "CASE WHEN new.path IS NULL THEN 'excluded' ELSE 'published' END"
_MEMBERSHIPS: Final = (("insert", "new", "pinned"), ("delete", "old", "unpinned"))


def _trigger_of_membership(verb: str, row: str, kind: str) -> str:
    return f"""
    CREATE TRIGGER change_of_membership_{verb} AFTER {verb} ON membership
      WHEN {row}.area = '{PINNED}' OR EXISTS (
        SELECT 1 FROM product WHERE id = {row}.product_id AND path IS NOT NULL)
      BEGIN
        {noted(f"{row}.product_id", _kind_of_area(row, kind), _NOW)};
      END
    """


def _kind_of_area(row: str, kind: str) -> str:
    return f"CASE WHEN {row}.area = '{PINNED}' THEN '{kind}' ELSE 'areas' END"


def noted(product_id: str, kind: str, at: str) -> str:
    """Return the statement that notes a change for every consumer that subscribes to its kind."""
    return f"""
    INSERT INTO change (consumer, product_id, kind, at)
    SELECT consumer, {product_id}, kind, {at} FROM change_subscription WHERE kind = {kind}
    """


_SUBSCRIBED: Final = "SELECT kind FROM change_subscription WHERE consumer = :consumer"
_SUBSCRIBE: Final = """
INSERT INTO change_subscription (consumer, kind)
SELECT :consumer, value FROM json_each(:kinds)
"""
_UNSUBSCRIBE: Final = "DELETE FROM change_subscription WHERE consumer = :consumer"
_FORGET: Final = "DELETE FROM change WHERE consumer = :consumer"
_PENDING: Final = """
SELECT number, product_id, kind, at FROM change
 WHERE consumer = :consumer ORDER BY number {order} LIMIT :limit
"""
_PENDING_IDS: Final = """
SELECT DISTINCT product_id FROM change
 WHERE consumer = :consumer AND kind NOT IN (SELECT value FROM json_each(:but))
"""
# Numbers increase in the order of commits: no later change has one within these bounds.
_DONE: Final = """
DELETE FROM change WHERE number BETWEEN :first AND :last AND consumer = :consumer
"""
_NOTE: Final = noted(":product_id", ":kind", ":at")
_NOTE_HELD: Final = f"""
INSERT INTO change (consumer, product_id, kind, at)
SELECT :consumer, id, 'published', {_NOW} FROM product WHERE path IS NOT NULL
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a product."""

    number: int
    """Increases with each change."""
    product_id: str
    kind: str
    """A value of :class:`ChangeKind`; text, as a damaged one stops no consumer."""
    at: str
    """The time as the ledger stores it."""


class Changes:
    """The changes of products that consumers have not processed yet."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def subscribe(self, consumer: str, kinds: Collection[ChangeKind]) -> bool:
        """Have changes of *kinds* noted for a consumer; return whether it had no subscription."""
        params = {"consumer": consumer, "kinds": json.dumps(sorted(kinds))}
        with self._connection.atomic():
            known = {row["kind"] for row in self._connection.query(_SUBSCRIBED, params)}
            if known != set(kinds):
                self._connection.execute(_UNSUBSCRIBE, params)
                self._connection.execute(_SUBSCRIBE, params)
        return not known

    def unsubscribe(self, consumer: str) -> None:
        """Note nothing more for a consumer, and delete its notes: they would only accumulate."""
        params = {"consumer": consumer}
        if self._connection.query(_SUBSCRIBED, params) or self.pending(consumer, 1):
            with self._connection.atomic():
                self._connection.execute(_UNSUBSCRIBE, params)
                self._connection.execute(_FORGET, params)

    def pending(
        self, consumer: str, limit: int, *, newest_first: bool = False
    ) -> tuple[Change, ...]:
        """Return the oldest changes that a consumer has not processed, or the newest, in order."""
        sql = _PENDING.format(order="DESC" if newest_first else "ASC")
        rows = self._connection.query(sql, {"consumer": consumer, "limit": limit})
        return tuple(Change(**row) for row in rows)

    def done(self, consumer: str, number: int, *, first: int = 0) -> None:
        """Delete the changes of a consumer from number *first* to *number*: it processed them."""
        self._connection.execute(_DONE, {"consumer": consumer, "first": first, "last": number})

    def settle(self, consumer: str, changes: Collection[Change]) -> None:
        """Delete consecutive changes, in either order; what changed since then stays pending."""
        numbers = [change.number for change in changes]
        self.done(consumer, max(numbers), first=min(numbers))

    def pending_ids(self, consumer: str, *but: ChangeKind) -> frozenset[str]:
        """Return the ids of all products with a change, of other kinds, not yet processed."""
        params = {"consumer": consumer, "but": json.dumps(but)}
        rows = self._connection.query(_PENDING_IDS, params)
        return frozenset(row["product_id"] for row in rows)

    def note(self, product_ids: Iterable[str], kind: ChangeKind, *, now: datetime) -> None:
        """Note a change that no trigger sees, for every consumer that subscribes to its kind."""
        at = format_utc(now)
        rows = [{"product_id": name, "kind": kind.value, "at": at} for name in product_ids]
        with self._connection.atomic():
            self._connection.execute_many(_NOTE, rows)

    def note_all(self, consumer: str) -> int:
        """Note every product in the tree as published, for one consumer; return their number."""
        return self._connection.execute(_NOTE_HELD, {"consumer": consumer})
