"""Text for people: numbers with nouns, and text from outside that is safe to print.

Identifiers and reasons come from services and file names. An escape sequence in one of them could
repaint a terminal, a newline could forge a log line, and U+202E could reverse what is read.
Control characters therefore become visible escapes.
"""

import json
from typing import Any, Final
from unicodedata import category

JSON_SCHEMA: Final = 1
"""The version of every JSON document for programs; docs/json.md describes them.

It increases when a key is removed, renamed or changes its type; a new key does not change it.
"""
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""Control, format, unassigned, private, lone surrogate, line and paragraph separator."""


def clean_text(text: str, *, keep: str = "") -> str:
    r"""Return *text* with each invisible character written as ``\x1b``, ``\n`` or ``\u202e``.

    Characters in *keep* stay: ``keep="\n"`` is for s2mirror's own texts of several lines, never for
    text from outside. The result is printable, and cleaning it again changes nothing.
    """
    if text.isprintable():
        return text
    return "".join(_visible(char, keep) for char in text)


def clean_value(value: Any) -> Any:  # noqa: ANN401 - JSON nests to any depth
    """Return a JSON value with every text in it cleaned, keys included."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_value(key): clean_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [clean_value(inner) for inner in value]
    return value


def storable_text(value: object, max_characters: int) -> str:
    """Return *value* as text that the ledger and every file accept, of at most that length.

    NUL ends a text for SQLite's tools, and half of a surrogate pair cannot be encoded: both become
    ``?``. Everything else stays as it came; ``clean_text`` makes it safe to show.
    """
    text = str(value)[:max_characters].replace("\0", "?")
    return text.encode(errors="replace").decode()


def escape_json(document: str) -> str:
    """Return a JSON document with each invisible character in its texts as a JSON escape."""
    return "".join(
        char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in document
    )


def _visible(char: str, keep: str) -> str:
    if char in keep or category(char) not in _HIDDEN:
        return char
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def format_count(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 product``, ``2 products``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
