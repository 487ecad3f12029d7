"""How values are printed: for programs as JSON, for people as text."""

import sys
from collections.abc import Iterable
from dataclasses import fields
from datetime import datetime
from typing import Final

from pydantic_core import to_json
from rich.console import Console
from rich.table import Table

from s2mirror.model import Entry

_STEPS: Final = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def console() -> Console:
    """Return where text for people goes. It wraps nothing when it is no terminal."""
    return Console(soft_wrap=True, highlight=False)


def say(text: str) -> None:
    """Print a line for people."""
    console().print(text, markup=False)


def complain(text: str) -> None:
    """Print a line about trouble, apart from the results."""
    print(f"s2mirror: {text}", file=sys.stderr)  # noqa: T201 - the command line's own outlet


def print_json(value: object) -> None:
    """Print any value of ours as one JSON document."""
    print(to_json(value, indent=2).decode())  # noqa: T201 - see above


def product_facts(entry: Entry) -> dict[str, object]:
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
    }


def print_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print rows for people; numbers to the right."""
    if not console().is_terminal:
        _print_plain(title, columns, rows)
        return
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console().print(table)


def _print_plain(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print rows for ``grep`` and ``awk``: two blanks between columns, nothing cut off."""
    lines = [[str(cell) for cell in row] for row in (list(columns), *rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    if title:
        say(title)
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        say("  ".join(padded).rstrip())


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
