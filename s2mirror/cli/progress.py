"""Progress of downloads: bars on a terminal, one line per product otherwise, or nothing."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from s2mirror.clean_text import clean_text
from s2mirror.cli.output import format_size, on_terminal, print_line
from s2mirror.ports import Progress as ProgressPort

Unfinished = Callable[[], tuple[int, int]]
"""Returns how many products are queued or downloading, and their bytes, estimated."""
_NARROW_CHARACTERS: Final = 90


def console() -> Console:
    """Return the console for bars and colours. It wraps lines on terminals only."""
    return Console(soft_wrap=True, highlight=False)


class SilentProgress:
    """Prints nothing, for ``--json`` and the daemon."""

    def began(self, product_id: str, *, size_bytes: int, staged_bytes: int) -> None:
        """Print nothing."""

    def received(self, product_id: str, size_bytes: int) -> None:
        """Print nothing."""

    def ended(self, product_id: str, outcome: str) -> None:
        """Print nothing."""


class LineProgress:
    """Prints a line when a product starts and one when it ends."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._sizes: dict[str, int] = {}

    def began(self, product_id: str, *, size_bytes: int, staged_bytes: int) -> None:
        """Print the product and its size."""
        self._started[product_id] = time.monotonic()
        self._sizes[product_id] = size_bytes
        resumed = f", {format_size(staged_bytes)} of it staged already" if staged_bytes else ""
        print_line(f"download  {product_id}  {format_size(size_bytes)}{resumed}")

    def received(self, product_id: str, size_bytes: int) -> None:
        """Print nothing: lines mark the start and the end only."""

    def ended(self, product_id: str, outcome: str) -> None:
        """Print the outcome."""
        started = self._started.pop(product_id, None)
        if started is None:
            print_line(f"{outcome:9} {product_id}")
            return
        size_bytes, seconds = self._sizes.pop(product_id), time.monotonic() - started
        print_line(f"{outcome:9} {product_id}  {format_size(size_bytes)} in {seconds:.1f} s")


class BarProgress:
    """Draws one bar per product, and one for all products of this run."""

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
            self._update_total()

    def received(self, product_id: str, size_bytes: int) -> None:
        """Advance the bars."""
        self._bars.advance(self._tasks[product_id], size_bytes)
        self._bars.advance(self._all, size_bytes)

    def ended(self, product_id: str, outcome: str) -> None:
        """Remove the bar, and print the outcome."""
        with self._lock:
            task = self._tasks.pop(product_id, None)
            if task is not None:
                self._bars.remove_task(task)
            self._done.append(self._sizes.pop(product_id, 0))
            self._update_total()
        self._bars.console.print(clean_text(f"{outcome:9} {product_id}"), markup=False)

    def _update_total(self) -> None:
        """Include queued products, so that the time left is that of the whole run."""
        products, expected_bytes = self._unfinished()
        self._bars.update(
            self._all,
            description=f"{len(self._done)} of {len(self._done) + products} products",
            total=sum(self._done) + expected_bytes,
            visible=True,
        )


def _short(product_id: str) -> str:
    """Return the distinctive parts of an id: ``S2C L2A 32TMT 2026-05-27``."""
    platform, level, sensed, _, _, tile, *_ = product_id.split("_")
    date = f"{sensed[:4]}-{sensed[4:6]}-{sensed[6:8]}"
    return f"{platform} {level.removeprefix('MSI')} {tile.removeprefix('T')} {date}"


@contextmanager
def progress_for(unfinished: Unfinished, *, as_json: bool) -> Iterator[ProgressPort]:
    """Provide the progress display that suits the output."""
    if as_json:
        yield SilentProgress()
    elif not on_terminal():
        yield LineProgress()
    else:
        with new_bars() as bars:
            yield BarProgress(bars, unfinished)


def new_bars() -> Progress:
    """Return bars with bytes, rate and time left, which disappear at the end."""
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
