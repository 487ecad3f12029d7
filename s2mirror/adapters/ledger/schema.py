"""The ledger's tables. A migration is never edited once it is released; a change is a new one."""

from typing import Final

from sqlite_utils import Database, Migrations

MIGRATIONS: Final = Migrations("s2mirror")


@MIGRATIONS()
def m001_products(db: Database) -> None:
    """Products, the areas that want them, and every transition they made."""
    db.execute(
        """
        CREATE TABLE product (
          id TEXT PRIMARY KEY,
          collection TEXT NOT NULL,
          platform TEXT NOT NULL,
          tile TEXT NOT NULL,
          baseline TEXT NOT NULL,
          relative_orbit INTEGER NOT NULL,
          sensed_at TEXT NOT NULL,
          published_at TEXT NOT NULL,
          generated_at TEXT NOT NULL,
          cloud_cover_percent REAL,
          size_bytes INTEGER,
          s3_prefix TEXT NOT NULL,
          datatake_id TEXT NOT NULL,
          datastrip_id TEXT NOT NULL,
          revision TEXT NOT NULL,
          footprint_wkb BLOB NOT NULL,
          state TEXT NOT NULL,
          reason TEXT NOT NULL,
          priority INTEGER NOT NULL,
          attempts INTEGER NOT NULL,
          next_attempt_at TEXT NOT NULL,
          changed_at TEXT NOT NULL,
          path TEXT
        ) STRICT
        """
    )
    db.execute("CREATE INDEX product_turn ON product (state, priority DESC, sensed_at DESC)")
    db.execute("CREATE INDEX product_image ON product (tile, sensed_at, collection, platform)")
    db.execute("CREATE INDEX product_standing ON product (path) WHERE path IS NOT NULL")
    db.execute(
        """
        CREATE TABLE membership (
          area TEXT NOT NULL,
          product_id TEXT NOT NULL REFERENCES product (id),
          PRIMARY KEY (area, product_id)
        ) STRICT, WITHOUT ROWID
        """
    )
    db.execute("CREATE INDEX membership_product ON membership (product_id)")
    db.execute(
        """
        CREATE TABLE history (
          id INTEGER PRIMARY KEY,
          product_id TEXT NOT NULL,
          at TEXT NOT NULL,
          event TEXT NOT NULL,
          from_state TEXT NOT NULL,
          to_state TEXT NOT NULL,
          reason TEXT NOT NULL
        ) STRICT
        """
    )
    db.execute("CREATE INDEX history_product ON history (product_id, id)")


@MIGRATIONS()
def m002_cursors_proofs_transfers(db: Database) -> None:
    """How far each search has come, what was proven, and how many bytes came in each hour."""
    db.execute(
        """
        CREATE TABLE cursor (
          search TEXT PRIMARY KEY,
          watermark TEXT,
          listed_at TEXT,
          listed_count INTEGER NOT NULL DEFAULT 0,
          new_count INTEGER NOT NULL DEFAULT 0,
          error TEXT,
          error_at TEXT
        ) STRICT
        """
    )
    db.execute(
        """
        CREATE TABLE sweep (
          search TEXT NOT NULL,
          kind TEXT NOT NULL,
          under_way INTEGER NOT NULL,
          reached TEXT,
          completed_at TEXT,
          found_late INTEGER NOT NULL DEFAULT 0,
          PRIMARY KEY (search, kind)
        ) STRICT, WITHOUT ROWID
        """
    )
    db.execute(
        """
        CREATE TABLE rejected (
          id TEXT PRIMARY KEY,
          collection TEXT NOT NULL,
          reason TEXT NOT NULL,
          first_seen_at TEXT NOT NULL,
          last_seen_at TEXT NOT NULL
        ) STRICT
        """
    )
    db.execute(
        """
        CREATE TABLE proof (
          product_id TEXT NOT NULL,
          kind TEXT NOT NULL CHECK (kind IN ('listing', 'staged', 'proof')),
          document BLOB NOT NULL,
          PRIMARY KEY (product_id, kind)
        ) STRICT
        """
    )
    db.execute("CREATE TABLE transfer (hour TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL) STRICT")
    db.execute(
        """
        CREATE TABLE deletion (
          product_id TEXT PRIMARY KEY,
          deleted_at TEXT NOT NULL,
          cause TEXT NOT NULL
        ) STRICT
        """
    )
    db.execute("CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT")
