"""One deadline for all checks of `s2mirror check`."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

from s2mirror.errors import MirrorError, OutsideError
from s2mirror.planning.findings import Severity
from s2mirror.service.config_check import Check

T = TypeVar("T")


class Deadline:
    """The time that all checks may take together. A service that hangs does not delay the answer.

    Each check runs in a thread of its own, which is left behind at the deadline.
    """

    def __init__(self, limit: timedelta) -> None:
        self._limit = limit
        self._end = time.monotonic() + limit.total_seconds()

    def check(self, name: str, attempt: Callable[[], str]) -> Check:
        """Return the result of an attempt; a failure if it has none at the deadline."""
        return self._within(name, lambda: _try(name, attempt)) or Check(
            name=name,
            detail=f"no result within the {self._limit.total_seconds():g} s of --timeout for all "
            "checks; repeat with a longer one, or see which service does not respond",
            exit_code=OutsideError.exit_code,
            severity=Severity.FAILURE,
        )

    def get(self, attempt: Callable[[], T]) -> T | None:
        """Return the result of an attempt; None if it fails, or has none at the deadline."""

        def quiet() -> T | None:
            """Return the result, or None."""
            with suppress(MirrorError):
                return attempt()
            return None

        return self._within("", quiet)

    def _within(self, name: str, attempt: Callable[[], T]) -> T | None:
        future: Future[T] = Future()

        def work() -> None:
            """Keep the result, or the error, for the caller; after the deadline, for nobody."""
            try:
                future.set_result(attempt())
            except BaseException as error:  # noqa: BLE001 - the caller raises it
                future.set_exception(error)

        threading.Thread(target=work, name=f"check {name}", daemon=True).start()
        try:
            return future.result(max(0.0, self._end - time.monotonic()))
        except TimeoutError:
            return None


def _try(name: str, attempt: Callable[[], str]) -> Check:
    try:
        return Check(name=name, detail=attempt())
    except MirrorError as error:
        return Check(
            name=name, detail=str(error), exit_code=error.exit_code, severity=Severity.FAILURE
        )
