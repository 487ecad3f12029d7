"""How a command that works ends when it is told to: in seconds, whatever hangs."""

import os
import signal
import socket
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
    ears, mouth = socket.socketpair()
    mouth.settimeout(0)
    wakeup = mouth.detach()  # open until it is closed, whatever becomes of this frame
    before = {number: signal.signal(number, lambda *_: None) for number in _STOPS}
    woken_before = signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(ears, stop), name="signals", daemon=True).start()
    try:
        yield stop
    finally:
        # After a stop the ears stay open: threads that hang may still keep the process.
        if not stop.is_set():
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(woken_before)
            os.close(wakeup)


def _listen(ears: socket.socket, stop: StopFlag) -> None:
    """Heed signals in a thread of its own, until nobody can send any more.

    Python's handlers run in the main thread, which sleeps on if the system gave the signal to
    another one: it does so when two come at once.
    """
    with ears:
        while numbers := ears.recv(1):
            if numbers[0] not in _STOPS:
                continue
            if stop.is_set():
                leave(STOPPED)
            stop.set()
            patience = threading.Timer(PATIENCE_SECONDS, _give_up)
            patience.daemon = True
            patience.start()


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
