"""The processing of products: plan the entries of each product, and begin and end their runs."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from s2mirror.adapters.ledger.connection import Connection, Row
from s2mirror.adapters.ledger.row_checksums import (
    checked,
    is_intact,
    require_intact,
    update,
    upsert,
)
from s2mirror.process_model import ProcessRun, ProcessStatus, RunState
from s2mirror.times import format_utc

_CHECKED: Final = checked("process_state")
_OF_PRODUCT: Final = f"SELECT *, {_CHECKED} FROM process_state WHERE product_id = :id"
_UNPLANNED: Final = """
SELECT product_id, coalesce(priority, 0) AS priority, coalesce(sensed_at, '') AS sensed_at
  FROM process_queue LEFT JOIN product ON id = product_id
 WHERE product_id > :after ORDER BY product_id LIMIT :limit
"""
_QUEUE: Final = "INSERT OR IGNORE INTO process_queue (product_id) VALUES (:id)"
_UNQUEUE: Final = "DELETE FROM process_queue WHERE product_id = :id"
PLAN_ALL: Final = """
INSERT OR IGNORE INTO process_queue (product_id) SELECT id FROM product WHERE state = 'archived'
"""
PLAN: Final = upsert(
    "process_state",
    {
        "product_id": ":product_id",
        "entry": ":entry",
        "state": ":state",
        "priority": ":priority",
        "sensed_at": ":sensed_at",
        "attempt": "0",
        "failures": "0",
        "next_attempt_at": ":now",
        "failing_since": "''",
        "reason": "''",
        "asked": "0",
    },
    {"state": ":state", "next_attempt_at": ":now"},
    conflict="product_id, entry",
)
_UNPLAN: Final = "DELETE FROM process_state WHERE product_id = :product_id AND entry = :entry"
ASK: Final = update(
    "process_state",
    {"state": "'waiting'", "failures": "0", "next_attempt_at": ":now", "asked": "1"},
    "product_id = :product_id AND entry = :entry AND state <> 'running'",
)
# A later time than the longest wait was written while this machine's clock was ahead. Of two
# statements, each reads only what it finds; one with OR reads every row that waits.
MAKE_DUE: Final = tuple(
    update(
        "process_state",
        {"state": "'waiting'"},
        f"entry = :entry AND state = 'later' AND next_attempt_at {bound}",
    )
    for bound in ("<= :now", "> :latest")
)
_DUE: Final = """
SELECT EXISTS (SELECT 1 FROM process_state WHERE entry = :entry AND state = 'waiting')
    OR EXISTS (SELECT 1 FROM process_state WHERE entry = :entry AND state = 'later'
                  AND next_attempt_at <= :now)
    OR EXISTS (SELECT 1 FROM process_state WHERE entry = :entry AND state = 'later'
                  AND next_attempt_at > :latest) AS due
"""
# A product whose removal has begun gets no run, and one with a run is not removed (``Removals``).
_NEXT: Final = f"""
SELECT product_id FROM process_state
 WHERE entry = :entry AND state = 'waiting' AND {is_intact("process_state")}
   AND (:only = '[]' OR product_id IN (SELECT value FROM json_each(:only)))
   AND EXISTS (SELECT 1 FROM product WHERE id = product_id
                  AND product.state IN ('archived', 'processed') AND path IS NOT NULL
                  AND {is_intact("product")})
   AND NOT EXISTS (SELECT 1 FROM removal WHERE removal.product_id = process_state.product_id)
 ORDER BY priority DESC, sensed_at DESC LIMIT 1
"""
_LAST_ATTEMPT: Final = """
SELECT coalesce(max(attempt), 0) AS attempt FROM process_run
 WHERE product_id = :product_id AND entry = :entry
"""
CLAIM: Final = update(
    "process_state",
    {"state": "'running'", "attempt": ":attempt"},
    "product_id = :product_id AND entry = :entry AND state = 'waiting'",
)
_BEGIN_RUN: Final = """
INSERT INTO process_run (product_id, entry, attempt, began_at, outcome, output)
VALUES (:product_id, :entry, :attempt, :now, 'running', '')
"""
_END_RUN: Final = """
UPDATE process_run
   SET ended_at = :now, outcome = :outcome, exit_code = :exit_code, output = :output
 WHERE product_id = :product_id AND entry = :entry AND attempt = :attempt
