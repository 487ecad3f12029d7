"""The ledger's tables, indexes and triggers.

A released migration is never edited: a change is a new migration at the end, and migrations are
numbered in their order. ``row_checksums`` explains the columns named ``checksums``. There are no
CHECK constraints: for one damaged row, SQLite refuses the whole file, where a checksum names the
row.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from s2mirror.adapters.ledger.change_feed import TABLES as FEED_TABLES
from s2mirror.adapters.ledger.changes import change_tables
from s2mirror.adapters.ledger.lags import lag_tables
from s2mirror.adapters.ledger.moves import TABLES as MOVE_TABLES
from s2mirror.adapters.ledger.passes import TABLES as PASS_TABLES
from s2mirror.adapters.ledger.process_tables import TABLES as PROCESS_TABLES
from s2mirror.adapters.ledger.retention import INDEXES as RETENTION_INDEXES
from s2mirror.adapters.ledger.tally import tally
from s2mirror.adapters.ledger.totals import COUNTER_TABLES
from s2mirror.adapters.ledger.verifications import TABLES as VERIFICATION_TABLES
from s2mirror.lifecycle import GONE, HELD, State

if TYPE_CHECKING:
    from sqlite_utils import Database


def sql_states(states: Collection[State]) -> str:
    """Return *states* as an SQL list, for ``IN``."""
    return "(" + ", ".join(f"'{state}'" for state in State if state in states) + ")"


_PRODUCTS: Final = (
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
      path TEXT,
      checksums BLOB NOT NULL
    ) STRICT
    """,
    "CREATE INDEX product_order ON product (state, priority DESC, sensed_at DESC)",
    "CREATE INDEX product_image ON product (tile, sensed_at, collection, platform)",
    "CREATE INDEX product_sensed ON product (sensed_at DESC, tile, state)",
    """
    CREATE INDEX product_newest ON product (tile, sensed_at, collection, platform)
     WHERE path IS NOT NULL
    """,
    "CREATE INDEX product_path ON product (path) WHERE path IS NOT NULL",
    "CREATE INDEX product_in_archive ON product (sensed_at) WHERE path IS NOT NULL",
    """
    CREATE TABLE membership (
      area TEXT NOT NULL,
      product_id TEXT NOT NULL REFERENCES product (id),
      checksums BLOB NOT NULL,
      PRIMARY KEY (area, product_id)
    ) STRICT
    """,
    "CREATE INDEX membership_product ON membership (product_id)",
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
    """,
    "CREATE INDEX history_at ON history (at)",
    "CREATE INDEX history_product ON history (product_id, id)",
)
_SEARCHES: Final = (
    """
    CREATE TABLE cursor (
      search TEXT PRIMARY KEY,
      watermark TEXT,
      listed_at TEXT,
      listed_count INTEGER NOT NULL, new_count INTEGER NOT NULL,
      error TEXT, error_at TEXT,
      checksums BLOB NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE sweep (
      search TEXT NOT NULL,
      kind TEXT NOT NULL,
      under_way INTEGER NOT NULL,
      reached TEXT,
      completed_at TEXT,
      found_late INTEGER NOT NULL DEFAULT 0,
      checksums BLOB NOT NULL,
      PRIMARY KEY (search, kind)
    ) STRICT
    """,
    """
    CREATE TABLE coverage (
      collection TEXT NOT NULL,
      area TEXT NOT NULL,
      fingerprint TEXT NOT NULL,
      search TEXT NOT NULL,
      watched_since TEXT NOT NULL,
      PRIMARY KEY (collection, area)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE rejected (
      id TEXT PRIMARY KEY,
      collection TEXT NOT NULL,
      reason TEXT NOT NULL,
      skipped INTEGER NOT NULL,
      first_seen_at TEXT NOT NULL,
      last_seen_at TEXT NOT NULL
    ) STRICT
    """,
)
_FILES: Final = (
    """
    CREATE TABLE file_list (
      product_id TEXT NOT NULL,
      kind TEXT NOT NULL,
      document BLOB NOT NULL,
      checksums BLOB NOT NULL,
      PRIMARY KEY (product_id, kind)
    ) STRICT
    """,
    # A product without a selection has all its files.
    """
    CREATE TABLE selection (
      product_id TEXT NOT NULL,
      kind TEXT NOT NULL,
      document TEXT NOT NULL,
      whole_bytes INTEGER,
      checksums BLOB NOT NULL,
      PRIMARY KEY (product_id, kind)
    ) STRICT
    """,
    "CREATE INDEX selection_document ON selection (document, kind)",
    # ``received_at``: when bytes arrived last; NULL in an hour that has an estimate alone.
    """
    CREATE TABLE transfer (
      hour TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL, received_at TEXT
    ) STRICT
    """,
    # The staged bytes of a product being downloaded that need not be counted any more.
    "CREATE TABLE in_flight (product_id TEXT PRIMARY KEY, counted_bytes INTEGER NOT NULL) STRICT",
)
_REMOVALS: Final = (
    # ``listed``: the STAC catalog still lists the product, although it was deleted.
    """
    CREATE TABLE deletion (
      product_id TEXT PRIMARY KEY,
      deleted_at TEXT NOT NULL,
      cause TEXT NOT NULL,
      listed INTEGER NOT NULL,
      checksums BLOB NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE removal (
      product_id TEXT PRIMARY KEY REFERENCES product (id),
      event TEXT NOT NULL,
      reason TEXT NOT NULL,
      checksums BLOB NOT NULL
    ) STRICT
    """,
    # Where an adopted product was moved from, until its files are removed there.
    """
    CREATE TABLE moved_source (
      product_id TEXT PRIMARY KEY, source TEXT NOT NULL, checksums BLOB NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE state_value (
      name TEXT PRIMARY KEY,
      value TEXT NOT NULL,
      checksums BLOB NOT NULL
    ) STRICT
    """,
)
_TRASHED: Final = (
    """
    CREATE TABLE trashed (
      product_id TEXT PRIMARY KEY REFERENCES product (id),
      state TEXT NOT NULL,
      path TEXT NOT NULL
    ) STRICT
    """,
)
_REQUESTS: Final = (
    """
    CREATE TABLE request (
      id TEXT PRIMARY KEY,
      kind TEXT NOT NULL,
      arguments TEXT NOT NULL,
      renewed_at TEXT NOT NULL,
      state TEXT NOT NULL,
      answer TEXT,
      checksums BLOB NOT NULL
    ) STRICT
    """,
)
_LOCAL_CATALOG: Final = (
    "CREATE TABLE item (product_id TEXT PRIMARY KEY, properties BLOB NOT NULL) STRICT",
    # A ledger of millions of products keeps the properties only of held and pending ones, and of
    # those in the trash.
    f"""
    CREATE TRIGGER item_leave AFTER UPDATE OF state ON product
      WHEN new.state IN {sql_states(GONE)} AND old.path IS NULL
      BEGIN DELETE FROM item WHERE product_id = new.id; END
    """,
)
_EVENTS: Final = (
    """
    CREATE TABLE event (
      id INTEGER PRIMARY KEY,
      at TEXT NOT NULL,
      event TEXT NOT NULL,
      area TEXT NOT NULL,
      product_id TEXT NOT NULL,
      detail TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX event_at ON event (at)",
)
_PREVIEWS: Final = (
    """
    CREATE TABLE preview (
      subject TEXT NOT NULL,
      name TEXT NOT NULL,
      outcome TEXT NOT NULL,
      paths TEXT NOT NULL,
      reason TEXT NOT NULL,
      made_at TEXT NOT NULL,
      units REAL NOT NULL,
      PRIMARY KEY (subject, name)
    ) STRICT
    """,
    "CREATE INDEX preview_failed ON preview (made_at) WHERE outcome = 'failed'",
    """
    CREATE TABLE preview_due (
      product_id TEXT PRIMARY KEY REFERENCES product (id),
      next_attempt_at TEXT NOT NULL,
      attempts INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX preview_due_order ON preview_due (next_attempt_at)",
    """
    CREATE TABLE preview_spending (
      month TEXT PRIMARY KEY,
      requests INTEGER NOT NULL,
      units REAL NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    # Every archived product, also by recovery or with new bytes, makes its previews due.
    """
    CREATE TRIGGER preview_archived AFTER UPDATE OF state ON product
      WHEN new.state = 'archived' AND old.state <> 'archived'
      BEGIN
        DELETE FROM preview WHERE subject = new.id;
        INSERT OR REPLACE INTO preview_due (product_id, next_attempt_at) VALUES (new.id, '');
      END
    """,
)


def m001_all_tables(db: "Database") -> None:
    """Create every table of the first release."""
    groups = (_PRODUCTS, _SEARCHES, _FILES, _REMOVALS, _REQUESTS, _LOCAL_CATALOG, _PREVIEWS)
    more = (_EVENTS, tally(), lag_tables(sql_states(GONE)), PASS_TABLES, COUNTER_TABLES)
    changes = change_tables(sql_states(HELD), sql_states(GONE))
    tables = (VERIFICATION_TABLES, MOVE_TABLES, FEED_TABLES, _TRASHED, RETENTION_INDEXES)
    for group in (*groups, *more, *tables, PROCESS_TABLES, changes):
        for statement in group:
            db.execute(statement)


MIGRATION_NAMES: Final = ("m001_all_tables",)
"""Every migration of this version, in order; ``migrating.py`` applies them."""
