"""Types of the values in the TOML file. Each error names the expected and the given value."""

import ipaddress
import re
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo

from s2mirror.config.errors import did_you_mean, shown
from s2mirror.config.units import parse_duration, parse_size
from s2mirror.errors import HostileInput
from s2mirror.layout import check_template
from s2mirror.naming import check_relative_path, normal_platform

NEVER: Final = "never"
UNLIMITED: Final = "unlimited"
_HUGE: Final = 10**15
_URL: Final = "a URL such as https://example.org/path"
_DURATION: Final = 'a duration with its unit, such as "15 min" or "24 h"'


class Section(BaseModel):
    """A table of the configuration file: frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


def unexpected(expected: str, value: object, why: str = "") -> ValueError:
    """Return the error for a *value* that is not what was *expected*."""
    return ValueError(f"expected {expected}; got {shown(value)}{why}")


def whole(low: int, high: int | None = None) -> BeforeValidator:
    """Return a validator of whole numbers from *low* to *high*, both included."""
    limits = f"of at least {low}" if high is None else f"from {low} to {high}"

    def check(value: object) -> int:
        """Return a whole number within the limits."""
        fits = isinstance(value, int) and not isinstance(value, bool)
        if not fits or value < low or (high is not None and value > high):  # type: ignore[operator]
            raise unexpected(f"a whole number {limits}", value)
        return value  # type: ignore[return-value]  # `fits` says so

    return BeforeValidator(check)


def number(low: float, high: float, unit: str = "") -> BeforeValidator:
    """Return a validator of numbers from *low* to *high*, both included."""

    def check(value: Any) -> float:  # noqa: ANN401 - a TOML value of any type
        """Return a number within the limits."""
        if not is_number(value) or not low <= value <= high:
            raise unexpected(f"a number from {low:g} to {high:g}{unit}", value)
        return float(value)

    return BeforeValidator(check)


def is_number(value: object) -> bool:
    """Return whether *value* is a finite number; TOML's true, nan and inf are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _HUGE


def flag(value: object) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise unexpected("true or false", value)
    return value


def _duration(value: object, expected: str = _DURATION) -> timedelta:
    try:
        return parse_duration(value if isinstance(value, str) else "")
    except ValueError:
        raise unexpected(expected, value) from None


def _positive_duration(value: object) -> timedelta:
    duration = _duration(value)
    if not duration:
        raise unexpected("a duration longer than zero", value)
    return duration


def _duration_or_never(value: object) -> timedelta | None:
    return None if value == NEVER else _duration(value, f'{_DURATION}, or "never"')


def _override_or_never(value: object) -> timedelta | str:
    return NEVER if value == NEVER else _duration(value, f'{_DURATION}, or "never"')


def _size(value: object) -> int:
    try:
        return parse_size(value if isinstance(value, str) else "")
    except ValueError:
        raise unexpected('a size with its unit, such as "200 GiB" or "64 KiB"', value) from None


def _size_or_unlimited(value: object) -> int | None:
    return None if value == UNLIMITED else _size(value)


def pattern(regex: str, expected: str) -> BeforeValidator:
    """Return a validator of text that *regex* matches completely."""
    compiled = re.compile(regex)

    def check(value: object) -> str:
        """Return a text that the pattern matches."""
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise unexpected(expected, value)
        return value

    return BeforeValidator(check)


def choice(*words: str) -> BeforeValidator:
    """Return a validator of *words*; its error hints at the most similar word."""

    def check(value: object) -> str:
        """Return one of the words."""
        if not isinstance(value, str) or value not in words:
            raise unexpected(
                f"one of {', '.join(words)}", value, did_you_mean(str(value).lower(), words)
            )
        return value

    return BeforeValidator(check)


def _url(value: object) -> str:
    text = _text(value)
    if "@" in text:
        raise ValueError(f"expected {_URL}, without a password; got one with '@' (not shown)")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise unexpected(_URL, value) from None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise unexpected(_URL, value)
    if parts.scheme == "http" and not _is_loopback(host):
        raise unexpected("https:// (http:// is for this machine itself only)", value)
    return text


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise unexpected("a text that is not empty", value)
    return value


def _path(value: object, info: ValidationInfo) -> Path:
    """Return an absolute path; a relative one starts at the folder of the configuration file."""
    try:
        path = Path(_text(str(value) if isinstance(value, Path) else value)).expanduser()
    except RuntimeError:
        raise unexpected("a path; its ~ has no user with a home folder", value) from None
    return (folder_of(info) / path).absolute()


def folder_of(info: ValidationInfo) -> Path:
    """Return the folder at which relative paths of this configuration start."""
    folder: Path = (info.context or {}).get("folder", Path())
    return folder


