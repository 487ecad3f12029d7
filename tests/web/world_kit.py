"""Mirrors in order and out of order: real facts in a real ledger and a real folder."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from builders import overwrite, product

from s2mirror.adapters.ledger import open_ledger, state_values
from s2mirror.adapters.ledger.processing import Due
from s2mirror.adapters.ledger.records import CycleRecord, HealthRecord, RunRecord, TroubleRecord
from s2mirror.adapters.ledger.state_values import CertificateRecord, StateValue
from s2mirror.adapters.lock import InstanceLock
from s2mirror.config import load_settings
from s2mirror.lifecycle import Event
from s2mirror.model import SweepKind, Transition
from s2mirror.process_model import RunOutcome, RunState
from s2mirror.service.health import Problems
from s2mirror.service.processing import processor
from s2mirror.service.wiring import Mirror, open_mirror
from s2mirror.stop import StopFlag
from s2mirror.times import format_utc

CONFIG = """
[archive]
root = "archive"
reserve = "1 MB"
[[process]]
name = "chain"
command = ["true"]
[[area]]
name = "lake"
bbox = [9, 47, 10, 48]
start = 2026-01-01
"""
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
GIVES_UP = 5
"""Failed runs after which an entry is not run again, by default."""
BUSY = "the store answered 503 SlowDown"


@dataclass
class World:
    """A mirror in a folder; every time is before now."""

    folder: Path
    now: datetime
    stack: ExitStack
    config: str = CONFIG
    _open: tuple[str, Mirror] | None = None

    @property
    def path(self) -> Path:
        found = self.folder / "s2mirror.toml"
        found.write_text(self.config)
        return found

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    @property
    def ledger_path(self) -> Path:
        return self.folder / "s2mirror.sqlite"

    def mirror(self) -> Mirror:
        """Return the mirror of the configuration; it is closed with the world."""
        if self._open is None or self._open[0] != self.config:
            mirror = open_mirror(load_settings(self.path, environment={}).settings, create=False)
            self.stack.callback(mirror.ledger.close)
            self._open = self.config, mirror
        return self._open[1]

    def configure(self, section: str, line: str) -> None:
        if f"[{section}]\n" in self.config:
            self.config = self.config.replace(f"[{section}]\n", f"[{section}]\n{line}\n", 1)
        else:
            self.config = f"[{section}]\n{line}\n{self.config}"

    def run(self, *, began: timedelta = 3 * DAY, reported: timedelta = timedelta()) -> None:
        """Have the daemon work since then: it holds the lock, and has reported."""
        ledger = self.mirror().ledger
        run = RunRecord(began_at=self.now - began, paused_seconds=0)
        ledger.state.set(state_values.DAEMON_RUN, run)
        ledger.state.set(state_values.LEDGER_BACKUP_AT, self.now - timedelta(hours=1))
        report = HealthRecord(at=self.now - reported, problems=())
        ledger.state.set(state_values.HEALTH, report)
        self.lock()

    def lock(self) -> None:
        """Hold the lock, as every process that works does."""
        self.stack.enter_context(InstanceLock(self.ledger_path))

    def list(self, *, ago: timedelta = 5 * MINUTE, swept: timedelta = DAY) -> None:
        """Have every search listed, the last time so long ago."""
        mirror = self.mirror()
        in_use = {search.key: 900 for search in mirror.searches}
        mirror.ledger.state.set(state_values.SEARCHES_IN_USE, in_use)
        for key in in_use:
            mirror.ledger.cursors.complete(
                key, watermark=self.now - ago, listed_count=0, new_count=0, now=self.now - ago
            )
            mirror.ledger.sweeps.begin(key, SweepKind.FULL)
            mirror.ledger.sweeps.complete(key, SweepKind.FULL, now=self.now - swept)

    def cycle(self, *, ago: timedelta = 6 * HOUR, good: bool = True) -> None:
        """Have a ``sync`` command end so long ago."""
        state, ended_at = self.mirror().ledger.state, self.now - ago
        record = CycleRecord(began_at=ended_at - HOUR, ended_at=ended_at)
        state.set(state_values.LAST_CYCLE, record)
        if good:
            state.set(state_values.GOOD_CYCLE_AT, ended_at)

    def product(self, *events: Event, ago: timedelta = HOUR, reason: str = "") -> str:
        """Have a product go through events so long ago; return its id."""
        products = self.mirror().ledger.products
        number = sum(count for count, _ in products.counts().values())
        at = self.now - ago
        new = product(f"S2C_MSIL2A_{number}", sensed_at=at - DAY)
        products.record([new], {new.id: ["lake"]}, priorities={}, now=at)
        for event in events:
            entry = products.get(new.id)
            path = f"{new.id}.SAFE" if event is Event.PUBLISH else None
            step = Transition(event=event, reason=reason, path=path, attempts=None)
            products.advance(entry, step, now=at)
        return new.id

    def fail(
        self,
        product_id: str,
        *,
        attempts: int = 1,
        reason: str = "503",
        wait: timedelta = timedelta(),
    ) -> None:
        """Have attempts with a product fail; the next one is after *wait*."""
        ledger = self.mirror().ledger
        overwrite(
            ledger,
            "attempts = :n, reason = :why, next_attempt_at = :next",
            "id = :id",
            n=attempts,
            why=reason,
            next=format_utc(self.now + wait),
            id=product_id,
        )

    def fail_run(self, product_id: str, *, failures: int = 1) -> None:
        """Have runs of the processing entry fail for a product, the last one an hour ago."""
        mirror, step = self.mirror(), processor(self.mirror())
        step.plan(StopFlag())
        before = mirror.ledger.process.statuses(product_id)["chain"]
        run = mirror.ledger.process.claim(
            Due(entry="chain", at=self.now, latest=self.now + DAY), now=self.now, only=[product_id]
        )
        assert run
        after = replace(
            before,
            state=RunState.FAILED if failures == GIVES_UP else RunState.LATER,
            failures=failures,
            next_attempt_at=format_utc(self.now + HOUR),
            failing_since=format_utc(self.now - HOUR),
            reason="chain: exit code 1",
        )
        assert mirror.ledger.process.end(replace(run, outcome=RunOutcome.FAILED), after)
        step.plan(StopFlag())

    def trouble(self, key: StateValue[TroubleRecord], text: str) -> None:
        self.mirror().ledger.state.set(key, TroubleRecord(text=text, since=self.now - HOUR))

    def report(self, source: str, text: str) -> None:
        """Have a part of the daemon report a problem."""
        Problems(self.mirror().ledger, lambda: self.now).set(source, text)

    def certify(self, *, missing: int) -> None:
        self.mirror().ledger.state.set(
            state_values.certificate_key("lake"),
            CertificateRecord(
                checked_at=self.now,
                published=3,
                held=3 - missing,
                missing=missing,
                complete=not missing,
                two_catalogs=False,
            ),
        )


ENQUEUED = (Event.ENQUEUE,)
CLAIMED = (*ENQUEUED, Event.CLAIM)
ARCHIVED = (*CLAIMED, Event.VERIFY, Event.PUBLISH)
PROCESSED = (*ARCHIVED, Event.MARK)
FAILED = (*CLAIMED, Event.GIVE_UP)
QUARANTINED = (*CLAIMED, Event.CORRUPT)


@contextmanager
def world_in(folder: Path) -> Iterator[World]:
    """Yield a mirror that has never run."""
    with ExitStack() as stack:
        world = World(folder, datetime.now(UTC), stack)
        settings = load_settings(world.path, environment={}).settings
        open_mirror(settings, create=True).ledger.close()
        yield world


def damage(path: Path) -> None:
    """Overwrite the middle of a file."""
    with path.open("r+b") as file:
        file.seek(os.path.getsize(path) // 2)  # noqa: PTH202 - of an open file
        file.write(b"\xff" * 8192)


def store_text(world: World, key: StateValue[TroubleRecord], text: str) -> None:
    ledger = open_ledger(world.ledger_path)
    ledger.state.set(StateValue(key.name, str, str), text)
    ledger.close()
