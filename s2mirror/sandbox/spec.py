"""The description of a generated Sentinel-2 product."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

DEFAULT_SCALE: Final = 0.002
"""Share of the real file sizes: a product of about 1.2 GB becomes one of about 2.4 MB."""

WHOLE_TILE: Final = (0.0, 0.0, 1.0, 1.0)
NORTH_HALF: Final = (0.0, 0.45, 1.0, 1.0)
SOUTH_HALF: Final = (0.0, 0.0, 1.0, 0.5)

_LAUNCHED_AT: Final = {
    "sentinel-2a": datetime(2015, 6, 23, tzinfo=UTC),
    "sentinel-2b": datetime(2017, 3, 7, tzinfo=UTC),
    "sentinel-2c": datetime(2024, 9, 5, tzinfo=UTC),
}
_ORBITS_PER_DAY: Final = 14.3
_SHIFT: Final = 1000
# 05.10 was a reprocessing baseline until it became the operational one on this day.
_OPERATIONAL_0510_AT: Final = datetime(2023, 12, 13, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductSpec:
    """One product to generate; every field has a default, times are UTC."""

    level: str = "L2A"
    tile: str = "32TMT"
    sensed_at: datetime = datetime(2026, 5, 27, 10, 20, 31, tzinfo=UTC)
    baseline: str = "05.12"
    platform: str = "sentinel-2c"
    relative_orbit: int = 65
    processed_at: datetime | None = None
    """End of processing, the last field of the name; by default three hours after sensing."""
    published_at: datetime | None = None
    """By default an hour and 217 ms after processing."""
    updated_at: datetime | None = None
    datastrip_at: datetime | None = None
    """Sensing start of the datastrip; by default three seconds after the datatake's."""
    cloud_cover_percent: float | None = 12.5
    covers: tuple[float, float, float, float] = WHOLE_TILE
    """West, south, east, north of the part that has data, as fractions of the tile."""
    checksum: str = "SHA3-256"
    """``SHA3-256`` with mixed hex case, or ``MD5`` as in products before summer 2021."""
    scale: float = DEFAULT_SCALE
    imagery: bool = False
    """Whether its images can be opened, with coarse pixels; else they are noise."""
    seed: int = 0
    orbit: int | None = None
    """Absolute orbit number; by default computed from the launch date."""
    station: str | None = None
    """The processing centre in datastrip names; by default the usual one of the platform."""
    has_offset: bool | None = None
    """Whether a constant is added to its numbers; by default from baseline 04.00 on."""
    quantification: int = 10_000
    """The number of reflectance 1, without that constant."""
    item_style: str = "2026"
    """``2026``, or ``2020`` for an item without ``enclosure`` and ``_private``."""

    @property
    def generated_at(self) -> datetime:
        """End of ESA's processing."""
        return self.processed_at or self.sensed_at + timedelta(hours=3)

    @property
    def listed_at(self) -> datetime:
        """Publication in the STAC catalog."""
        return self.published_at or self.generated_at + timedelta(hours=1, milliseconds=217)

    @property
    def strip_at(self) -> datetime:
        """Sensing start of its datastrip."""
        return self.datastrip_at or self.sensed_at + timedelta(seconds=3)

    @property
    def shift(self) -> int:
        """The constant that is added to every number of its reflectances."""
        has_offset = self.baseline >= "04.00" if self.has_offset is None else self.has_offset
        return _SHIFT if has_offset else 0

    @property
    def unit(self) -> str:
        """``S2C`` for ``sentinel-2c``."""
        return f"S{self.platform.removeprefix('sentinel-').upper()}"

    @property
    def id(self) -> str:
        """Product name without ``.SAFE``."""
        baseline = self.baseline.replace(".", "")
        return (
            f"{self.unit}_MSI{self.level}_{name_time(self.sensed_at)}_N{baseline}"
            f"_R{self.relative_orbit:03d}_T{self.tile}_{name_time(self.generated_at)}"
        )

    @property
    def collection(self) -> str:
        """The STAC collection of its level."""
        return f"sentinel-2-{self.level.lower()}"

    @property
    def absolute_orbit(self) -> int:
        """Orbit number since launch; an estimate unless ``orbit`` is set."""
        if self.orbit is not None:
            return self.orbit
        launched_at = _LAUNCHED_AT.get(self.platform, _LAUNCHED_AT["sentinel-2c"])
        return max(1, int((self.sensed_at - launched_at) / timedelta(days=1) * _ORBITS_PER_DAY))

    @property
    def centre(self) -> str:
        """The processing centre as in datastrip names."""
        if self.station is not None:
            return self.station
        return "VGS2" if self.checksum == "MD5" else f"{self.unit[1:]}PS"

    @property
    def datatake_id(self) -> str:
        """The id of its datatake."""
        return (
            f"G{self.unit}_{name_time(self.sensed_at)}_{self.absolute_orbit:06d}_N{self.baseline}"
        )

    @property
    def datastrip_id(self) -> str:
        """The id of its datastrip."""
        return (
            f"{self.unit}_OPER_MSI_{self.level}_DS_{self.centre}_{name_time(self.generated_at)}"
            f"_S{name_time(self.strip_at)}_N{self.baseline}"
        )

    @property
    def prefix(self) -> str:
        """Key prefix in the store, ending in ``.SAFE/``."""
        return f"{folder_of(self.level, self.baseline, self.sensed_at)}/{self.id}.SAFE/"


def folder_of(level: str, baseline: str, sensed_at: datetime) -> str:
    """Return the store's folder of a sensing day; Collection-1 reprocessings have another."""
    reprocessed = baseline == "05.00" or (baseline == "05.10" and sensed_at < _OPERATIONAL_0510_AT)
    suffix = "_N0500" if reprocessed else ""
    return f"Sentinel-2/MSI/{level}{suffix}/{sensed_at:%Y/%m/%d}"


def name_time(instant: datetime) -> str:
    """Return an instant in the format of product names."""
    return f"{instant.astimezone(UTC):%Y%m%dT%H%M%S}"
