"""Names of Sentinel-2 products, and checks of names and paths from outside."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Final

from s2mirror.errors import HostileInput

MAX_COMPONENT_BYTES: Final = 240
"""Longest accepted file name: ext4's 255, less the mirror's own suffixes."""
MAX_PATH_BYTES: Final = 1024
"""Longest accepted path: S3 has no longer keys, and Linux accepts 4096."""

# Compact naming convention since 2016-12-06,
# https://sentiwiki.copernicus.eu/web/s2-products
_NAME: Final = re.compile(
    r"(?P<unit>S2[A-Z])_MSI(?P<level>L1C|L2A)_(?P<sensed>\d{8}T\d{6})_N(?P<baseline>\d{4})"
    r"_R(?P<orbit>\d{3})_T(?P<tile>\d{2}[A-Z]{3})_(?P<discriminator>\d{8}T\d{6})"
)
_PLATFORM: Final = re.compile(r"s(entinel)?[-_ ]?2[-_ ]?(?P<letter>[a-z])", re.ASCII)
SAFE: Final = ".SAFE"
_CLOUDFERRO_BASELINE: Final = "9999"
_REMOTE_PATH: Final = re.compile(r"[A-Za-z0-9._/-]+")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,119}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductName:
    """The fields of a product name. Times are UTC."""

    platform: str
    level: str
    sensed_at: datetime
    baseline: str
    relative_orbit: int
    tile: str
    discriminator: datetime


def parse_name(product_id: str) -> ProductName | None:
    """Return the fields of a product name with or without ``.SAFE``.

    None for a name of the long form before 2017, or with invalid times.
    """
    match = _NAME.fullmatch(product_id.removesuffix(".SAFE"))
    if match is None:
        return None
    try:
        return _product_name(match)
    except ValueError:
        return None


def _product_name(match: re.Match[str]) -> ProductName:
    baseline = match["baseline"]
    return ProductName(
        platform=f"sentinel-{match['unit'][1:].lower()}",
        level=match["level"],
        sensed_at=_stamp(match["sensed"]),
        baseline=f"{baseline[:2]}.{baseline[2:]}",
        relative_orbit=int(match["orbit"]),
        tile=match["tile"],
        discriminator=_stamp(match["discriminator"]),
    )


def _stamp(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)


def normal_platform(text: str) -> str | None:
    """Return a platform as ``sentinel-2c``, however it is spelled; None if it is no Sentinel-2."""
    match = _PLATFORM.fullmatch(text.strip().lower())
    return f"sentinel-2{match['letter']}" if match else None


def plain_id(text: str) -> str:
    """Return the product id of a name, with or without ``.SAFE``, or of a path."""
    return text.rstrip("/").rpartition("/")[2].removesuffix(".SAFE")


def unmirrored_kind(product_id: str) -> str:
    """Return why products of this name are not mirrored; empty if they are."""
    match = _NAME.match(product_id)
    suffix = product_id[match.end() :] if match else ""
    if suffix.startswith(".") and suffix != SAFE:
        return f"products of format {suffix} are not mirrored, only {SAFE}"
    if match and match["baseline"] == _CLOUDFERRO_BASELINE:
        return "products of baseline 99.99 are made by CloudFerro, not by ESA, and are not mirrored"
    return ""


def check_product_id(text: str) -> str:
    """Return *text* if it is a safe folder name. Raises HostileInput otherwise."""
    if not _ID.fullmatch(text) or ".." in text:
        raise HostileInput(
            f"product id {text[:130]!r} is not made of letters, digits, '_', '-', '.' alone; "
            "nothing was downloaded"
        )
    return text


def check_relative_path(text: str) -> str:
    """Return *text* as a clean POSIX path that stays inside its folder, without ``./``.

    Raises HostileInput for paths that no SAFE contains: absolute ones, ``..``, control characters,
    backslashes, empty components, and paths that are too long.
    """
    parts = text.removeprefix("./").split("/")
    bad = (
        not text.isprintable()
        or "\\" in text
        or any(part in ("", ".", "..") for part in parts)
        or any(len(part.encode()) > MAX_COMPONENT_BYTES for part in parts)
        or len(text.encode()) > MAX_PATH_BYTES
    )
    if bad:
        raise HostileInput(
            f"path {text[:300]!r} would leave the product folder or cannot be a file name; "
            "nothing was written"
        )
    return str(PurePosixPath(*parts))


def check_remote_path(text: str) -> str:
    """Return the path *text*, which a service sent, as check_relative_path does.

    Raises HostileInput also for a character that no real prefix, key or manifest contains: paths
    reach the commands of other people, and to a shell ``$(…)``, ``;`` and blanks have a meaning.
    """
    if not _REMOTE_PATH.fullmatch(text):
        raise HostileInput(
            f"path {text[:300]!r} is not made of letters, digits, '.', '_', '-' and '/' alone; "
            "nothing was written"
        )
    return check_relative_path(text)


def baseline_number(baseline: str) -> int:
    """Return a baseline as a number for sorting: ``"05.12"`` → 512."""
    major, _, minor = baseline.partition(".")
    return int(major) * 100 + int(minor or 0)
