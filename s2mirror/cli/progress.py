"""Progress of downloads: bars on a terminal, one line per product otherwise, or nothing."""

import threading
import time
from collections.abc import Callable, Iterator
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

from s2mirror.cli.output import console, on_terminal, say, size
from s2mirror.ports import Progress as ProgressPort

Unfinished = Callable[[], tuple[int, int]]
"""Returns how many products wait or are under way, and about how many bytes they have."""
_NARROW_CHARACTERS: Final = 90


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
        started = self._started.pop(product_id, None)
        if started is None:
            say(f"{outcome:9} {product_id}")
            return
        size_bytes, seconds = self._sizes.pop(product_id), time.monotonic() - started
        say(f"{outcome:9} {product_id}  {size(size_bytes)} in {seconds:.1f} s")


class BarProgress:
    """Draws one bar per product under way, and one for all that this run has to fetch."""

    def __init__(self, bars: Progress, unfinished: Unfinished) -> None:
        self._bars = bars
        self._unfinished = unfinished
        self._all = bars.add_task("", visible=False)
        self._tasks: dict[str, TaskID] = {}
        self._sizes: dict[str, int] = {}
        self._done: list[int] = []
        self._lock = threading.Lock()

    def began(self, product_id: str, *, size_bytes: int, staged_bytes: int) -> None:
        """Draw a new bar."""
        with self._lock:
            self._tasks[product_id] = self._bars.add_task(
                _short(product_id), total=size_bytes, completed=staged_bytes
            )
            self._sizes[product_id] = size_bytes
            self._bars.advance(self._all, staged_bytes)
            self._look_ahead()

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
            self._done.append(self._sizes.pop(product_id, 0))
            self._look_ahead()
        self._bars.console.print(f"{outcome:9} {product_id}", markup=False)

    def _look_ahead(self) -> None:
        """Count in what still waits, so that the time left is that of the whole run."""
        products, expected_bytes = self._unfinished()
        self._bars.update(
            self._all,
            description=f"{len(self._done)} of {len(self._done) + products} products",
            total=sum(self._done) + expected_bytes,
            visible=True,
        )


def _short(product_id: str) -> str:
    """Return what tells a product from its neighbours: ``S2C L2A 32TMT 2026-05-27``."""
    platform, level, sensed, _, _, tile, *_ = product_id.split("_")
    date = f"{sensed[:4]}-{sensed[4:6]}-{sensed[6:8]}"
    return f"{platform} {level.removeprefix('MSI')} {tile.removeprefix('T')} {date}"


@contextmanager
def progress_for(unfinished: Unfinished, *, as_json: bool) -> Iterator[ProgressPort]:
    """Lend the progress display that fits where output goes."""
    if as_json:
        yield SilentProgress()
    elif not on_terminal():
        yield LineProgress()
    else:
        with new_bars() as bars:
            yield BarProgress(bars, unfinished)


def new_bars() -> Progress:
    """Return bars with bytes, rate and time left, that go away when they are done."""
    narrow = console().width < _NARROW_CHARACTERS
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=10 if narrow else None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=narrow),
        console=console(),
        transient=True,
    )
