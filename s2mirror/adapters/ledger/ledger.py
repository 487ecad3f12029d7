"""The ledger as a whole, and how to open one."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from s2mirror.adapters.ledger.adoption import Adoption
from s2mirror.adapters.ledger.archived_products import ArchivedProducts, Removals
from s2mirror.adapters.ledger.change_feed import FeedRows
from s2mirror.adapters.ledger.changes import Changes
from s2mirror.adapters.ledger.connection import Connection
from s2mirror.adapters.ledger.deletions import Deletions
from s2mirror.adapters.ledger.events import Events
from s2mirror.adapters.ledger.file_lists import FileLists, Selections
from s2mirror.adapters.ledger.forecast import ForecastInputs
from s2mirror.adapters.ledger.items import Items
from s2mirror.adapters.ledger.lags import Lags
from s2mirror.adapters.ledger.mending import DamagedRow, Mended, damaged_rows, mend
from s2mirror.adapters.ledger.moves import Moves
from s2mirror.adapters.ledger.opening import check_whole, connect
from s2mirror.adapters.ledger.overview import Overview
from s2mirror.adapters.ledger.passes import Passes
from s2mirror.adapters.ledger.pins import Pins
from s2mirror.adapters.ledger.previews import Previews
from s2mirror.adapters.ledger.process_reports import ProcessReports
from s2mirror.adapters.ledger.processing import Processing
from s2mirror.adapters.ledger.product_records import ProductRecords
from s2mirror.adapters.ledger.products import Products
from s2mirror.adapters.ledger.requests import Requests
from s2mirror.adapters.ledger.retention import Retention
from s2mirror.adapters.ledger.row_checksums import damaged
from s2mirror.adapters.ledger.rows import decoded
from s2mirror.adapters.ledger.schema import sql_states
from s2mirror.adapters.ledger.searches import Coverage, Cursors, Sweeps
from s2mirror.adapters.ledger.state_values import StateValues
from s2mirror.adapters.ledger.totals import Totals
from s2mirror.adapters.ledger.trashed import Trashed, TrashedProduct
from s2mirror.adapters.ledger.verifications import Verifications
from s2mirror.adapters.ledger.work_facts import WorkFacts
from s2mirror.lifecycle import GONE, HELD, Event, State
from s2mirror.model import LedgerEntry, Transition
from s2mirror.times import format_utc, parse_utc

ADD_BYTES: Final = """
INSERT INTO transfer (hour, size_bytes, received_at) VALUES (:hour, :size_bytes, :received_at)
ON CONFLICT (hour) DO UPDATE
   SET size_bytes = size_bytes + excluded.size_bytes,
       received_at = coalesce(excluded.received_at, received_at)
"""
BEGIN_FLIGHT: Final = """
INSERT OR REPLACE INTO in_flight (product_id, counted_bytes) VALUES (:id, :size_bytes)
"""
COUNT_FLIGHT: Final = """
UPDATE in_flight SET counted_bytes = counted_bytes + :size_bytes WHERE product_id = :id
"""
COMPACT: Final = f"""
DELETE FROM history
 WHERE at < :before AND product_id IN (
   SELECT id FROM product WHERE state IN {sql_states(GONE)})
"""
_NEWEST_HISTORY: Final = "SELECT max(at) AS at FROM history"
_REMOVED: Final = f"""
SELECT count(*) AS removed FROM history WHERE at > :after AND at <= :until
   AND from_state IN {sql_states(HELD)} AND to_state IN {sql_states(GONE)}
"""
FORGET_SEARCHES: Final = tuple(
    f"DELETE FROM {table} WHERE search NOT IN (SELECT value FROM json_each(:keys))"
    " AND search NOT IN (SELECT search FROM coverage)"
    for table in ("sweep", "cursor")
)
_ENTERED: Final = """
SELECT DISTINCT product_id FROM history
 WHERE at >= :since AND from_state <> to_state
   AND to_state IN (SELECT value FROM json_each(:states))
 ORDER BY id
