"""One store behind several targets: alternative endpoints, and a second key pair.

How a failure is judged. One failed request says little about an endpoint: the object may be
damaged, or a gateway may be restarting. Leaving an endpoint too early costs the account's quota
elsewhere; leaving it too late stops the mirror. Therefore there are three kinds of failure:

- No connection at all (StoreUnreachable), or the key pair is refused (KeyRefused): the error is
  about the target itself, and the next target is used at once.
- The store asks for fewer requests (StoreBusy): every endpoint counts for the same account, so a
  change of target would not help. The error is raised.
- Any other failure (StoreUnavailable) can be about one object. A listing depends on no single
  object, and more failed reads in a row than there are connections cannot all be about requests
  that were already running when the trouble began. Only then is the target doubtful; one probe,
  after a pause long enough for a gateway's restart, decides.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, TypeVar

from s2mirror.adapters.objectstore.boto3_client import StoreOptions
from s2mirror.adapters.objectstore.client import S3Store
from s2mirror.errors import KeyRefused, MirrorError, StoreBusy, StoreUnavailable, StoreUnreachable
from s2mirror.model import Listing, RemoteFile
from s2mirror.ports import Bytes
from s2mirror.stop import StopFlag

PREFER_AGAIN_SECONDS: Final = 900.0
_PAUSE_SECONDS: Final = 1.0
"""A gateway that is being restarted may be away this long without reason to leave it."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class StoreTarget:
    """An endpoint and the number of a key pair: 1 or 2."""

    endpoint: str
    key: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTargets:
    """The configured endpoints and key pairs, the preferred first."""

    endpoints: tuple[str, ...]
    keys: tuple[tuple[str, str], ...]
    """Access key and secret key of each pair."""
    started_with: str = ""
    """The endpoint that was used last; if empty or unknown, the preferred one."""
    prefer_again_seconds: float = PREFER_AGAIN_SECONDS
    """How long another endpoint is used before the preferred one is probed again."""

    def __repr__(self) -> str:
        """Show the endpoints, never the keys."""
        return f"StoreTargets(endpoints={self.endpoints!r}, {len(self.keys)} key pairs)"

    def others(self, target: StoreTarget, error: MirrorError) -> Iterator[StoreTarget]:
        """Yield what may replace *target*: another key for a refused key, else an endpoint."""
        if isinstance(error, KeyRefused):
            keys = range(1, len(self.keys) + 1)
            yield from (StoreTarget(target.endpoint, key) for key in keys)
        else:
            yield from (StoreTarget(endpoint, target.key) for endpoint in self.endpoints)