def reads_geometry_late(info: ValidationInfo) -> bool:
    """Return whether geometries are read only on first use."""
    return bool((info.context or {}).get("late_geometry"))


def _folder_of_its_own(value: object, info: ValidationInfo) -> Path:
    path = _path(value, info)
    if path == Path(path.anchor):
        raise unexpected("a folder of its own for the archive", value)
    return path


def _existing_file(value: object, info: ValidationInfo) -> Path:
    path = _path(value, info)
    if not path.is_file():
        raise unexpected("a file that exists", value, f" ({path})")
    return path


def _prom_file(value: object, info: ValidationInfo) -> Path:
    path = _path(value, info)
    if path.suffix != ".prom":
        raise unexpected("a file whose name ends in .prom: node_exporter reads no other", value)
    return path


def _layout(value: object) -> str:
    text = _text(value)
    try:
        check_relative_path(check_template(text))
    except HostileInput:
        raise unexpected("a layout inside the archive", value) from None
    except ValueError as error:
        raise unexpected("cdse, tile, force or a template", value, f": {error}") from error
    return text


def _argument(value: object) -> str:
    text = _text(value)
    for placeholder in re.findall(r"\{([a-z_]+)\}", text):
        if placeholder not in ("path", "id", "area", "name"):
            raise unexpected("only {path}, {id}, {area} or {name} as placeholders", value)
    return text


def _instant(value: object, at_day: time) -> datetime:
    """Return a UTC instant; a plain date means *at_day* of that day."""
    found = _read_date(value)
    if not isinstance(found, datetime):
        return datetime.combine(found, at_day, UTC)
    if found.tzinfo is None:
        raise unexpected("a time with its zone, such as 2026-01-31T12:00:00Z", value)
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise unexpected("a time between the years 1 and 9999", value) from None


def _read_date(value: object) -> date:
    if isinstance(value, date):
        return value
    text = value if isinstance(value, str) else ""
    with suppress(ValueError):
        return date.fromisoformat(text)
    with suppress(ValueError):
        return datetime.fromisoformat(text)
    raise unexpected("a date such as 2026-01-31, or a time such as 2026-01-31T12:00:00Z", value)


def _day(value: object) -> date:
    found = _read_date(value)
    return found.date() if isinstance(found, datetime) else found


def _start(value: object) -> datetime:
    return _instant(value, time.min)


def _end(value: object) -> datetime:
    return _instant(value, time.max)


def _platform(value: object) -> str:
    found = normal_platform(value) if isinstance(value, str) else None
    if found is None:
        raise unexpected('a platform such as "sentinel-2a" or "S2A"', value)
    return found


def _baseline(value: object) -> str:
    match = re.fullmatch(r"(?:N(\d\d)(\d\d)|(\d\d)\.(\d\d))", str(value), re.ASCII)
    if match is None or not isinstance(value, str):
        raise unexpected('a processing baseline such as "05.00" or "N0500"', value)
    return ".".join(digits for digits in match.groups() if digits)


_PERCENT = number(0, 100, " (percent)")
Percent = Annotated[float, _PERCENT]
Flag = Annotated[bool, BeforeValidator(flag)]
Duration = Annotated[timedelta, BeforeValidator(_duration)]
PositiveDuration = Annotated[timedelta, BeforeValidator(_positive_duration)]
DurationOrNever = Annotated[timedelta | None, BeforeValidator(_duration_or_never)]
OverrideOrNever = Annotated[timedelta | str | None, BeforeValidator(_override_or_never)]
SizeOrUnlimited = Annotated[int | None, BeforeValidator(_size_or_unlimited)]
SizeBytes = Annotated[int, BeforeValidator(_size)]
Url = Annotated[str, BeforeValidator(_url)]
OptionalUrl = Annotated[str | None, BeforeValidator(_url)]
Text = Annotated[str, BeforeValidator(_text)]
AnyPath = Annotated[Path, BeforeValidator(_path)]
OwnFolder = Annotated[Path, BeforeValidator(_folder_of_its_own)]
ExistingFile = Annotated[Path | None, BeforeValidator(_existing_file)]
PromFile = Annotated[Path | None, BeforeValidator(_prom_file)]
Layout = Annotated[str, BeforeValidator(_layout)]
Argument = Annotated[str, BeforeValidator(_argument)]
Day = Annotated[date | None, BeforeValidator(_day)]
Start = Annotated[datetime, BeforeValidator(_start)]
End = Annotated[datetime | None, BeforeValidator(_end)]
Platform = Annotated[str, BeforeValidator(_platform)]
Baseline = Annotated[str | None, BeforeValidator(_baseline)]
PercentOrAll = Annotated[float | None, _PERCENT]
OwnInterval = Annotated[timedelta | None, BeforeValidator(_positive_duration)]
