"""The ledger's tables. A migration is never edited once it is released; a change is a new one."""

from typing import Final

from sqlite_utils import Database, Migrations

MIGRATIONS: Final = Migrations("s2mirror")


@MIGRATIONS()
def m001_products(db: Database) -> None:
    """Every product that was ever in scope."""
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
    db.execute("CREATE INDEX product_order ON product (state, priority DESC, sensed_at DESC)")
    db.execute("CREATE INDEX product_image ON product (tile, sensed_at, collection, platform)")
    db.execute("CREATE INDEX product_sensed ON product (sensed_at DESC)")
    db.execute("CREATE INDEX product_in_tree ON product (path) WHERE path IS NOT NULL")


@MIGRATIONS()
def m002_areas_and_history(db: Database) -> None:
    """Keep the areas that want each product, and every transition it made."""
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
    db.execute("CREATE INDEX history_at ON history (at)")
    db.execute("CREATE INDEX history_product ON history (product_id, id)")


@MIGRATIONS()
def m003_cursors(db: Database) -> None:
    """How far each search has come, and what of its answers could not be used."""
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


@MIGRATIONS()
def m004_file_lists_and_state_values(db: Database) -> None:
    """Keep what was proven, how many bytes came in each hour, what was deleted upstream."""
    db.execute(
        """
        CREATE TABLE file_list (
          product_id TEXT NOT NULL,
          kind TEXT NOT NULL CHECK (kind IN ('listing', 'staged', 'held')),
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
    db.execute("CREATE TABLE state_value (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT")


@MIGRATIONS()
def m005_tally(db: Database) -> None:
    """How many products and bytes are in each state, kept by triggers: no count ever scans."""
    db.execute(
        """
        CREATE TABLE tally (
          area TEXT NOT NULL,
          state TEXT NOT NULL,
          products INTEGER NOT NULL,
          size_bytes INTEGER NOT NULL,
          PRIMARY KEY (area, state)
        ) STRICT, WITHOUT ROWID
        """
    )
    add = """
        INSERT INTO tally (area, state, products, size_bytes) {values}
        ON CONFLICT (area, state) DO UPDATE
           SET products = products + excluded.products,
               size_bytes = size_bytes + excluded.size_bytes;
    """
    insert = add.format(values="VALUES ('', new.state, 1, coalesce(new.size_bytes, 0))")
    db.execute(f"CREATE TRIGGER tally_insert AFTER INSERT ON product BEGIN {insert} END")
    areas = "(SELECT '' AS area UNION ALL SELECT area FROM membership WHERE product_id = {id})"
    leave = add.format(
        values=f"""SELECT area, old.state, -1, -coalesce(old.size_bytes, 0)
                     FROM {areas.format(id="old.id")} WHERE true"""
    )
    enter = add.format(
        values=f"""SELECT area, new.state, 1, coalesce(new.size_bytes, 0)
                     FROM {areas.format(id="new.id")} WHERE true"""
    )
    db.execute(
        f"""CREATE TRIGGER tally_update AFTER UPDATE OF state, size_bytes ON product
            BEGIN {leave} {enter} END"""
    )
    for name, event, row, sign in (
        ("join", "INSERT", "new", ""),
        ("release", "DELETE", "old", "-"),
    ):
        change = add.format(
            values=f"""SELECT {row}.area, state, {sign}1, {sign}coalesce(size_bytes, 0)
                         FROM product WHERE id = {row}.product_id"""
        )
        db.execute(f"CREATE TRIGGER tally_{name} AFTER {event} ON membership BEGIN {change} END")


@MIGRATIONS()
def m011_doubtful_deletions(db: Database) -> None:
    """Remember which deleted products the catalog lists all the same."""
    db.execute("ALTER TABLE deletion ADD COLUMN listed INTEGER NOT NULL DEFAULT 1")


@MIGRATIONS()
def m007_selections(db: Database) -> None:
    """Which files of a product were chosen: asked for by a person, staged, held. No row: all."""
    db.execute(
        """
        CREATE TABLE selection (
          product_id TEXT NOT NULL,
          kind TEXT NOT NULL CHECK (kind IN ('asked', 'staged', 'held')),
          document TEXT NOT NULL,
          whole_bytes INTEGER,
          PRIMARY KEY (product_id, kind)
        ) STRICT, WITHOUT ROWID
        """
    )
    db.execute("CREATE INDEX selection_document ON selection (document, kind)")


@MIGRATIONS()
def m012_coverage(db: Database) -> None:
    """Remember which search has listed everything for each area."""
    db.execute(
        """
        CREATE TABLE coverage (
          collection TEXT NOT NULL,
          area TEXT NOT NULL,
          fingerprint TEXT NOT NULL,
          search TEXT NOT NULL,
          PRIMARY KEY (collection, area)
        ) STRICT, WITHOUT ROWID
        """
    )
