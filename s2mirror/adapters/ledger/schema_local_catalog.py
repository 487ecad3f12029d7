"""The tables behind the local catalog; importing this adds them to ``MIGRATIONS``."""

from sqlite_utils import Database

from s2mirror.adapters.ledger.schema import MIGRATIONS

__all__ = ["MIGRATIONS"]


@MIGRATIONS()
def m010_items_and_changes(db: Database) -> None:
    """Keep the catalog's own properties of what may come to be held, and what stands anew.

    Properties of what is gone go too: a ledger of millions keeps those of what is there or to
    come. A change is noted in the transaction that makes it, so none is ever forgotten.
    """
    db.execute(
        """
        CREATE TABLE item (
          product_id TEXT PRIMARY KEY,
          properties BLOB NOT NULL
        ) STRICT
        """
    )
    db.execute(
        """
        CREATE TRIGGER item_leave AFTER UPDATE OF state ON product
          WHEN new.state IN ('pruned', 'superseded', 'withdrawn')
          BEGIN DELETE FROM item WHERE product_id = new.id; END
        """
    )
    db.execute(
        """
        CREATE TABLE change (
          number INTEGER PRIMARY KEY AUTOINCREMENT,
          product_id TEXT NOT NULL
        ) STRICT
        """
    )
    db.execute(
        """
        CREATE TRIGGER change_noted AFTER UPDATE OF path, state ON product
          WHEN new.path IS NOT old.path OR (old.state = 'verified' AND new.state = 'archived')
          BEGIN INSERT INTO change (product_id) VALUES (new.id); END
        """
    )
    db.execute("CREATE INDEX product_held ON product (sensed_at) WHERE path IS NOT NULL")