class FailoverStore:
    """The object store port over all configured targets. Any thread may use it.

    *on_failover* is called with each new target and the reason. *stop* ends its pauses.
    """

    def __init__(
        self,
        options: StoreOptions,
        targets: StoreTargets,
        on_failover: Callable[[StoreTarget, str], None],
        stop: StopFlag,
    ) -> None:
        self._options = options
        self._targets = targets
        self._on_failover = on_failover
        self._stop = stop
        self._lock = threading.Lock()
        """Guards all that follows. No request is sent while it is held."""
        self._stores: dict[StoreTarget, S3Store] = {}
        known = targets.started_with in targets.endpoints
        self._target = StoreTarget(targets.started_with if known else targets.endpoints[0])
        self._failures = 0
        self._prefer_at = time.monotonic() + targets.prefer_again_seconds

    @property
    def target(self) -> StoreTarget:
        """The target in use."""
        with self._lock:
            return self._target

    def probe(self) -> None:
        """List one object, to check that endpoint, bucket and keys work together."""
        self._through(lambda store: store.probe(), is_listing=True)

    def list_product(self, s3_prefix: str) -> Listing:
        """Return every object below *s3_prefix*; empty if there is none yet."""
        return self._through(lambda store: store.list_product(s3_prefix), is_listing=True)

    def wait_seconds(self) -> float:
        """Return how long the next request should wait for the account's rate limit."""
        return self._store(self.target).wait_seconds()

    def read(self, file: RemoteFile, *, start_byte: int = 0) -> Generator[Bytes, None, None]:
        """Yield the bytes of *file* from *start_byte*, of the version that was listed."""
        yield from self._through(lambda store: _begun(store.read(file, start_byte=start_byte)))

    def _through(self, act: Callable[[S3Store], _T], *, is_listing: bool = False) -> _T:
        """Do *act* with the first target that accepts it.

        Raises StoreUnreachable or KeyRefused when none does.
        """
        self._retry_preferred()
        failed: dict[StoreTarget, MirrorError] = {}
        while True:
            target = self.target
            try:
                result = act(self._store(target))
            except StoreBusy:
                raise
            except (StoreUnavailable, KeyRefused) as error:
                failed[target] = self._judged(target, error, is_listing=is_listing)
                self._fail_over(target, failed)
            else:
                self._forget_failures()
                return result

    def _store(self, target: StoreTarget) -> S3Store:
        with self._lock:
            if target not in self._stores:
                access_key, secret_key = self._targets.keys[target.key - 1]
                self._stores[target] = S3Store(
                    replace(
                        self._options,
                        endpoint=target.endpoint,
                        access_key=access_key,
                        secret_key=secret_key,
                    )
                )
            return self._stores[target]

    def _forget_failures(self) -> None:
        with self._lock:
            self._failures = 0

    def _is_doubtful(self, *, is_listing: bool) -> bool:
        """Count one failure; return whether it is about the target rather than one object."""
        with self._lock:
            self._failures += 1
            return is_listing or self._failures > self._options.connections

    def _judged(self, target: StoreTarget, error: MirrorError, *, is_listing: bool) -> MirrorError:
        """Return the error of the target; raise *error* if it is about one request only."""
        if isinstance(error, StoreUnreachable | KeyRefused):
            return error
        if not self._is_doubtful(is_listing=is_listing):
            raise error
        self._stop.wait(_PAUSE_SECONDS)
        self._stop.raise_if_set()
        try:
            self._store(target).probe()
        except (StoreUnavailable, KeyRefused) as found:
            return found
        self._forget_failures()
        raise error

    def _fail_over(self, target: StoreTarget, failed: dict[StoreTarget, MirrorError]) -> None:
        """Use the next target that has not failed; raise the errors of all if there is none."""
        error = failed[target]
        left = [other for other in self._targets.others(target, error) if other not in failed]
        with self._lock:
            if self._target != target and self._target not in failed:
                return  # another thread has changed the target already
            if not left:
                raise _all_failed(failed)
            self._use(left[0], str(error))

    def _use(self, target: StoreTarget, why: str) -> None:
        """Change the target. The caller holds the lock."""
        self._target = target
        self._failures = 0
        self._prefer_at = time.monotonic() + self._targets.prefer_again_seconds
        self._on_failover(target, why)

    def _retry_preferred(self) -> None:
        """Return to the preferred endpoint if its time has come and it answers again."""
        with self._lock:
            left_from = self._target
            preferred = StoreTarget(self._targets.endpoints[0], left_from.key)
            if left_from == preferred or time.monotonic() < self._prefer_at:
                return
            self._prefer_at = time.monotonic() + self._targets.prefer_again_seconds
        try:
            self._store(preferred).probe()
        except MirrorError:
            return
        with self._lock:
            if self._target == left_from:
                self._use(preferred, "it answers again")


def _begun(chunks: Iterator[Bytes]) -> Iterator[Bytes]:
    """Return *chunks* after the first one was received: the request has succeeded."""
    first = next(chunks, None)
    return chunks if first is None else chain([first], chunks)


def _all_failed(failed: dict[StoreTarget, MirrorError]) -> MirrorError:
    """Return one error with the reason of every target that failed."""
    *_, last = failed.values()
    if len(failed) == 1:
        text = str(last)
    else:
        text = "; ".join(
            f"{target.endpoint} with key pair {target.key}: {error}"
            for target, error in failed.items()
        )
    return KeyRefused(text) if isinstance(last, KeyRefused) else StoreUnreachable(text)
