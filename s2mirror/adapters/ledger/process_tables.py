"""The tables of the processing of products, their indexes and triggers.

``process_state`` has a row per product and entry that applies to it; what is due is found by an
index of the waiting ones. ``process_queue`` has the products whose rows must be planned again:
triggers add each product that is archived or joins an area, the end of a run adds its product.
``process_run`` has the newest runs of each product and entry.
"""

from typing import Final

RUNS_KEPT: Final = 10
"""Of each product and entry."""
TABLES: Final = (
    """
    CREATE TABLE process_state (
      product_id TEXT NOT NULL,
      entry TEXT NOT NULL,
      state TEXT NOT NULL,
      priority INTEGER NOT NULL,
      sensed_at TEXT NOT NULL,
      attempt INTEGER NOT NULL,
      failures INTEGER NOT NULL,
      next_attempt_at TEXT NOT NULL,
      failing_since TEXT NOT NULL,
      reason TEXT NOT NULL,
      asked INTEGER NOT NULL,
      checksums BLOB NOT NULL,
      PRIMARY KEY (product_id, entry)
    ) STRICT
    """,
    """
    CREATE INDEX process_due ON process_state (entry, priority DESC, sensed_at DESC)
     WHERE state = 'waiting'
    """,
    "CREATE INDEX process_later ON process_state (entry, next_attempt_at) WHERE state = 'later'",
    "CREATE INDEX process_running ON process_state (product_id) WHERE state = 'running'",
    "CREATE INDEX process_open ON process_state (entry, state) WHERE state <> 'done'",
    """
    CREATE INDEX process_failing ON process_state (entry, failing_since)
     WHERE failing_since <> ''
    """,
    "CREATE TABLE process_queue (product_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
    """
    CREATE TABLE process_run (
      product_id TEXT NOT NULL,
      entry TEXT NOT NULL,
      attempt INTEGER NOT NULL,
      began_at TEXT NOT NULL,
      ended_at TEXT,
      outcome TEXT NOT NULL,
      exit_code INTEGER,
      output TEXT NOT NULL,
      PRIMARY KEY (product_id, entry, attempt)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX process_run_ended ON process_run (entry, ended_at)",
    f"""
    CREATE TRIGGER process_run_older AFTER INSERT ON process_run
      BEGIN
        DELETE FROM process_run
         WHERE product_id = new.product_id AND entry = new.entry
           AND attempt <= new.attempt - {RUNS_KEPT};
      END
    """,
    """
    CREATE TRIGGER process_archived AFTER UPDATE OF state ON product
      WHEN new.state = 'archived' AND old.state <> 'archived'
      BEGIN INSERT OR IGNORE INTO process_queue (product_id) VALUES (new.id); END
    """,
    """
    CREATE TRIGGER process_joined AFTER INSERT ON membership
      WHEN (SELECT state FROM product WHERE id = new.product_id) = 'archived'
      BEGIN INSERT OR IGNORE INTO process_queue (product_id) VALUES (new.product_id); END
    """,
    # A person or a marker decided: what has not run is not run any more.
    """
    CREATE TRIGGER process_marked AFTER UPDATE OF state ON product
      WHEN new.state = 'processed' AND old.state <> 'processed'
      BEGIN
        DELETE FROM process_queue WHERE product_id = new.id;
        DELETE FROM process_state
         WHERE product_id = new.id AND state NOT IN ('done', 'running');
      END
    """,
    # Other bytes, or none: the entries run again for the next ones.
    """
    CREATE TRIGGER process_left AFTER UPDATE OF state ON product
      WHEN old.state IN ('archived', 'processed') AND new.state NOT IN ('archived', 'processed')
      BEGIN
        DELETE FROM process_queue WHERE product_id = new.id;
        DELETE FROM process_state WHERE product_id = new.id;
      END
    """,
)
