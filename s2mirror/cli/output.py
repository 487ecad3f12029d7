"""How values are printed: for programs as JSON, for people as text."""

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
    """Return where bars and coloured words go. It wraps nothing when it is no terminal."""
    return Console(soft_wrap=True, highlight=False)


def on_terminal() -> bool:
    """Tell whether a person sees what is printed."""
    return console().is_terminal


def say(text: str) -> None:
    """Print a line for people."""
    _write(sys.stdout, text)


def complain(text: str) -> None:
    """Print a line about trouble, apart from the results."""
    _write(sys.stderr, f"s2mirror: {text}")


def print_json(value: object) -> None:
    """Print any value of ours as one JSON document."""
    _write(sys.stdout, to_json(value, indent=2).decode())


def _write(outlet: TextIO, text: str) -> None:
    """Print at once. A reader that has had enough, ``head`` perhaps, never stops the work."""
    try:
        print(text, file=outlet, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), outlet.fileno())


def print_any_text() -> None:
    """Let a terminal that cannot show a character show its number instead."""
    for outlet in (sys.stdout, sys.stderr):
        if hasattr(outlet, "reconfigure"):
            outlet.reconfigure(errors="backslashreplace")


def product_facts(entry: LedgerEntry) -> dict[str, object]:
    """Return what programs want to know of a product."""
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

    A column whose name begins with ``>`` goes to the right. On a terminal the last column is
    folded into what room there is.
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
        say(_folded(head[:-1], head[-1]))


def _folded(head: Sequence[str], last: str) -> str:
    before = "".join(cell + _GAP for cell in head)
    room = console().width - len(before)
    if not on_terminal() or len(last.rstrip()) <= room or room < _MIN_WRAP_CHARACTERS:
        return (before + last).rstrip()
    return before + ("\n" + " " * len(before)).join(textwrap.wrap(last, room))


def size(size_bytes: int | None) -> str:
    """Return a size for people: ``1.2 GB``."""
    if size_bytes is None:
        return "?"
    for step, unit in _STEPS:
        if size_bytes >= step:
            return f"{size_bytes / step:.1f} {unit}"
    return f"{size_bytes} B"


def when(moment: datetime | None) -> str:
    """Return an instant for people, in UTC."""
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "never"


def count(number: int, noun: str) -> str:
    """Return a number of things for people: ``1 product``, ``2 products``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
