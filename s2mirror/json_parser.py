"""A parser for JSON from outside, with limits on depth and memory, and without unsafe values.

The standard library's parser accepts NaN, numbers of any size and lone surrogates, raises
RecursionError for deep documents, and may need a hundred times the memory of the text.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, Final

MAX_DEPTH: Final = 64
"""A STAC page of CDSE has 12 levels. Programs that walk a document recurse once per level."""
MAX_VALUES: Final = 600_000
"""Values and members of one document: a page of 200 whole items of CDSE has 460,000. The objects
of so many values take at most about 120 MB."""
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
    _check_depth(value)
    if _HALF_PAIR.search(text):
        clean = json.dumps(value, ensure_ascii=False).encode(errors="replace")
        return json.loads(clean)
    return value


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


def _check_depth(value: Any) -> None:  # noqa: ANN401 - any JSON
    """Raise ValueError for a value that is nested too deeply; walks by level, not by recursion."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for outer in level for inner in _members(outer)]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")


def _members(value: Any) -> Iterable[Any]:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
