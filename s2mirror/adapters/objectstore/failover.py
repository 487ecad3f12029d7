"""One store by several ways: endpoints that stand in for each other, and a second key pair."""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, TypeVar

from s2mirror.adapters.objectstore.client import S3Store, StoreOptions
from s2mirror.errors import KeyRefused, MirrorError, StoreBusy, StoreUnavailable, StoreUnreachable
from s2mirror.model import Listing, RemoteFile
from s2mirror.ports import Bytes

PREFER_AGAIN_SECONDS: Final = 900.0
_MOMENT_SECONDS: Final = 1.0
"""A gateway that is restarted may be gone for so long; no reason to leave it."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class StoreTarget:
    """Where the store is asked, and with which key pair: 1 or 2."""

    endpoint: str
    key: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTargets:
    """What there is to choose from, the preferred first."""

    endpoints: tuple[str, ...]
    keys: tuple[tuple[str, str], ...]
    """Access key and secret key of each pair."""
    started_with: str = ""
    """The endpoint that worked last; empty or unknown: the preferred one."""
    prefer_again_seconds: float = PREFER_AGAIN_SECONDS
    """After so long elsewhere, the preferred endpoint gets another chance."""

    def __repr__(self) -> str:
        """Show where, never with which keys."""
        return f"Ways(endpoints={self.endpoints!r}, {len(self.keys)} key pairs)"


class FailoverStore:
    """The object store port over every way that there is. Any thread may use it.

    *moved* hears of each new way and why it was taken. An endpoint is left when no request gets
    through to it. When a listing fails, or more reads in a row than can be under way at once, it is
    left if it cannot list the bucket either.
    """

    def __init__(
        self,
        options: StoreOptions,
        targets: StoreTargets,
        on_failover: Callable[[StoreTarget, str], None],
    ) -> None:
        self._options = options
        self._targets = targets
        self._on_failover = on_failover
        self._lock = threading.Lock()
        self._stores: dict[StoreTarget, S3Store] = {}
        known = targets.started_with in targets.endpoints
        self._target = StoreTarget(targets.started_with if known else targets.endpoints[0])
        self._failures = 0
        self._prefer_at = time.monotonic() + targets.prefer_again_seconds

    @property
    def target(self) -> StoreTarget:
        """How the store is asked now."""
        return self._target

    def probe(self) -> None:
        """List one object, to prove that endpoint, bucket and keys work together."""
        self._through(lambda store: store.probe(), is_listing=True)

    def list_product(self, s3_prefix: str) -> Listing:
        """Return every object below *s3_prefix*; empty if there is none yet."""
        return self._through(lambda store: store.list_product(s3_prefix), is_listing=True)

    def wait_seconds(self) -> float:
        """Return for how long the next request should wait, for the account's rate."""
        return self._store(self._target).wait_seconds()

    def read(self, file: RemoteFile, *, start_byte: int = 0) -> Generator[Bytes, None, None]:
        """Yield the bytes of *file* from *start_byte*, of the version that was listed."""
        yield from self._through(lambda store: _begun(store.read(file, start_byte=start_byte)))

    def _through(self, act: Callable[[S3Store], _T], *, is_listing: bool = False) -> _T:
        """Do *act* by the first way that lets it through.

        Raises StoreUnreachable or KeyRefused when none does.
        """
        self._give_the_preferred_a_chance()
        tried: dict[StoreTarget, MirrorError] = {}
        while True:
            target = self._target
            try:
                done = act(self._store(target))
            except StoreBusy:
                raise
            except (StoreUnavailable, KeyRefused) as error:
                tried[target] = self._judged(target, error, is_listing=is_listing)
                self._move_on(target, tried)
            else:
                self._failures = 0
                return done

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

    def _judged(self, target: StoreTarget, error: MirrorError, *, is_listing: bool) -> MirrorError:
        """Return what *error* says of the way; raise it if it does not speak of the way at all."""
        if isinstance(error, StoreUnreachable | KeyRefused):
            return error
        with self._lock:
            self._failures += 1
            in_doubt = is_listing or self._failures > self._options.connections
        if not in_doubt:
            raise error
        time.sleep(_MOMENT_SECONDS)
        try:
            self._store(target).probe()
        except (StoreUnavailable, KeyRefused) as found:
            return found
        self._failures = 0
        raise error

    def _move_on(self, target: StoreTarget, tried: dict[StoreTarget, MirrorError]) -> None:
        """Take the next way that was not tried; raise why there is none."""
        error = tried[target]
        others = [
            StoreTarget(endpoint, key)
            for endpoint in self._targets.endpoints
            for key in range(1, len(self._targets.keys) + 1)
        ]
        same = "endpoint" if isinstance(error, KeyRefused) else "key"
        left = [
            other
            for other in others
            if other not in tried and getattr(other, same) == getattr(target, same)
        ]
        with self._lock:
            if self._target != target and self._target not in tried:
                return  # another thread has moved on already
            if not left:
                raise _no_target(tried)
            self._take(left[0], str(error))

    def _take(self, target: StoreTarget, why: str) -> None:
        self._target = target
        self._failures = 0
        self._prefer_at = time.monotonic() + self._targets.prefer_again_seconds
        self._on_failover(target, why)

    def _give_the_preferred_a_chance(self) -> None:
        """Go back to the preferred endpoint if some time has passed, and it answers again."""
        preferred = StoreTarget(self._targets.endpoints[0], self._target.key)
        with self._lock:
            if self._target == preferred or time.monotonic() < self._prefer_at:
                return
            self._prefer_at = time.monotonic() + self._targets.prefer_again_seconds
        try:
            self._store(preferred).probe()
        except MirrorError:
            return
        with self._lock:
            self._take(preferred, "it answers again")


def _begun(chunks: Iterator[Bytes]) -> Iterator[Bytes]:
    """Return *chunks* with the first one there: the request has come through."""
    first = next(chunks, None)
    return chunks if first is None else chain([first], chunks)


def _no_target(tried: dict[StoreTarget, MirrorError]) -> MirrorError:
    """Return the error that says of every way why it is closed."""
    *_, last = tried.values()
    if len(tried) == 1:
        told = str(last)
    else:
        texts = (
            f"{target.endpoint} with key pair {target.key}: {error}"
            for target, error in tried.items()
        )
        told = "; ".join(texts)
    return KeyRefused(told) if isinstance(last, KeyRefused) else StoreUnreachable(told)
