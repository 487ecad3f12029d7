"""Reads the mirror for the page: in one thread, without writing, and seldom."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, TypeVar

from s2mirror.errors import MirrorError
from s2mirror.service.wiring import Mirror

FRESH_SECONDS: Final = 5.0
"""Readers of the same page within this time are given the same answer."""
T = TypeVar("T")


class Reader:
    """Calls functions of a mirror in one thread, and keeps each result for some seconds.

    So any number of readers costs no more than one, and none takes a thread of the daemon. The
    thread's connection to the ledger refuses every write.
    """

    def __init__(self, mirror: Mirror, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._mirror = mirror
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "page-reader", initializer=self._open)
        self._results: dict[object, tuple[float, Any]] = {}

    async def read(
        self,
        function: Callable[[Mirror], T],
        *,
        key: object = None,
        fresh_seconds: float = FRESH_SECONDS,
    ) -> T:
        """Return the result of a function of the mirror, kept under *key* or the function."""
        loop = asyncio.get_running_loop()
        found: T = await loop.run_in_executor(
            self._thread, self._kept, function, key or function, fresh_seconds
        )
        return found

    def close(self) -> None:
        """End the thread, which closes its connection first; this does not wait for it."""
        self._thread.submit(self._mirror.ledger.close)
        self._thread.shutdown(wait=False)

    def _open(self) -> None:
        # A ledger that cannot be opened now is the finding of each request.
        with suppress(MirrorError):
            self._mirror.ledger.refuse_writes_here()

    def _kept(self, function: Callable[[Mirror], T], key: object, fresh_seconds: float) -> T:
        now = self._clock()
        self._results = {each: kept for each, kept in self._results.items() if now < kept[0]}
        if key not in self._results:
            self._results[key] = (now + fresh_seconds, function(self._mirror))
        result: T = self._results[key][1]
        return result
