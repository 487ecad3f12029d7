"""Errors that s2mirror does not expect: the machine lacks a resource, or s2mirror has a bug.

They do not count as an attempt of a product.
"""

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from traceback import extract_tb
from typing import Final

from s2mirror.errors import MirrorError, RepeatedError, ResourceError, UnexpectedError

_LACKING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_NO_THREAD: Final = "can't start new thread"
_PACKAGE: Final = Path(__file__).parent.parent
_FIRST_WAIT: Final = timedelta(minutes=5)
_LONGEST_WAIT: Final = timedelta(hours=6)


class UnexpectedErrors:
    """Records the unexpected errors of this process by product. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._products: dict[str, set[str]] = {}
        self._counts: dict[str, int] = {}

    def record(self, product_id: str, error: Exception) -> MirrorError:
        """Return the mirror's own error for *error*, which occurred with one product."""
        if lacking := resource_error(error):
            return lacking
        key = f"{type(error).__name__} in {_place(error)}"
        with self._lock:
            affected = self._products.setdefault(key, set())
            affected.add(product_id)
            self._counts[product_id] = self._counts.get(product_id, 0) + 1
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(self._counts[product_id] - 1, 32))
            count = len(affected)
        seconds = wait.total_seconds()
        if count > 1:
            return RepeatedError(_repeated(key, count), retry_after_seconds=seconds)
        text = _single(f"{error!r} in {_place(error)}")
        return UnexpectedError(text, retry_after_seconds=seconds)

    def forget(self, product_id: str) -> None:
        """Forget the errors of a product that was published."""
        with self._lock:
            self._counts.pop(product_id, None)
            for affected in self._products.values():
                affected.discard(product_id)

    @property
    def note(self) -> str:
        """A text for people while several products meet the same error, else ""."""
        with self._lock:
            found = {key: len(affected) for key, affected in self._products.items()}
        return "; ".join(_repeated(key, count) for key, count in found.items() if count > 1)


def _single(what: str) -> str:
    return (
        f"s2mirror had an unexpected error, probably a bug: {what}. The product will be tried "
        "again. Please report it with the traceback in the log"
    )


def _repeated(what: str, count: int) -> str:
    return (
        f"{count} products had the same unexpected error, probably a bug in s2mirror: {what}. "
        "Downloads pause after each such error. Please report it with the traceback that the log "
        "has"
    )


def resource_error(error: BaseException) -> ResourceError | None:
    """Return the error to raise if the machine lacks a resource by *error* or its causes."""
    # EAGAIN of a cause may be that of a socket which has no data yet.
    lacks_process = isinstance(error, OSError) and error.errno == errno.EAGAIN
    found = error if lacks_process else next(filter(_shows_lack, _with_causes(error)), None)
    if found is None:
        return None
    return ResourceError(
        f"this machine lacks memory, threads or open files: {found!r}; all work pauses. "
        "End what uses them up, or raise the limits of the service"
    )


def _with_causes(error: BaseException) -> list[BaseException]:
    """Return *error*, and every error that it names as its cause or context."""
    found = [error]
    for each in found:
        others = (each.__cause__, each.__context__)
        found += [other for other in others if other is not None and other not in found]
    return found


@contextmanager
def resources_explained() -> Iterator[None]:
    """Raise ResourceError for an error which shows that the machine lacks a resource."""
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        if lacking := resource_error(error):
            raise lacking from error
        raise


def _shows_lack(error: BaseException) -> bool:
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno in _LACKING)
        or (isinstance(error, RuntimeError) and _NO_THREAD in str(error))
    )


def _place(error: Exception) -> str:
    """Return file and line of the innermost frame of *error* within s2mirror."""
    frames = extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _PACKAGE in Path(frame.filename).parents]
    if not frames:
        return "an unknown place"
    last = (ours or frames)[-1]
    path = Path(last.filename)
    name = path.relative_to(_PACKAGE) if ours else path.name
    return f"{name}:{last.lineno}"
