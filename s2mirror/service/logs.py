"""The log: an event name and values per line; JSON unless on a terminal; secrets are hidden."""

import os
import select
import sys
import textwrap
import threading
import time
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from s2mirror.clean_text import clean_text, clean_value
from s2mirror.service.log_lines import (
    JournalLines,
    Repetition,
    listen_to_libraries,
    stderr_is_journal,
)

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_HIDDEN: Final = "********"
_MIN_SECRET_CHARACTERS: Final = 4

log: Final = structlog.get_logger()


class _Logger:
    """Passes every line to the log's output, at any level."""

    def msg(self, text: str) -> None:
        """Write one line."""
        LOG_OUTPUT.write_line(text)

    log = debug = info = warn = warning = error = critical = fatal = exception = msg


def clean_texts(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Return *event* with clean texts, so that no text from outside can forge a line.

    A traceback keeps its lines, which are indented: no line of the log begins with a space.
    """
    for key, value in event.items():
        if key == "exception" and isinstance(value, str):
            event[key] = textwrap.indent(clean_text(value, keep="\n"), "    ")
        else:
            event[key] = clean_value(value)
    return event


class Redactor:
    """A structlog processor that replaces every secret in every value."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = [text for text in secrets if len(text) >= _MIN_SECRET_CHARACTERS]

    def __call__(
        self, _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Return *event* with every secret replaced."""
        for key, value in event.items():
            event[key] = self.hide(value)
        return event

    def hide(self, value: object) -> object:
        """Return *value* with every secret replaced, in lists too."""
        if isinstance(value, list | tuple):
            return [self.hide(part) for part in value]
        if not isinstance(value, str):
            return value
        for secret in self._secrets:
            value = value.replace(secret, _HIDDEN)
        return value


def _time_first(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Return *event* with time, level and name before its values."""
    first = {name: event[name] for name in ("timestamp", "level", "event") if name in event}
    return first | dict(event)


def _use_colors() -> bool:
    return (
        sys.stderr.isatty()
        and not os.environ.get("NO_COLOR")  # see no-color.org
        and os.environ.get("TERM") != "dumb"
    )


def set_up_logs(*, level: str, form: str, secrets: Iterable[str]) -> None:
    """Write the log to stderr as ``json`` or ``text``; ``auto`` is text on a terminal."""
    listen_to_libraries()
    to_journal = stderr_is_journal()
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=_use_colors())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            Repetition(),
            *([] if to_journal else [structlog.processors.TimeStamper(fmt="iso", utc=True)]),
            Redactor(secrets),
            clean_texts,
            _time_first,
            JournalLines(renderer) if to_journal else renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _Logger(),
        cache_logger_on_first_use=False,
    )


_STDERR: Final = 2
_PATIENCE_SECONDS: Final = 1.0
_CHUNK_BYTES: Final = select.PIPE_BUF
"""A pipe that poll(2) reports as writable takes this much without blocking."""


@dataclass(frozen=True, slots=True)
class Losses:
    """The lines that could not be written."""

    lines: int = 0
    """Since the process started."""
    reason: str = ""
    """Why the last line was lost; empty if it was written."""

    @property
    def problem(self) -> str:
        """What to do about a log that cannot be written; empty if the last line was written."""
        if not self.reason:
            return ""
        return (
            f"the log cannot be written ({self.reason}; {self.lines} lines lost): "
            "check the reader of the daemon's stderr, then restart s2mirror if it has ended"
        )


class LogOutput:
    """The log's output: the current ``sys.stderr``, which a progress bar may have replaced."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._losses = Losses()
        self._cut = False

    @property
    def losses(self) -> Losses:
        """Return how many lines were lost, and why."""
        return self._losses

    def write_line(self, text: str) -> None:
        """Write one line, or count it as lost. Never raises and never blocks for long."""
        with self._lock:
            reason = self._try_to_write(text + "\n")
            lost = bool(reason)
            self._losses = Losses(self._losses.lines + lost, reason)

    def _try_to_write(self, text: str) -> str:
        """Write a text; return why that is not possible, or an empty text."""
        try:
            if _stderr_is_redirected():
                return self._write_bytes(_STDERR, text)
            print(text, end="", file=sys.stderr, flush=True)  # noqa: T201 - the log's output
        except (OSError, ValueError) as error:  # ValueError: stderr is closed
            return getattr(error, "strerror", None) or str(error)
        return ""

    def _write_bytes(self, descriptor: int, text: str) -> str:
        # A line that was cut ends here, so that the next one stays a line.
        data = memoryview(("\n" * self._cut + text).encode(errors="backslashreplace"))
        # After a loss, the work does not wait again until a line could be written.
        give_up_at = time.monotonic() + (0.0 if self._losses.reason else _PATIENCE_SECONDS)
        while data:
            if not _is_writable(descriptor, give_up_at):
                return "its reader does not read"
            written = os.write(descriptor, data[:_CHUNK_BYTES])
            data = data[written:]
            self._cut = bool(data)
        return ""


def _stderr_is_redirected() -> bool:
    """Return whether stderr is a pipe or file of the process, which no progress bar shares."""
    try:
        return sys.stderr.fileno() == _STDERR and not os.isatty(_STDERR)
    except (AttributeError, OSError, ValueError):  # a stream in memory, or none
        return False


def _is_writable(descriptor: int, give_up_at: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(1000 * max(0.0, give_up_at - time.monotonic())))


LOG_OUTPUT: Final = LogOutput()
