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
from itertools import islice
from typing import Final, TypeVar

from s2mirror.clean_text import JSON_SCHEMA, clean_text, escape_json

_STEPS: Final = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_GAP: Final = "  "
_MIN_WRAP_CHARACTERS: Final = 24
_MIN_CUT_CHARACTERS: Final = 12
_FOLD_INDENT: Final = 4
_BATCH_ROWS: Final = 500


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


def print_json_list(key: str, rows: Iterable[Mapping[str, object]]) -> None:
    """Print a JSON object with a list, row by row, as :func:`print_json` prints it."""
    begin = f'{{\n  "schema": {JSON_SCHEMA},\n  "{key}": ['
    for row in readable(rows):
        text = textwrap.indent(_json_text(row, indent=2), "    ")
        _print(f"{begin}\n{text}", end="")
        begin = ","
    _print("\n  ]\n}" if begin == "," else f"{begin}]\n}}")


def print_json_line(document: Mapping[str, object]) -> None:
    """Print a JSON object, with its schema number, as one line."""
    _print(_json_text({"schema": JSON_SCHEMA, **document}))


def _json_text(value: object, *, indent: int | None = None) -> str:
    from pydantic_core import to_jsonable_python  # noqa: PLC0415 - late, as it takes time

    return escape_json(json.dumps(to_jsonable_python(value), indent=indent, ensure_ascii=False))


def _print(text: str, end: str = "\n") -> None:
    print(text, end=end, flush=True)  # noqa: T201 - the one place for results


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows for people, ``grep`` and ``awk``: columns two blanks apart, and not truncated.

    A column whose name begins with ``>`` is aligned right. On a terminal, cells are cut and columns
    left out so that the lines fit, and the last column is folded. Rows are read in batches.
    """
    right = [name.startswith(">") for name in columns]
    names = [name.lstrip(">") for name in columns]
    widths = [len(name) for name in names]
    heading, remaining = [names], readable(rows)
    while batch := heading + [_cells(row) for row in islice(remaining, _BATCH_ROWS)]:
        widths = [
            max(width, *map(len, cells))
            for width, cells in zip(widths, zip(*batch, strict=True), strict=True)
        ]
        shown = _fitted(widths) if on_terminal() else widths
        for cells in batch:
            _print_row(cells, shown, right)
        if heading and len(shown) < len(names):
            print_error(f"columns that do not fit the terminal: {', '.join(names[len(shown) :])}")
        heading = []


def _cells(row: Sequence[object]) -> list[str]:
    return ["" if cell is None else clean_text(str(cell)) for cell in row]


def _fitted(widths: Sequence[int]) -> list[int]:
    """Return the widths with which the first columns fit the terminal, fewer if not all do."""
    left = shutil.get_terminal_size().columns
    fitted: list[int] = []
    for number, width in enumerate(widths):
        limit = _MIN_WRAP_CHARACTERS if number == len(widths) - 1 else _MIN_CUT_CHARACTERS
        least = min(width, limit) if number else min(width, left)
        left -= least + (len(_GAP) if number else 0)
        if left < 0:
            left += least + len(_GAP)
            break
        fitted.append(least)
    for number, least in enumerate(fitted):
        fitted[number] = min(widths[number], least + left)
        left -= fitted[number] - least
    return fitted


def _print_row(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> None:
    """Print cells in columns; of a terminal, cut to their widths, and the last one folded."""
    last = len(cells) - 1
    cut = [
        f"{cell[: width - 1]}…" if on_terminal() and len(cell) > width and number < last else cell
        for number, (cell, width) in enumerate(zip(cells, widths, strict=False))
    ]
    parts = [
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(cut, widths, right, strict=False)
    ]
    _print(_folded(parts[:-1], parts[-1], widths[-1]))


def _folded(head: Sequence[str], last: str, width: int) -> str:
    before = "".join(cell + _GAP for cell in head)
    if not on_terminal() or len(last.rstrip()) <= width:
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
