"""How a command that works ends when it is told to: in seconds, whatever hangs."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from s2mirror.cli.codes import STOPPED
from s2mirror.cli.output import complain, console, on_terminal
from s2mirror.stop import StopFlag

PATIENCE_SECONDS: Final = 6.0
_STOPS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopped_by_signals() -> Iterator[StopFlag]:
    """Lend a flag that the first SIGINT or SIGTERM sets.

    The second leaves at once, and so does the first if seconds go by and nothing happens.
    """
    stop = StopFlag()

    def heard(*_: object) -> None:
        if stop.is_set():
            leave(STOPPED)
        stop.set()
        patience = threading.Timer(PATIENCE_SECONDS, _give_up)
        patience.daemon = True
        patience.start()

    before = {number: signal.signal(number, heard) for number in _STOPS}
    try:
        yield stop
    finally:
        # After a stop the handler stays: threads that hang may still keep the process.
        if not stop.is_set():
            for number, handler in before.items():
                signal.signal(number, handler)


def _give_up() -> None:
    complain("stopped; what was fetched so far is kept and will be used")
    leave(STOPPED)


def leave(code: int) -> NoReturn:
    """End the process now. A thread may hang on a silent socket; nothing on disk needs it."""
    if on_terminal():
        console().show_cursor()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
