"""Tables for previews: those that were made, those that are due, what they have cost."""

from sqlite_utils import Database

from s2mirror.adapters.ledger.schema_removals import MIGRATIONS

__all__ = ["MIGRATIONS"]


@MIGRATIONS()
def m009_previews(db: Database) -> None:
    """Keep the previews of products and areas. No product's state depends on them."""
    db.execute(
        """
        CREATE TABLE preview (
          subject TEXT NOT NULL,
          name TEXT NOT NULL,
          outcome TEXT NOT NULL CHECK (outcome IN ('made', 'empty', 'failed')),
          paths TEXT NOT NULL,
          reason TEXT NOT NULL,
          made_at TEXT NOT NULL,
          units REAL NOT NULL,
          PRIMARY KEY (subject, name)
        ) STRICT, WITHOUT ROWID
        """
    )
    db.execute(
        """
        CREATE TABLE preview_due (
          product_id TEXT PRIMARY KEY REFERENCES product (id),
          next_attempt_at TEXT NOT NULL,
          attempts INTEGER NOT NULL DEFAULT 0
        ) STRICT, WITHOUT ROWID
        """
    )
    db.execute("CREATE INDEX preview_order_index ON preview_due (next_attempt_at)")
    db.execute(
        """
        CREATE TABLE preview_spending (
          month TEXT PRIMARY KEY,
          requests INTEGER NOT NULL,
          units REAL NOT NULL
        ) STRICT, WITHOUT ROWID
        """
    )
    # Whatever archives a product, a crash's recovery too, makes its previews due; new bytes anew.
    db.execute(
        """
        CREATE TRIGGER preview_archived AFTER UPDATE OF state ON product
        WHEN new.state = 'archived' AND old.state <> 'archived'
        BEGIN
          DELETE FROM preview WHERE subject = new.id;
          INSERT OR REPLACE INTO preview_due (product_id, next_attempt_at) VALUES (new.id, '');
        END
        """
    )
    db.execute(
        """
        INSERT INTO preview_due (product_id, next_attempt_at)
        SELECT id, '' FROM product WHERE state IN ('archived', 'processed')
        """
    )
