"""Pictures of products and areas: where they lie, how they are asked for, what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from s2mirror.model import _Timed

MAX_SIDE_PIXELS: Final = 2500
"""The largest image that Sentinel Hub draws at once."""
_ALPHA: Final = "const ALPHA = true;"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How an image is written down, and what the file beside it that places it is called."""

    media_type: str
    suffix: str
    world_suffix: str
    has_alpha: bool


FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        name: Format(
            media_type=f"image/{name}", suffix=suffix, world_suffix=world, has_alpha=name != "jpeg"
        )
        for name, suffix, world in (
            ("png", ".png", ".pgw"),
            ("jpeg", ".jpg", ".jgw"),
            ("tiff", ".tif", ".tfw"),
        )
    }
)


class PreviewSource(StrEnum):
    """Where previews come from."""

    NONE = "none"
    """There are none."""
    QUICKLOOK = "quicklook"
    """The small JPEG that comes with each product."""
    TCI = "tci"
    """The product's own true-colour band, made smaller."""
    PROCESS = "process"
    """Drawn by Sentinel Hub, for processing units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """An evalscript, and the name that its images carry."""

    name: str
    text: str

    def without_alpha(self) -> "Script":
        """Return the script for a format without transparency, if it has the switch for that."""
        text = self.text.replace(_ALPHA, _ALPHA.replace("true", "false"))
        return Script(name=self.name, text=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Where an image lies: west, south, east, north in units of ``crs``, north up."""

    crs: str
    """``EPSG:…``."""
    bbox: tuple[float, float, float, float]
    width: int
    """Pixels."""
    height: int
    """Pixels."""

    @property
    def world_file(self) -> str:
        """The six lines that place an image: pixel size, rotation, middle of the first pixel."""
        west, south, east, north = self.bbox
        across, down = (east - west) / self.width, (south - north) / self.height
        lines = (across, 0.0, 0.0, down, west + across / 2, north + down / 2)
        return "".join(f"{line:.12f}\n" for line in lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest(_Timed):
    """One image to be drawn by a service."""

    extent: Extent
    geometry_geojson: str
    """Draw nothing outside of this, in units of the frame's system; empty: all of the frame."""
    collection: str
    time_from: datetime
    time_until: datetime
    max_cloud_cover_percent: float | None
    mosaicking_order: str
    script: Script
    form: str
    """A key of ``FORMATS``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedImage:
    """A image, and what it cost."""

    content: bytes
    form: str
    """A key of ``FORMATS``."""
    extent: Extent
    is_empty: bool = False
    """Whether there is nothing on it: no data, or nothing but transparency."""
    units: float = 0.0
    """Processing units."""


class Outcome(StrEnum):
    """What came of the wish for a preview."""

    MADE = "made"
    EMPTY = "empty"
    """It was drawn, nothing was on it, and it was not kept."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview(_Timed):
    """What the ledger knows of one preview."""

    subject: str
    """A product's id, or ``AREA@STAMP``."""
    name: str
    """``quicklook``, ``tci``, or the evalscript's."""
    outcome: Outcome
    paths: tuple[str, ...]
    """Where its images stand, relative to the archive root; more than one if it was split."""
    reason: str
    made_at: datetime
    units: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What previews have cost in a month."""

    requests: int
    units: float
