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
class Way:
    """Where the store is asked, and with which key pair: 1 or 2."""

    endpoint: str
    key: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
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
        self, options: StoreOptions, ways: Ways, moved: Callable[[Way, str], None]
    ) -> None:
        self._options = options
        self._ways = ways
        self._moved = moved
        self._lock = threading.Lock()
        self._stores: dict[Way, S3Store] = {}
        known = ways.started_with in ways.endpoints
        self._way = Way(ways.started_with if known else ways.endpoints[0])
        self._failures = 0
        self._prefer_at = time.monotonic() + ways.prefer_again_seconds

    @property
    def way(self) -> Way:
        """How the store is asked now."""
        return self._way

    def probe(self) -> None:
        """List one object, to prove that endpoint, bucket and keys work together."""
        self._through(lambda store: store.probe(), is_listing=True)

    def list_product(self, s3_prefix: str) -> Listing:
        """Return every object below *s3_prefix*; empty if there is none yet."""
        return self._through(lambda store: store.list_product(s3_prefix), is_listing=True)

    def wait_seconds(self) -> float:
        """Return for how long the next request should wait, for the account's rate."""
        return self._store(self._way).wait_seconds()

    def read(self, file: RemoteFile, *, start_byte: int = 0) -> Generator[Bytes, None, None]:
        """Yield the bytes of *file* from *start_byte*, of the version that was listed."""
        yield from self._through(lambda store: _begun(store.read(file, start_byte=start_byte)))

    def _through(self, act: Callable[[S3Store], _T], *, is_listing: bool = False) -> _T:
        """Do *act* by the first way that lets it through.

        Raises StoreUnreachable or KeyRefused when none does.
        """
        self._give_the_preferred_a_chance()
        tried: dict[Way, MirrorError] = {}
        while True:
            way = self._way
            try:
                done = act(self._store(way))
            except StoreBusy:
                raise
            except (StoreUnavailable, KeyRefused) as error:
                tried[way] = self._judged(way, error, is_listing=is_listing)
                self._move_on(way, tried)
            else:
                self._failures = 0
                return done

    def _store(self, way: Way) -> S3Store:
        with self._lock:
            if way not in self._stores:
                access_key, secret_key = self._ways.keys[way.key - 1]
                self._stores[way] = S3Store(
                    replace(
                        self._options,
                        endpoint=way.endpoint,
                        access_key=access_key,
                        secret_key=secret_key,
                    )
                )
            return self._stores[way]

    def _judged(self, way: Way, error: MirrorError, *, is_listing: bool) -> MirrorError:
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
            self._store(way).probe()
        except (StoreUnavailable, KeyRefused) as found:
            return found
        self._failures = 0
        raise error

    def _move_on(self, way: Way, tried: dict[Way, MirrorError]) -> None:
        """Take the next way that was not tried; raise why there is none."""
        error = tried[way]
        others = [
            Way(endpoint, key)
            for endpoint in self._ways.endpoints
            for key in range(1, len(self._ways.keys) + 1)
        ]
        same = "endpoint" if isinstance(error, KeyRefused) else "key"
        left = [
            other
            for other in others
            if other not in tried and getattr(other, same) == getattr(way, same)
        ]
        with self._lock:
            if self._way != way and self._way not in tried:
                return  # another thread has moved on already
            if not left:
                raise _no_way(tried)
            self._take(left[0], str(error))

    def _take(self, way: Way, why: str) -> None:
        self._way = way
        self._failures = 0
        self._prefer_at = time.monotonic() + self._ways.prefer_again_seconds
        self._moved(way, why)

    def _give_the_preferred_a_chance(self) -> None:
        """Go back to the preferred endpoint if some time has passed, and it answers again."""
        preferred = Way(self._ways.endpoints[0], self._way.key)
        with self._lock:
            if self._way == preferred or time.monotonic() < self._prefer_at:
                return
            self._prefer_at = time.monotonic() + self._ways.prefer_again_seconds
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


def _no_way(tried: dict[Way, MirrorError]) -> MirrorError:
    """Return the error that says of every way why it is closed."""
    *_, last = tried.values()
    if len(tried) == 1:
        told = str(last)
    else:
        texts = (f"{way.endpoint} with key pair {way.key}: {error}" for way, error in tried.items())
        told = "; ".join(texts)
    return KeyRefused(told) if isinstance(last, KeyRefused) else StoreUnreachable(told)
