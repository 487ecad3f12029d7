"""Progress of downloads: bars on a terminal, one line per product otherwise, or nothing."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from s2mirror.cli.output import console, say, size
from s2mirror.ports import Progress as ProgressPort

_SHORT_CHARACTERS: Final = 60


class SilentProgress:
    """Says nothing, for ``--json`` and the daemon."""

    def began(self, product_id: str, *, size_bytes: int, staged_bytes: int) -> None:
        """Say nothing."""

    def received(self, product_id: str, size_bytes: int) -> None:
        """Say nothing."""

    def ended(self, product_id: str, outcome: str) -> None:
        """Say nothing."""


class LineProgress:
    """Prints a line when a product begins and one when it ends."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._sizes: dict[str, int] = {}

    def began(self, product_id: str, *, size_bytes: int, staged_bytes: int) -> None:
        """Print what begins."""
        self._started[product_id] = time.monotonic()
        self._sizes[product_id] = size_bytes
        there = f", {size(staged_bytes)} of it here already" if staged_bytes else ""
        say(f"fetching  {product_id}  {size(size_bytes)}{there}")

    def received(self, product_id: str, size_bytes: int) -> None:
        """Say nothing: lines are for beginnings and ends."""

    def ended(self, product_id: str, outcome: str) -> None:
        """Print how it ended."""
        seconds = time.monotonic() - self._started.pop(product_id, time.monotonic())
        size_bytes = self._sizes.pop(product_id, 0)
        say(f"{outcome:9} {product_id}  {size(size_bytes)} in {seconds:.1f} s")


class BarProgress:
    """Draws one bar per product under way, and one for all."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._all = bars.add_task("all products", total=0)
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def began(self, product_id: str, *, size_bytes: int, staged_bytes: int) -> None:
        """Draw a new bar."""
        with self._lock:
            self._tasks[product_id] = self._bars.add_task(
                product_id[:_SHORT_CHARACTERS], total=size_bytes, completed=staged_bytes
            )
            before = self._bars.tasks[self._all].total or 0
            self._bars.update(self._all, total=before + size_bytes, advance=staged_bytes)

    def received(self, product_id: str, size_bytes: int) -> None:
        """Move the bars on."""
        self._bars.advance(self._tasks[product_id], size_bytes)
        self._bars.advance(self._all, size_bytes)

    def ended(self, product_id: str, outcome: str) -> None:
        """Take a bar away, and print how it ended."""
        with self._lock:
            task = self._tasks.pop(product_id, None)
            if task is not None:
                self._bars.remove_task(task)
        self._bars.console.print(f"{outcome:9} {product_id}", markup=False)


@contextmanager
def progress_for(*, as_json: bool) -> Iterator[ProgressPort]:
    """Lend the progress display that fits where output goes."""
    if as_json:
        yield SilentProgress()
    elif not console().is_terminal:
        yield LineProgress()
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console(), transient=True) as bars:
            yield BarProgress(bars)
