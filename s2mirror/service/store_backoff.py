"""The store with a back-off for the whole account, which all processes of a ledger share."""

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.records import BackoffRecord
from s2mirror.adapters.ledger.state_values import STORE_BACKOFF
from s2mirror.adapters.ledger.totals import STORE_REFUSALS
from s2mirror.errors import LedgerError, StoreBusy
from s2mirror.model import Listing, RemoteFile
from s2mirror.planning.store_backoff import (
    Backoff,
    BackoffPolicy,
    after_acceptance,
    after_refusal,
)
from s2mirror.ports import Bytes, ObjectStore
from s2mirror.rate_limit import LONGEST_HOLD_SECONDS
from s2mirror.service.account import read_backoff
from s2mirror.service.logs import log
from s2mirror.stop import StopFlag

_LOG_AGAIN: Final = timedelta(hours=1)
_PROBE_SECONDS: Final = 0.2
"""Between checks whether the probe of another thread has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the back-off needs of the process."""

    now: Callable[[], datetime]
    jitter: Callable[[], float]
    stop: StopFlag


class BackoffStore:
    """The object store port: sends no request while the store asks for fewer. Thread-safe."""

    def __init__(
        self, store: ObjectStore, ledger: Ledger, policy: BackoffPolicy, around: Surroundings
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._policy = policy
        self._around = around
        self._lock = threading.Lock()
        """Guards all that follows. No request is sent while it is held."""
        self._backoff = read_backoff(ledger)
        self._change = 0
        """Counts changes of the back-off: a response to an older request changes nothing."""
        self._probing = False

    def probe(self) -> None:
        """List one object, to check that endpoint, bucket and keys work together."""
        with self._request():
            self._store.probe()

    def list_product(self, s3_prefix: str) -> Listing:
        """Return every object below *s3_prefix*; empty if there is none yet."""
        with self._request():
            return self._store.list_product(s3_prefix)

    def wait_seconds(self) -> float:
        """Return how long the next request should wait for the account's rate limit."""
        return self._store.wait_seconds()

    def busy_seconds(self) -> float:
        """Return how long no product should be started, because the store asks for fewer requests.

        A refusal that another process has recorded meanwhile counts too.
        """
        found = read_backoff(self._ledger)
        with self._lock:
            if found and (self._backoff is None or found.at > self._backoff.at):
                self._backoff = found
            if self._probing:
                return _PROBE_SECONDS
            return self._remaining_seconds()

    def read(self, file: RemoteFile, *, start_byte: int = 0) -> Generator[Bytes, None, None]:
        """Yield the bytes of *file* from *start_byte*, of the version that was listed."""
        with closing(self._store.read(file, start_byte=start_byte)) as chunks:
            if start_byte < file.size_bytes:
                with self._request():
                    first = next(chunks, None)
                if first is not None:
                    yield first
            yield from chunks

    @contextmanager
    def _request(self) -> Iterator[None]:
        """Wait until a request may be sent, and record its outcome.

        Raises StoreBusy, without a request, if that takes more than a minute.
        """
        change, probes = self._admit()
        try:
            yield
        except StoreBusy as error:
            self._refused(error, change)
            raise
        else:
            self._accepted(change)
        finally:
            if probes:
                with self._lock:
                    self._probing = False

    def _admit(self) -> tuple[int, bool]:
        """Return the present change, and whether this request is the probe."""
        while True:
            with self._lock:
                seconds = self._remaining_seconds()
                if not seconds and not self._refusing:
                    return self._change, False
                if not seconds and not self._probing:
                    self._probing = True
                    return self._change, True
                reason = self._backoff.reason if self._backoff else ""
            if seconds > LONGEST_HOLD_SECONDS:
                raise StoreBusy(reason, retry_after_seconds=seconds)
            self._around.stop.wait(seconds or _PROBE_SECONDS)
            self._around.stop.raise_if_set()

    @property
    def _refusing(self) -> bool:
        return self._backoff is not None and self._backoff.refused_count > 0

    def _remaining_seconds(self) -> float:
        found = self._backoff
        return found.remaining(self._around.now()).total_seconds() if found else 0.0

    def _refused(self, error: StoreBusy, change: int) -> None:
        now = self._around.now()
        self._count_refusal()
        with self._lock:
            if change != self._change:
                return  # sent before the last refusal: it says nothing new
            found = after_refusal(
                self._backoff,
                self._policy,
                reason=str(error),
                asked_seconds=error.retry_after_seconds,
                now=now,
                jitter=self._around.jitter(),
            )
            logs = found.refused_count == 1 or now - found.logged_at >= _LOG_AGAIN
            self._set(replace(found, logged_at=now) if logs else found)
        if logs:
            _log(found, wait=found.until - now)

    def _count_refusal(self) -> None:
        with suppress(LedgerError):
            self._ledger.totals.count(STORE_REFUSALS, "busy")
        self._ledger.close()

    def _accepted(self, change: int) -> None:
        now = self._around.now()
        with self._lock:
            before = self._backoff
            if before is None or not before.refused_count or change != self._change:
                return
            self._set(after_acceptance(before, now=now))
        seconds = round((now - before.since).total_seconds())
        log.info("store.recovered", refused=before.refused_count, seconds=seconds)

    def _set(self, found: Backoff) -> None:
        """Change the state. The caller holds the lock."""
        self._backoff, self._change = found, self._change + 1
        with suppress(LedgerError):  # a full disk; other processes then find out by themselves
            self._ledger.state.set(STORE_BACKOFF, BackoffRecord(**asdict(found)))
        # This may run in any of the connection threads, none of which needs the ledger again.
        self._ledger.close()


def _log(found: Backoff, *, wait: timedelta) -> None:
    """Log the first refused request, and hourly that requests are still refused."""
    facts = {"wait_seconds": round(wait.total_seconds(), 1), "reason": found.reason}
    if found.refused_count == 1:
        log.warning("store.throttled", **facts)
    else:
        since = found.since.isoformat(timespec="seconds")
        log.warning("store.still_throttled", refused=found.refused_count, since=since, **facts)
