"""Which lines the log has, and how the journal reads them.

In the journal, each line begins with its priority as ``<4>`` (sd-daemon(3)), which systemd reads
and removes. s2mirror does not use the journal's own protocol: lines of two channels would mix in no
certain order, and its socket is missing in containers; the JSON of a line keeps all values.
"""

import logging
import math
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, Final

import structlog

_STDERR: Final = 2
_PRIORITIES: Final = MappingProxyType({"debug": 7, "info": 6, "warning": 4, "error": 3})
_AGAIN_SECONDS: Final = 3600.0
_MAX_KEYS: Final = 1000
_CHANGES: Final = frozenset({"clock.jumped", "config.refused", "store.failover"})
"""Each of these lines reports something new, even if it looks like the last one."""
_TEXTS: Final = frozenset({"exception", "reason", "text"})
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
_EXPECTED: Final = ("maximum number of running instances reached", "Connection pool is full")
"""Messages of libraries about what is normal here: a poll that takes longer than its interval."""
_LIBRARY_LEVEL: Final = logging.WARNING


def stderr_is_journal(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether stderr is connected to the journal, as systemd.exec(5) describes."""
    try:
        found = os.fstat(_STDERR)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class JournalLines:
    """Renders events for the journal: every line begins with its priority."""

    def __init__(self, render: Callable[[Any, str, MutableMapping[str, Any]], str | bytes]) -> None:
        self._render = render

    def __call__(self, logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        """Return the lines of *event*."""
        prefix = f"<{_PRIORITIES.get(event['level'], _PRIORITIES['error'])}>"
        lines = str(self._render(logger, method, event)).split("\n")
        return "\n".join(prefix + line for line in lines)


class Repetition:
    """Drops a warning or error that is like an earlier one, for an hour; then tells how many.

    Lines are alike if they differ only in numbers of their reason, or in values that are numbers.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._written: OrderedDict[tuple[str, ...], tuple[float, int]] = OrderedDict()
        """When a line was written, and how many like it were dropped since."""

    def __call__(
        self, _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Return *event*, with the number of dropped ones. Raises DropEvent for a repeated one."""
        if event["level"] in ("debug", "info") or event["event"] in _CHANGES:
            return event
        key, now = _key(event), self._clock()
        with self._lock:
            written_at, dropped = self._written.pop(key, (-math.inf, 0))
            repeats = now - written_at < _AGAIN_SECONDS
            self._written[key] = (written_at, dropped + 1) if repeats else (now, 0)
            if len(self._written) > _MAX_KEYS:
                self._written.popitem(last=False)
        if repeats:
            raise structlog.DropEvent
        if dropped:
            event["repeated"] = f"{dropped} times since the last line"
        return event


def _key(event: Mapping[str, Any]) -> tuple[str, ...]:
    values = {name: value for name, value in event.items() if not isinstance(value, int | float)}
    texts = {name: _NUMBER.sub("0", str(values[name])) for name in _TEXTS & values.keys()}
    return tuple(f"{name}={value}" for name, value in sorted((values | texts).items()))


class _LibraryMessages(logging.Handler):
    """Logs warnings of libraries as an event of their own, in one form."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a message; normal ones at level debug."""
        log = structlog.get_logger()
        library = record.name.partition(".")[0]
        text = record.getMessage().strip().partition("\n")[0]
        library = "python" if library == "py" else library  # of the module warnings
        if any(words in text for words in _EXPECTED):
            log.debug("library.warned", library=library, text=text)
        else:
            # Not as a warning: s2mirror reports in its own words what a person can do.
            log.info("library.warned", library=library, text=text)


def listen_to_libraries() -> None:
    """Log the warnings of libraries, which would otherwise write lines of their own to stderr."""
    root = logging.getLogger()
    if not any(isinstance(handler, _LibraryMessages) for handler in root.handlers):
        root.addHandler(_LibraryMessages(_LIBRARY_LEVEL))
    root.setLevel(_LIBRARY_LEVEL)
    logging.captureWarnings(capture=True)
