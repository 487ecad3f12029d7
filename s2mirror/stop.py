"""The stop flag, which every loop checks."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from s2mirror.errors import Stopped


class StopFlag:
    """A flag that all threads share, and that stays set. A child is set if it or its parent is."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._children: list[StopFlag] = []

    def set(self) -> None:
        """Set the flag: everything that checks it stops."""
        self._event.set()
        for child in tuple(self._children):
            child.set()

    def is_set(self) -> bool:
        """Return whether the flag is set."""
        return self._event.is_set()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until the flag is set or the time is over; return whether it is set."""
        return self._event.wait(timeout_seconds)

    def raise_if_set(self) -> None:
        """Raise Stopped if the flag is set."""
        if self.is_set():
            raise Stopped("stopped on request; what was downloaded so far is kept")

    @contextmanager
    def child(self) -> Iterator["StopFlag"]:
        """Return a flag that is set with this one, and can be set alone."""
        lent = StopFlag()
        self._children.append(lent)
        if self.is_set():
            lent.set()
        try:
            yield lent
        finally:
            self._children.remove(lent)
