"""One more table, for removals that have begun."""

from sqlite_utils import Database

from s2mirror.adapters.ledger.schema_local_catalog import MIGRATIONS

__all__ = ["MIGRATIONS"]


@MIGRATIONS()
def m008_removals(db: Database) -> None:
    """Keep why a product is about to leave the tree, until its row says so."""
    db.execute(
        """
        CREATE TABLE removal (
          product_id TEXT PRIMARY KEY REFERENCES product (id),
          event TEXT NOT NULL,
          reason TEXT NOT NULL
        ) STRICT, WITHOUT ROWID
        """
    )