"""
END: Final = update(
    "process_state",
    {
        "state": ":state",
        "failures": ":failures",
        "next_attempt_at": ":next_attempt_at",
        "failing_since": ":failing_since",
        "reason": ":reason",
        "asked": "CASE :state WHEN 'done' THEN 0 ELSE asked END",
    },
    "product_id = :product_id AND entry = :entry AND state = 'running' AND attempt = :attempt",
)
_RUNNING: Final = f"SELECT *, {_CHECKED} FROM process_state WHERE state = 'running'"


_COMPACT: Final = """
DELETE FROM process_run
 WHERE began_at < :before AND product_id IN (
   SELECT id FROM product WHERE path IS NULL)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnplannedProduct:
    """A product whose entries must be planned, with what orders its runs."""

    product_id: str
    priority: int
    sensed_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What makes a run of an entry due."""

    entry: str
    at: datetime
    """Runs that wait until then are due."""
    latest: datetime
    """The end of the longest wait: what waits longer was recorded by a clock that was ahead."""

    @property
    def params(self) -> dict[str, str]:
        """These values for SQL."""
        latest = format_utc(self.latest)
        return {"entry": self.entry, "now": format_utc(self.at), "latest": latest}


class Processing:
    """The processing rows of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def unplanned(self, limit: int, *, after: str = "") -> list[UnplannedProduct]:
        """Return products whose entries must be planned, by id from *after* on."""
        rows = self._connection.query(_UNPLANNED, {"limit": limit, "after": after})
        return [UnplannedProduct(**row) for row in rows]

    def plan_all(self) -> int:
        """Have every archived product planned again; return how many."""
        return self._connection.execute(PLAN_ALL)

    def plan_again(self, product_id: str) -> None:
        """Have one product planned again."""
        self._connection.execute(_QUEUE, {"id": product_id})

    def statuses(self, product_id: str) -> dict[str, ProcessStatus]:
        """Return the state of each entry for a product. Raises LedgerError for a damaged row."""
        rows = self._connection.query(_OF_PRODUCT, {"id": product_id})
        return {row["entry"]: self._status(row) for row in rows}

    def plan(
        self,
        product: UnplannedProduct,
        changes: Mapping[str, RunState],
        gone: Iterable[str],
        *,
        now: datetime,
    ) -> None:
        """Set the states of entries, delete those of *gone*, and take the product off the queue.

        Call it in the transaction that read the states.
        """
        row = {"product_id": product.product_id}
        new = {"priority": product.priority, "sensed_at": product.sensed_at, "now": format_utc(now)}
        for entry, state in changes.items():
            self._connection.execute(PLAN, {**row, **new, "entry": entry, "state": state})
        for entry in gone:
            self._connection.execute(_UNPLAN, {**row, "entry": entry})
        self._connection.execute(_UNQUEUE, {"id": product.product_id})

    def ask(self, product_id: str, entry: str, *, now: datetime) -> bool:
        """Have an entry run again for a product; return False if it has no row, or is running."""
        row = {"product_id": product_id, "entry": entry, "now": format_utc(now)}
        return self._connection.execute(ASK, row) == 1

    def is_due(self, due: Due) -> bool:
        """Return whether a run of an entry is due."""
        return bool(self._connection.query(_DUE, due.params)[0]["due"])

    def claim(self, due: Due, *, now: datetime, only: Collection[str] = ()) -> ProcessRun | None:
        """Record the start of the next run of an entry and return it; None if none is due.

        Products of higher priority are first, then the newest sensing. With *only*, claims one of
        these products.
        """
        with self._connection.atomic():
            for make_due in MAKE_DUE:
                self._connection.execute(make_due, due.params)
            wanted = {"entry": due.entry, "only": json.dumps(list(only))}
            rows = self._connection.query(_NEXT, wanted)
            if not rows:
                return None
            key = {"product_id": rows[0]["product_id"], "entry": due.entry}
            attempt = int(self._connection.query(_LAST_ATTEMPT, key)[0]["attempt"]) + 1
            self._connection.execute(CLAIM, {**key, "attempt": attempt})
            begun = {**key, "attempt": attempt, "now": format_utc(now)}
            self._connection.execute(_BEGIN_RUN, begun)
        return ProcessRun(**key, attempt=attempt, began_at=now)

    def end(self, run: ProcessRun, status: ProcessStatus) -> bool:
        """Record the end of a run, and the state after it; have its product planned again.

        Returns False if the state was changed meanwhile, as by a removal: only the run is recorded.
        """
        key = {"product_id": run.product_id, "entry": run.entry, "attempt": run.attempt}
        ended = {
            "now": format_utc(run.ended_at or run.began_at),
            "outcome": run.outcome,
            "exit_code": run.exit_code,
            "output": run.output,
        }
        after = {
            "state": status.state,
            "failures": status.failures,
            "next_attempt_at": status.next_attempt_at,
            "failing_since": status.failing_since,
            "reason": status.reason,
        }
        with self._connection.atomic():
            self._connection.execute(_END_RUN, key | ended)
            changed = self._connection.execute(END, key | after) == 1
            if changed:
                self.plan_again(run.product_id)
        return changed

    def compact(self, before: datetime) -> None:
        """Delete the older runs of removed products."""
        self._connection.execute(_COMPACT, {"before": format_utc(before)})

    def running(self) -> list[ProcessStatus]:
        """Return the runs that are under way, or that the mirror did not see the end of.

        No product of these is removed. Raises LedgerError for a damaged row.
        """
        return [self._status(row) for row in self._connection.query(_RUNNING)]

    def _status(self, row: Row) -> ProcessStatus:
        require_intact(self._connection.path, "process_state", row)
        return ProcessStatus(
            product_id=row["product_id"],
            entry=row["entry"],
            state=RunState(row["state"]),
            attempt=row["attempt"],
            failures=row["failures"],
            next_attempt_at=row["next_attempt_at"],
            failing_since=row["failing_since"],
            reason=row["reason"],
            asked=bool(row["asked"]),
        )
