"""Previews of products and areas: sources, extents, render requests and results."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from s2mirror.model import _Timed

MAX_SIDE_PIXELS: Final = 2500
"""Longest side of an image that Sentinel Hub renders in one request."""
_ALPHA: Final = "const ALPHA = true;"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """An image format, and the suffix of the world file beside the image."""

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
    """The source of previews."""

    NONE = "none"
    """No previews."""
    QUICKLOOK = "quicklook"
    """The small JPEG that is part of each product."""
    TCI = "tci"
    """The product's own true-colour band, scaled down."""
    PROCESS = "process"
    """Rendered by Sentinel Hub; costs processing units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """An evalscript, and the name of its images."""

    name: str
    text: str

    def without_alpha(self) -> "Script":
        """Return the script with transparency switched off, if it has a switch for that."""
        text = self.text.replace(_ALPHA, _ALPHA.replace("true", "false"))
        return Script(name=self.name, text=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """The map extent of an image: west, south, east, north in units of ``crs``, north up."""

    crs: str
    """``EPSG:…``."""
    bbox: tuple[float, float, float, float]
    width: int
    """Pixels."""
    height: int
    """Pixels."""

    @property
    def world_file(self) -> str:
        """The six lines of a world file: pixel size, rotation, centre of the first pixel."""
        west, south, east, north = self.bbox
        across, down = (east - west) / self.width, (south - north) / self.height
        lines = (across, 0.0, 0.0, down, west + across / 2, north + down / 2)
        return "".join(f"{line:.12f}\n" for line in lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest(_Timed):
    """A request for one image, sent to a rendering service."""

    extent: Extent
    geometry_geojson: str
    """Only this area is rendered, in units of the extent's ``crs``; empty: the whole extent."""
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
    """An image, and its cost."""

    content: bytes
    form: str
    """A key of ``FORMATS``."""
    extent: Extent
    is_empty: bool = False
    """Whether the image shows nothing: no data, or only transparent pixels."""
    units: float = 0.0
    """Processing units."""


class Outcome(StrEnum):
    """The result of making a preview."""

    MADE = "made"
    EMPTY = "empty"
    """Rendered, but it shows nothing; not stored."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview(_Timed):
    """One preview, as the ledger records it."""

    subject: str
    """A product's id, or ``AREA@STAMP``."""
    name: str
    """``quicklook``, ``tci``, or the evalscript's."""
    outcome: Outcome
    paths: tuple[str, ...]
    """Paths of its images, relative to the archive root; more than one if it was split."""
    reason: str
    made_at: datetime
    units: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """The cost of the previews of one month."""

    requests: int
    units: float
