"""The text forms of durations and sizes: ``"15 min"``, ``"200 GiB"``."""

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Final

KIB: Final = 1024
GIB: Final = 1024**3

_LONGEST: Final = timedelta(days=36_500)
_QUANTITY: Final = re.compile(r"(?P<number>[0-9]{1,15}(\.[0-9]{1,6})?)\s*(?P<unit>[A-Za-z]+)")
_SECONDS: Final[Mapping[str, Decimal]] = MappingProxyType(
    {
        name: Decimal(seconds)
        for seconds, names in {
            "0.001": ("ms",),
            "1": ("s", "sec", "second", "seconds"),
            "60": ("min", "minute", "minutes"),
            "3600": ("h", "hour", "hours"),
            "86400": ("d", "day", "days"),
            "604800": ("week", "weeks"),
        }.items()
        for name in names
    }
)
_BYTES: Final[Mapping[str, int]] = MappingProxyType(
    {"b": 1}
    | {f"{letter}ib": 1024**power for power, letter in enumerate("kmgtp", start=1)}
    | {f"{letter}b": 1000**power for power, letter in enumerate("kmgtp", start=1)}
)


def parse_duration(text: str) -> timedelta:
    """Return the duration that *text* names. Raises ValueError if it has no known unit."""
    number, unit = _split(text)
    if unit not in _SECONDS:
        raise ValueError(f"{unit!r} is not a unit of time; known are s, min, h, d")
    seconds = number * _SECONDS[unit]
    if seconds > int(_LONGEST.total_seconds()):
        raise ValueError("longer than a hundred years")
    return timedelta(microseconds=int(seconds * 1_000_000))


def parse_size(text: str) -> int:
    """Return the bytes that *text* names. Raises ValueError if it has no known unit."""
    number, unit = _split(text)
    if unit not in _BYTES:
        raise ValueError(
            f"{unit!r} is not a unit of size; known are B, KiB, MiB, GiB, TiB, MB, GB, TB"
        )
    return int(number * _BYTES[unit])


def duration_text(duration: timedelta) -> str:
    """Return *duration* in the largest whole unit; :func:`parse_duration` reads it."""
    if duration.microseconds:
        return f"{duration // timedelta(seconds=1)}.{duration.microseconds:06d} s"
    seconds = duration // timedelta(seconds=1)
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _split(text: str) -> tuple[Decimal, str]:
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise ValueError("not a number followed by a unit")
    return Decimal(match["number"]), match["unit"].lower()
