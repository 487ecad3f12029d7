"""Printing: JSON for programs, lines and tables for people."""

import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Final, TextIO

from pydantic_core import to_json
from rich.console import Console

from s2mirror.model import LedgerEntry

_STEPS: Final = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_GAP: Final = "  "
_MIN_WRAP_CHARACTERS: Final = 24


def console() -> Console:
    """Return the console for bars and colours. It wraps lines on terminals only."""
    return Console(soft_wrap=True, highlight=False)


def on_terminal() -> bool:
    """Return whether stdout is a terminal."""
    return console().is_terminal


def print_line(text: str) -> None:
    """Print a line on stdout."""
    _write(sys.stdout, text)


def print_error(text: str) -> None:
    """Print a line on stderr, apart from the results."""
    _write(sys.stderr, f"s2mirror: {text}")


def print_json(value: object) -> None:
    """Print a value as one JSON document on stdout."""
    _write(sys.stdout, to_json(value, indent=2).decode())


def _write(outlet: TextIO, text: str) -> None:
    """Print and flush. A reader that closes the pipe, such as ``head``, never stops the work."""
    try:
        print(text, file=outlet, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), outlet.fileno())


def allow_any_text() -> None:
    """Print the number of each character that the encoding of the output lacks."""
    for outlet in (sys.stdout, sys.stderr):
        if hasattr(outlet, "reconfigure"):
            outlet.reconfigure(errors="backslashreplace")


def product_values(entry: LedgerEntry) -> dict[str, object]:
    """Return a product as it is printed in JSON."""
    product = {
        field.name: getattr(entry.product, field.name)
        for field in fields(entry.product)
        if field.name != "footprint_wkb"
    }
    return product | {
        "state": entry.state,
        "reason": entry.reason,
        "attempts": entry.attempts,
        "next_attempt_at": entry.next_attempt_at,
        "changed_at": entry.changed_at,
        "path": entry.path,
        "areas": entry.areas,
        "partial": not entry.selection.whole,
        "files": str(entry.selection),
    }


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows for people, ``grep`` and ``awk``: two blanks between columns, nothing cut off.

    A column whose name begins with ``>`` is aligned right. A terminal folds the last column.
    """
    lines = [[name.lstrip(">") for name in columns]]
    lines += [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    right = [name.startswith(">") for name in columns]
    for line in lines:
        head = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ]
        print_line(_folded(head[:-1], head[-1]))


def _folded(head: Sequence[str], last: str) -> str:
    before = "".join(cell + _GAP for cell in head)
    width = console().width - len(before)
    if not on_terminal() or len(last.rstrip()) <= width or width < _MIN_WRAP_CHARACTERS:
        return (before + last).rstrip()
    return before + ("\n" + " " * len(before)).join(textwrap.wrap(last, width))


def format_size(size_bytes: int | None) -> str:
    """Return a size with its unit: ``1.2 GB``."""
    if size_bytes is None:
        return "?"
    for step, unit in _STEPS:
        if size_bytes >= step:
            return f"{size_bytes / step:.1f} {unit}"
    return f"{size_bytes} B"


def format_time(at: datetime | None) -> str:
    """Return an instant in UTC, without its zone."""
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else "never"


def format_count(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 product``, ``2 products``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
