"""Columns of the items' properties. A property of a wrong type becomes a null.

A column of the right type is passed to pyarrow as a whole; otherwise its values are converted one
by one.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from s2mirror.times import parse_utc

_TIMES: Final = ("datetime", "start_datetime", "end_datetime", "created", "updated", "published")
"""The times that stac-geoparquet converts back to text; other times stay text."""
_NUMBERS: Final = (
    *("gsd", "eo:cloud_cover", "eo:snow_cover", "view:azimuth", "view:incidence_angle"),
    *("view:sun_azimuth", "view:sun_elevation"),
)
_INTEGERS: Final = ("sat:relative_orbit", "sat:absolute_orbit")
_TEXTS: Final = (
    *("platform", "constellation", "grid:code", "processing:level", "processing:version"),
    "processing:datetime",
    *("processing:facility", "product:type", "product:timeliness", "sat:orbit_state"),
    *("product:timeliness_category", "sat:platform_international_designator"),
    *("eopf:datatake_id", "eopf:datastrip_id", "eopf:instrument_mode"),
)
_NULL: Final = type(None)
_TOO_LARGE: Final = 1e300
"""A larger number becomes a null: an integer may be too large for a float."""


def _timestamp(pa: Any) -> Any:  # noqa: ANN401 - pyarrow has no types
    """Return the type of a column of times."""
    return pa.timestamp("us", tz="UTC")


def _times(pa: Any, values: list[object]) -> Any:  # noqa: ANN401 - pyarrow has no types
    try:
        return pa.array(values, pa.string()).cast(_timestamp(pa))
    except (pa.ArrowException, UnicodeError):
        return pa.array([_time(value) for value in values], _timestamp(pa))


def _time(value: object) -> datetime | None:
    try:
        return parse_utc(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _numbers(pa: Any, values: list[object]) -> Any:  # noqa: ANN401 - pyarrow has no types
    if not set(map(type, values)) <= {float, _NULL}:
        values = [_number(value) for value in values]
    return pa.array(values, pa.float64())


def _number(value: object) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known and abs(value) < _TOO_LARGE else None  # type: ignore[arg-type]  # `known` says so


def _integers(pa: Any, values: list[object]) -> Any:  # noqa: ANN401 - pyarrow has no types
    return pa.array([_integer(value) for value in values], pa.int64())


def _integer(value: object) -> int | None:
    known = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 62
    return value if known else None  # type: ignore[return-value]  # `known` says so


def _texts(pa: Any, values: list[object]) -> Any:  # noqa: ANN401 - pyarrow has no types
    if not _all_printable(values):
        values = [_text(value) for value in values]
    return pa.array(values, pa.string())


def _all_printable(values: list[Any]) -> bool:
    known = set(map(type, values)) <= {str, _NULL}
    return known and "".join(filter(None, values)).isprintable()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.isprintable() else None


def _word_lists(pa: Any, values: list[object]) -> Any:  # noqa: ANN401 - pyarrow has no types
    return pa.array([_words(value) for value in values], pa.list_(pa.string()))


def _words(value: object) -> list[str]:
    return [str(word) for word in value] if isinstance(value, list) else []


COLUMNS: Final[dict[str, Callable[[Any, list[Any]], Any]]] = {
    "instruments": _word_lists,
    **dict.fromkeys(_TIMES, _times),
    **dict.fromkeys(_NUMBERS, _numbers),
    **dict.fromkeys(_INTEGERS, _integers),
    **dict.fromkeys(_TEXTS, _texts),
}
"""The properties that have a column, with the function that makes it."""
