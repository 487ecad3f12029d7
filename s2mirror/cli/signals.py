"""Signals: a command ends within seconds, even if a thread hangs."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from s2mirror.cli.main import STOPPED
from s2mirror.cli.output import on_terminal, print_error
from s2mirror.stop import StopFlag

PATIENCE_SECONDS: Final = 6.0
_SHOW_CURSOR: Final = "\x1b[?25h"
_STOPS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopped_by_signals() -> Iterator[StopFlag]:
    """Provide a flag that the first SIGINT or SIGTERM sets.

    A second signal ends the process at once; after the first, it ends within some seconds.
    """
    stop = StopFlag()
    receiver, sender = socket.socketpair()
    sender.settimeout(0)
    wakeup = sender.detach()  # open until os.close, also after this function
    before = {number: signal.signal(number, lambda *_: None) for number in _STOPS}
    wakeup_before = signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(receiver, stop), name="signals", daemon=True).start()
    try:
        yield stop
    finally:
        # After a stop the receiver stays open: threads that hang may still keep the process.
        if not stop.is_set():
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup_before)
            os.close(wakeup)


def _listen(receiver: socket.socket, stop: StopFlag) -> None:
    """Receive signals in a thread of its own, until the sender is closed.

    Python's handlers run in the main thread, which stays asleep if the system delivers the signal
    to another one, as it does when two arrive at once.
    """
    with receiver:
        while numbers := receiver.recv(1):
            if numbers[0] not in _STOPS:
                continue
            if stop.is_set():
                leave(STOPPED)
            stop.set()
            patience = threading.Timer(PATIENCE_SECONDS, _give_up)
            patience.daemon = True
            patience.start()


def _give_up() -> None:
    print_error("stopped; what was downloaded so far is kept, and the next sync resumes it")
    leave(STOPPED)


def leave(code: int) -> NoReturn:
    """End the process now: a thread may hang on a silent socket, and nothing on disk needs it."""
    if on_terminal():
        sys.stdout.write(_SHOW_CURSOR)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