"""
_RECENT_BYTES: Final = """
SELECT coalesce(sum(size_bytes), 0) AS size_bytes FROM transfer WHERE hour >= :since
"""

_BASELINES: Final = "SELECT * FROM baseline_tally WHERE products > 0"
_RECENT_HOURS: Final = "SELECT * FROM transfer WHERE hour >= :since ORDER BY hour"


class Ledger:
    """The stored state of the mirror. Any thread may use it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.products = Products(connection)
        self.product_records = ProductRecords(connection)
        self.cursors = Cursors(connection)
        self.coverage = Coverage(connection)
        self.file_lists = FileLists(connection)
        self.sweeps = Sweeps(connection)
        self.deletions = Deletions(connection)
        self.selections = Selections(connection)
        self.forecast_inputs = ForecastInputs(connection)
        self.items = Items(connection)
        self.lags = Lags(connection)
        self.passes = Passes(connection)
        self.adoption = Adoption(connection)
        self.pins = Pins(connection)
        self.archived_products = ArchivedProducts(connection)
        self.changes = Changes(connection)
        self.feed = FeedRows(connection)
        self.removals = Removals(connection)
        self.moves = Moves(connection)
        self.retention = Retention(connection)
        self.events = Events(connection)
        self.previews = Previews(connection)
        self.process = Processing(connection)
        self.process_reports = ProcessReports(connection)
        self.requests = Requests(connection)
        self.overview = Overview(connection)
        self.state = StateValues(connection)
        self.totals = Totals(connection)
        self.trashed = Trashed(connection)
        self.verifications = Verifications(connection)
        self.work_facts = WorkFacts(connection)

    def record_removal(self, entry: LedgerEntry, transition: Transition, *, now: datetime) -> None:
        """Record that a product's folder left the tree. Its file list stays with the trash."""
        with self.connection.atomic():
            self.products.advance(entry, transition, now=now)
            self.trashed.note(entry)
            self.removals.end(entry.product.id)

    def record_restore(
        self, entry: LedgerEntry, before: TrashedProduct, *, reason: str, now: datetime
    ) -> None:
        """Record that a product's folder is in the tree again, in its state before the removal."""
        restore = Transition(event=Event.RESTORE, reason=reason, attempts=0, path=before.path)
        with self.connection.atomic():
            self.products.advance(entry, restore, now=now)
            if before.state is State.PROCESSED:
                mark = Transition(event=Event.MARK, reason="as before the removal", attempts=0)
                self.products.advance(self.products.get(entry.product.id), mark, now=now)
            self.trashed.end(entry.product.id)
            self.removals.end(entry.product.id)

    def add_transfer(self, size_bytes: int, *, now: datetime) -> None:
        """Count bytes received from the store, in the hour of *now*."""
        self._add_bytes(size_bytes, now, received_at=format_utc(now))

    def begin_transfer(self, product_id: str, staged_bytes: int) -> None:
        """Record the staged bytes of a product at the start of an attempt: they are counted."""
        self.connection.execute(BEGIN_FLIGHT, {"id": product_id, "size_bytes": staged_bytes})

    def add_transfer_of(self, product_id: str, size_bytes: int, *, now: datetime) -> None:
        """Count bytes received for a product, also as a part of its staged bytes."""
        with self.connection.atomic():
            self.add_transfer(size_bytes, now=now)
            self.connection.execute(COUNT_FLIGHT, {"id": product_id, "size_bytes": size_bytes})

    def counted_bytes(self) -> dict[str, int]:
        """Return the counted staged bytes of each product whose download has begun."""
        rows = self.connection.query("SELECT product_id, counted_bytes FROM in_flight")
        return {row["product_id"]: row["counted_bytes"] for row in rows}

    def end_transfers(self) -> None:
        """Forget which staged bytes are counted, when no download is under way."""
        self.connection.execute("DELETE FROM in_flight")

    def add_estimate(self, size_bytes: int, *, now: datetime) -> None:
        """Count bytes that were probably received before a kill; they show no progress."""
        self._add_bytes(size_bytes, now, received_at=None)

    def _add_bytes(self, size_bytes: int, now: datetime, received_at: str | None) -> None:
        hour = format_utc(_hour(now))
        params = {"hour": hour, "size_bytes": size_bytes, "received_at": received_at}
        self.connection.execute(ADD_BYTES, params)

    def transferred_bytes(self, window: timedelta, *, now: datetime) -> int:
        """Return the bytes received from the store within the last *window*."""
        params = {"since": format_utc(_hour(now - window))}
        return int(self.connection.query(_RECENT_BYTES, params)[0]["size_bytes"])

    def transfers(self, window: timedelta, *, now: datetime) -> list[tuple[datetime, int]]:
        """Return the bytes received from the store in each hour of the last *window*."""
        params = {"since": format_utc(_hour(now - window))}
        rows = self.connection.query(_RECENT_HOURS, params)
        path = self.connection.path
        return [
            (decoded(path, "transfer", "hour", row["hour"], key=row["hour"]), row["size_bytes"])
            for row in rows
        ]

    def newest_history_at(self) -> datetime | None:
        """Return the newest time in the history; None if it is empty, or damaged."""
        found = self.connection.query(_NEWEST_HISTORY, {})[0]["at"]
        try:
            return None if found is None else parse_utc(found)
        except ValueError:
            return None

    def entered(self, *states: State, since: datetime) -> list[str]:
        """Return the products that have entered any of *states* since a time."""
        params = {"since": format_utc(since), "states": json.dumps(states)}
        return [row["product_id"] for row in self.connection.query(_ENTERED, params)]

    def removed_between(self, after: datetime, until: datetime) -> int:
        """Return how many held products were removed after a time, until another."""
        params = {"after": format_utc(after), "until": format_utc(until)}
        return int(self.connection.query(_REMOVED, params)[0]["removed"])

    def held_baselines(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return the number of held products by area, collection and baseline."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        for row in self.connection.query(_BASELINES):
            of_area = found.setdefault(row["area"], {})
            of_area.setdefault(row["collection"], {})[row["baseline"]] = row["products"]
        return found

    def compact_history(self, before: datetime) -> int:
        """Delete old events, and the older history of removed products; return how many entries.

        The products stay known, with their state and its reason.
        """
        with self.connection.atomic():
            deleted = self.connection.execute(COMPACT, {"before": format_utc(before)})
            self.process.compact(before)
            return deleted + self.events.compact(before)

    def forget_searches(self, *, except_for: Iterable[str]) -> None:
        """Delete the progress of every search except these, and except those that they continue."""
        keys = json.dumps(list(except_for))
        with self.connection.atomic():
            for statement in FORGET_SEARCHES:
                self.connection.execute(statement, {"keys": keys})

    def damaged_rows(self) -> tuple[DamagedRow, ...]:
        """Return every damaged row among those that steer removal or verification.

        A read of such a row raises LedgerError with the same names. Reads all products.
        """
        return damaged_rows(self.connection)

    def require_intact(self, table: str) -> None:
        """Raise LedgerError if any row of a table with checksums is damaged. Reads all rows."""
        for row in damaged_rows(self.connection, (table,)):
            raise damaged(self.connection.path, table, row.key, *row.columns)

    def mend(self) -> Mended:
        """Restore damaged rows; delete those that cannot be restored, for a sync to find again.

        For ``audit --repair``, with the instance lock held, before any other repair. A restored row
        has exactly the values that were written. After the deletion of a product's row, all
        searches start again: the next sync discovers the product, and verifies its files in the
        archive instead of downloading them. A product that was pruned, superseded or withdrawn
        stays so. The audit reports what is missing after the deletion of a file list or selection.
        """
        return mend(self.connection)

    def check_whole(self) -> None:
        """Read the whole file; raise LedgerError if it is damaged anywhere."""
        check_whole(self.connection)

    def refuse_writes_here(self) -> None:
        """Refuse every write by this thread, until it closes the ledger. Raises LedgerError."""
        self.connection.refuse_writes_here()

    def close(self) -> None:
        """Close this thread's connection."""
        self.connection.close()


def open_ledger(path: Path, *, create: bool = True, read_only: bool = False) -> Ledger:
    """Open the ledger at *path*, and migrate its tables to this version.

    With *read_only*, or without *create* if this user may not write, nothing is written, and a
    change of the ledger raises LedgerError. Raises LedgerError also if the file is damaged, empty
    or of another version, cannot be read, or, without *create*, does not exist.
    """
    return Ledger(connect(path, create=create, read_only=read_only))


def _hour(now: datetime) -> datetime:
    return now.replace(minute=0, second=0, microsecond=0)
