"""Writes log lines to stderr so that an output that cannot be written never stops the work.

The reader of a pipe may have ended, or have stopped reading; a disk may be full. Such a line is
counted and dropped. Nobody waits for its reader longer than once ``_PATIENCE_SECONDS``.
"""

import os
import select
import sys
import threading
import time
from dataclasses import dataclass
from typing import Final

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
        # After a loss the output gets no more patience until it takes a line again.
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
