"""Printing: JSON for programs, lines and tables for people.

All output of the commands is cleaned here: ids, reasons and paths come from services and disks, and
must neither repaint a terminal nor look like a second line.
"""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeVar

from s2mirror.clean_text import JSON_SCHEMA, clean_text, escape_json

_STEPS: Final = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_GAP: Final = "  "
_MIN_WRAP_CHARACTERS: Final = 24
_FOLD_INDENT: Final = 4


def on_terminal() -> bool:
    """Return whether stdout is a terminal."""
    return sys.stdout.isatty()


def print_line(text: str) -> None:
    """Print one line on stdout."""
    _print(clean_text(text))


def print_text(text: str) -> None:
    """Print lines of s2mirror's own on stdout, such as a help text."""
    _print(clean_text(text, keep="\n"))


def print_error(text: str) -> None:
    """Print one line on stderr, apart from the results."""
    print(f"s2mirror: {clean_text(text)}", file=sys.stderr, flush=True)  # noqa: T201 - for errors


def print_json(document: Mapping[str, object]) -> None:
    """Print a JSON object on stdout, with its schema number; texts are exact, as JSON escapes."""
    _print(_json_text({"schema": JSON_SCHEMA, **document}, indent=2))


def print_json_line(document: Mapping[str, object]) -> None:
    """Print a JSON object, with its schema number, as one line."""
    _print(_json_text({"schema": JSON_SCHEMA, **document}))


def _json_text(value: object, *, indent: int | None = None) -> str:
    from pydantic_core import to_jsonable_python  # noqa: PLC0415 - late, as it takes time

    return escape_json(json.dumps(to_jsonable_python(value), indent=indent, ensure_ascii=False))


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the one place for results


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows for people, ``grep`` and ``awk``: columns two blanks apart, and not truncated.

    A column whose name begins with ``>`` is aligned right. A terminal folds the last column.
    """
    lines = [[name.lstrip(">") for name in columns]]
    lines += [["" if cell is None else clean_text(str(cell)) for cell in row] for row in rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    right = [name.startswith(">") for name in columns]
    for line in lines:
        head = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ]
        _print(_folded(head[:-1], head[-1]))


def _folded(head: Sequence[str], last: str) -> str:
    before = "".join(cell + _GAP for cell in head)
    width = shutil.get_terminal_size().columns - len(before)
    if not on_terminal() or len(last.rstrip()) <= width or width < _MIN_WRAP_CHARACTERS:
        return (before + last).rstrip()
    return before + ("\n" + " " * len(before)).join(textwrap.wrap(last, width))


def print_folded(text: str) -> None:
    """Print one line; a terminal folds it between words, with the rest indented."""
    line = clean_text(text)
    width = shutil.get_terminal_size().columns
    if not on_terminal() or len(line) <= width:
        return _print(line)
    parts = textwrap.wrap(line, width, subsequent_indent=" " * _FOLD_INDENT, break_on_hyphens=False)
    return _print("\n".join(parts))


T = TypeVar("T")


def readable(rows: Iterable[T]) -> Iterator[T]:
    """Yield *rows* while stdout has a reader: ``head`` closes its pipe after some lines."""
    for row in rows:
        if getattr(sys.stdout, "closed_by_reader", False):
            break
        yield row


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
