"""When every byte of each product in the tree was last verified, and which products are damaged.

No removal depends on these rows. A time that is later than now was written while this machine's
clock was ahead: such a product counts as the one whose verification is the oldest.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from s2mirror.adapters.ledger.changes import noted
from s2mirror.adapters.ledger.connection import Connection
from s2mirror.adapters.ledger.rows import decoded
from s2mirror.lifecycle import HELD, State
from s2mirror.times import format_utc

_HELD: Final = "(" + ", ".join(f"'{state}'" for state in State if state in HELD) + ")"
_ENTERS: Final = """
(old.path IS NULL AND new.path IS NOT NULL)
OR (old.state = 'verified' AND new.state = 'archived')
"""
TABLES: Final = (
    """
    CREATE TABLE verification (
      product_id TEXT PRIMARY KEY,
      verified_at TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX verification_order ON verification (verified_at)",
    """
    CREATE TABLE damage (
      product_id TEXT PRIMARY KEY,
      found_at TEXT NOT NULL,
      tried_at TEXT NOT NULL,
      detail TEXT NOT NULL
    ) STRICT
    """,
    # One row.
    """
    CREATE TABLE scrub (
      id INTEGER PRIMARY KEY,
      at TEXT NOT NULL,
      owed_bytes INTEGER NOT NULL,
      products INTEGER NOT NULL,
      damaged INTEGER NOT NULL,
      stopped TEXT NOT NULL
    ) STRICT
    """,
    # Every byte is verified before a product enters the tree.
    f"""
    CREATE TRIGGER verification_entered AFTER UPDATE OF path, state ON product WHEN {_ENTERS}
      BEGIN
        INSERT OR REPLACE INTO verification (product_id, verified_at)
        VALUES (new.id, new.changed_at);
        DELETE FROM damage WHERE product_id = new.id;
      END
    """,
    """
    CREATE TRIGGER verification_adopted AFTER INSERT ON product WHEN new.path IS NOT NULL
      BEGIN
        INSERT OR REPLACE INTO verification (product_id, verified_at)
        VALUES (new.id, new.changed_at);
      END
    """,
    """
    CREATE TRIGGER verification_left AFTER UPDATE OF path ON product WHEN new.path IS NULL
      BEGIN
        DELETE FROM verification WHERE product_id = new.id;
        DELETE FROM damage WHERE product_id = new.id;
      END
    """,
    # The items of the local catalog have the time.
    f"""
    CREATE TRIGGER verification_noted AFTER UPDATE OF verified_at ON verification
      WHEN new.verified_at <> old.verified_at
      BEGIN {noted("new.product_id", "'verified'", "new.verified_at")}; END
    """,
)
RECORD: Final = """
INSERT INTO verification (product_id, verified_at)
SELECT id, :verified_at FROM product
 WHERE id IN (SELECT value FROM json_each(:ids)) AND path IS NOT NULL
ON CONFLICT (product_id) DO UPDATE SET verified_at = excluded.verified_at
"""
UNKNOWN: Final = """
INSERT OR IGNORE INTO verification (product_id, verified_at)
SELECT id, '1970-01-01T00:00:00.000000+00:00' FROM product WHERE path IS NOT NULL
"""
"""Makes products without a time the ones whose verification is the oldest."""
_CLEAR: Final = "DELETE FROM damage WHERE product_id IN (SELECT value FROM json_each(:ids))"
_OLDEST: Final = f"""
SELECT product_id FROM verification
 WHERE verified_at {{bound}}
   AND EXISTS (SELECT 1 FROM product WHERE id = product_id AND state IN {_HELD})
   AND NOT EXISTS (
     SELECT 1 FROM damage WHERE product_id = verification.product_id
        AND tried_at > :tried AND tried_at <= :now)
 ORDER BY verified_at LIMIT 1
"""
_AHEAD: Final = _OLDEST.format(bound="> :bound")
_PAST: Final = _OLDEST.format(bound="<= :bound")
_SUMMARY: Final = """
SELECT min(verified_at) AS oldest, max(verified_at) AS newest FROM verification
"""
NOTE_DAMAGE: Final = """
INSERT INTO damage (product_id, found_at, tried_at, detail)
SELECT id, :at, :at, :detail FROM product WHERE id = :id AND path IS NOT NULL
ON CONFLICT (product_id) DO UPDATE SET detail = excluded.detail, tried_at = excluded.tried_at
"""
SET_PROGRESS: Final = """
INSERT OR REPLACE INTO scrub (id, at, owed_bytes, products, damaged, stopped)
VALUES (1, :at, :owed_bytes, :products, :damaged, :stopped)
"""
_DAMAGES: Final = "SELECT product_id, found_at, detail FROM damage ORDER BY found_at, product_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A product in the tree that is not whole."""

    product_id: str
    found_at: datetime
    detail: str
    """What is damaged, and why it is not repaired yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubProgress:
    """How far the scrub is."""

    at: datetime
    """When it last read, or looked whether it should."""
    owed_bytes: int = 0
    """What it should have read by then and has not; below zero if it is ahead."""
    products: int = 0
    """Products that it has read in the present run, which lasts a night."""
    damaged: int = 0
    """How many of these were damaged."""
    stopped: str = ""
    """Why it reads nothing until a person has looked at the disk; empty if it works."""


class Verifications:
    """The verification and damage rows of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def record(self, ids: Iterable[str], *, at: datetime) -> None:
        """Record that every byte of these products was verified; they are damaged no longer."""
        params = {"ids": json.dumps(list(ids))}
        with self._connection.atomic():
            self._connection.execute(RECORD, params | {"verified_at": format_utc(at)})
            self._connection.execute(_CLEAR, params)

    def of(self, product_id: str) -> datetime | None:
        """Return when a product was last verified; None if it is not in the tree."""
        sql = "SELECT verified_at FROM verification WHERE product_id = :id"
        rows = self._connection.query(sql, {"id": product_id})
        return self._time("verification", product_id, rows[0]["verified_at"]) if rows else None

    def oldest(self, *, before: datetime, now: datetime, tried_after: datetime) -> str | None:
        """Return the id of the held product whose verification is the oldest; None for none.

        A product whose time is later than *now* comes first, then those verified before *before*.
        One that was found damaged after *tried_after* is left out.
        """
        params = {"now": format_utc(now), "tried": format_utc(tried_after)}
        for sql, bound in ((_AHEAD, now), (_PAST, before)):
            if rows := self._connection.query(sql, params | {"bound": format_utc(bound)}):
                return str(rows[0]["product_id"])
        return None

    def oldest_at(self) -> datetime | None:
        """Return the time of the oldest verification; None without a product in the tree."""
        found = self._connection.query(_SUMMARY)[0]["oldest"]
        return self._time("verification", "the oldest product", found) if found else None

    def note_damage(self, product_id: str, detail: str, *, at: datetime) -> None:
        """Record what is damaged of a product in the tree."""
        params = {"id": product_id, "detail": detail, "at": format_utc(at)}
        self._connection.execute(NOTE_DAMAGE, params)

    def damages(self) -> Iterator[Damage]:
        """Yield the damaged products, those first that were found first."""
        for row in self._connection.query(_DAMAGES):
            found_at = self._time("damage", row["product_id"], row["found_at"])
            yield Damage(product_id=row["product_id"], found_at=found_at, detail=row["detail"])

    def progress(self) -> ScrubProgress | None:
        """Return the progress of the scrub; None before its first run."""
        rows = self._connection.query("SELECT * FROM scrub")
        if not rows:
            return None
        values = {name: rows[0][name] for name in ("owed_bytes", "products", "damaged", "stopped")}
        at = decoded(self._connection.path, "scrub", "at", rows[0]["at"], key="the scrub")
        return ScrubProgress(at=at, **values)

    def set_progress(self, progress: ScrubProgress) -> None:
        """Record the progress of the scrub."""
        self._connection.execute(SET_PROGRESS, asdict(progress) | {"at": format_utc(progress.at)})

    def _time(self, table: str, product_id: str, value: object) -> datetime:
        column = "verified_at" if table == "verification" else "found_at"
        at: datetime = decoded(self._connection.path, table, column, value, key=product_id)
        return at
