"""How the operator's wish to stop reaches every loop."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from s2mirror.errors import Stopped


class StopFlag:
    """Set once, seen by all threads. A child is set when it or its parent is."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._children: list[StopFlag] = []

    def set(self) -> None:
        """Ask everything that watches this flag to stop."""
        self._event.set()
        for child in tuple(self._children):
            child.set()

    def is_set(self) -> bool:
        """Tell whether it is time to stop."""
        return self._event.is_set()

    def wait(self, timeout_seconds: float) -> bool:
        """Sleep, but wake at once when it is time to stop; tell whether it is."""
        return self._event.wait(timeout_seconds)

    def raise_if_set(self) -> None:
        """Raise Stopped if it is time to stop."""
        if self.is_set():
            raise Stopped("stopped on request; what was fetched so far is kept and will be used")

    @contextmanager
    def child(self) -> Iterator["StopFlag"]:
        """Lend a flag that stops with this one, but can be set alone."""
        lent = StopFlag()
        self._children.append(lent)
        if self.is_set():
            lent.set()
        try:
            yield lent
        finally:
            self._children.remove(lent)
