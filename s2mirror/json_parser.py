"""A parser for JSON from outside, with limits on depth and memory, and without unsafe values.

The standard library's parser accepts NaN, numbers of any size and lone surrogates, raises
RecursionError for deep documents, and may need a hundred times the memory of the text.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

MAX_DEPTH: Final = 64
"""A STAC page of CDSE has 12 levels. Programs that walk a document recurse once per level."""
MAX_VALUES: Final = 300_000
"""Values and members of one document: a page of 200 items of CDSE has 35,000, a whole item 2,600.
The objects of so many values take at most about 60 MB."""
_MAX_DIGITS: Final = 18
"""Longer integers do not fit into 64 bits, as SQLite and Parquet store them."""
_HALF_PAIR: Final = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(document: str | bytes) -> Any:  # noqa: ANN401 - any JSON
    """Return the value of a JSON text in UTF-8.

    Numbers that no database stores (NaN, infinite, longer than 64 bits) become None, and a lone
    surrogate becomes ``?``: the one record that has them is unusable, not the document. Raises
    ValueError for a text that is not JSON, has too many values or is nested too deeply.
    """
    text = document if isinstance(document, str) else document.decode("utf-8-sig")
    if text.count(",") + text.count("[") + text.count("{") > MAX_VALUES:
        raise ValueError(f"it has more than {MAX_VALUES} values")
    try:
        value = _loads(text)
    except RecursionError:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels") from None
    has_half_pairs = _HALF_PAIR.search(text) is not None
    for containers in _levels(value):
        if has_half_pairs:
            for container in containers:
                _replace_half_pairs(container)
    return _whole(value)


def parse_object(document: str | bytes) -> dict[str, Any]:
    """Return the members of a JSON object. Raises ValueError for anything else."""
    value = parse_json(document)
    if not isinstance(value, dict):
        raise ValueError(f"it is a JSON {type(value).__name__}, not an object")  # noqa: TRY004 - as for every other text that is unusable
    return value


def _loads(text: str) -> Any:  # noqa: ANN401 - any JSON
    return json.loads(
        text, parse_constant=_no_number, parse_int=_integer, parse_float=_finite_number
    )


def _no_number(_: str) -> None:
    return None


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits.removeprefix("-")) <= _MAX_DIGITS else None


def _finite_number(text: str) -> float | None:
    number = float(text)
    return number if abs(number) < float("inf") else None


def _levels(value: Any) -> Iterator[list[Any]]:  # noqa: ANN401 - any JSON
    """Yield the lists and objects in *value* by level, without recursion.

    Raises ValueError for more levels than allowed.
    """
    level = [value] if _has_members(value) else []
    for _ in range(MAX_DEPTH):
        if not level:
            return
        yield level
        level = [inner for outer in level for inner in _members(outer) if _has_members(inner)]
    if level:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")


def _members(container: Any) -> Iterable[Any]:  # noqa: ANN401 - any JSON
    return container.values() if isinstance(container, dict) else container


def _has_members(value: Any) -> bool:  # noqa: ANN401 - any JSON
    return isinstance(value, dict | list)


def _replace_half_pairs(container: Any) -> None:  # noqa: ANN401 - any JSON
    """Replace in place: a copy of the largest document would need too much memory."""
    if isinstance(container, list):
        container[:] = map(_whole, container)
        return
    for name in list(container):  # in their order, as each is added again at the end
        container[_whole(name)] = _whole(container.pop(name))


def _whole(value: Any) -> Any:  # noqa: ANN401 - any JSON
    return value.encode(errors="replace").decode() if isinstance(value, str) else value
