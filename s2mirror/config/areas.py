"""A watch area: where, what and when to mirror."""

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
)

from s2mirror.config import fields, previews
from s2mirror.errors import ConfigError
from s2mirror.selection import BANDS, RESOLUTIONS, Selection, chosen

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from s2mirror.geometry import Shape
else:
    # The geometry library takes longer to import than a command that only reads the ledger takes to
    # run, so it is imported where a geometry is read.
    Shape = Any

GEOMETRY_KEYS: Final = ("bbox", "geojson", "wkt", "tiles")
"""The keys for the geometry; an area has exactly one of them."""


class LateShape:
    """The geometry of an area, read on first use. Raises ConfigError if it is faulty."""

    repairs: tuple[str, ...] = ()

    def __init__(self, read: "Callable[[], Shape]") -> None:
        self._read = read

    @cached_property
    def geometry(self) -> "BaseGeometry":
        """The geometry itself."""
        try:
            return self._read().geometry
        except ValueError as error:
            raise ConfigError(str(error)) from error


def _from_bbox(value: object, _: ValidationInfo) -> Any:  # noqa: ANN401 - a shape, or a late one
    from s2mirror.config.geometry_inputs import geometry_of_bbox  # noqa: PLC0415 - see above

    return geometry_of_bbox(value)


def _from_geojson(value: object, info: ValidationInfo) -> Any:  # noqa: ANN401 - likewise
    from s2mirror.config.geometry_inputs import geometry_of_geojson  # noqa: PLC0415 - see above

    return geometry_of_geojson(value, fields.folder_of(info))


def _from_wkt(value: object, _: ValidationInfo) -> Any:  # noqa: ANN401 - likewise
    from s2mirror.config.geometry_inputs import geometry_of_wkt  # noqa: PLC0415 - see above

    return geometry_of_wkt(value)


def _geometry_validator(read: Callable[[object, ValidationInfo], Any]) -> PlainValidator:
    """Return a validator that reads a geometry at once, or late if the context requests that."""

    def validate(value: object, info: ValidationInfo) -> Any:  # noqa: ANN401 - likewise
        """Return the geometry, or a LateShape."""
        late = fields.reads_geometry_late(info)
        return LateShape(lambda: read(value, info)) if late else read(value, info)

    return PlainValidator(validate)


def _tile(value: object, info: ValidationInfo) -> str:
    if fields.reads_geometry_late(info):
        return str(value)
    from s2mirror.config.geometry_inputs import checked_tile  # noqa: PLC0415 - see above

    return checked_tile(value)


def _without_duplicates(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


Name = Annotated[
    str,
    fields.pattern(
        r"[a-z0-9][a-z0-9_-]{0,63}",
        'a name of up to 64 lower-case letters, digits, "-" and "_", such as "lake-constance"',
    ),
]
Collection = Annotated[str, fields.choice("sentinel-2-l1c", "sentinel-2-l2a")]
Tile = Annotated[str, PlainValidator(_tile)]


class Area(BaseModel):
    """One watch area. A filter that is None or empty selects everything."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: Name = Field(description='a name of its own, such as "lake-constance"')
    bbox: Annotated[Shape | None, _geometry_validator(_from_bbox)] = None
    geojson: Annotated[Shape | None, _geometry_validator(_from_geojson)] = None
    wkt: Annotated[Shape | None, _geometry_validator(_from_wkt)] = None
    tiles: Annotated[frozenset[Tile], Field(min_length=1)] = frozenset()
    """MGRS tiles (``32TMT``) if the area is given by tiles; products are matched by these, not by
    the geometry."""
    collections: Annotated[
        tuple[Collection, ...], Field(min_length=1), AfterValidator(_without_duplicates)
    ] = ("sentinel-2-l2a",)
    start: fields.Start = Field(
        description="the date of the first wanted image, such as 2026-01-31"
    )
    """First sensing time wanted, included."""
    end: fields.End = None
    """Last sensing time wanted, included; a plain date means the last instant of that day."""
    max_cloud_cover_percent: fields.PercentOrAll = None
    platforms: frozenset[fields.Platform] = frozenset()
    """As ``sentinel-2a``."""
    relative_orbits: frozenset[Annotated[int, fields.whole(1, 143)]] = frozenset()
    min_baseline: fields.Baseline = None
    """As ``NN.NN``."""
    min_overlap_percent: fields.Percent = 0.0
    priority: Annotated[int, fields.whole(-1000, 1000)] = 0
    """Products of higher priority are downloaded first."""
    share: Annotated[int, fields.whole(1, 1000)] = 1
    """The share, in bytes, among areas of the same priority."""
    interval: fields.OwnInterval = None
    """Time between polls; None for ``catalog.interval``."""
    bands: frozenset[Annotated[str, fields.choice(*BANDS)]] = frozenset()
    """Every file, if this and the next two are empty."""
    resolutions: frozenset[Annotated[str, fields.choice(*RESOLUTIONS)]] = frozenset()
    files: frozenset[fields.Text] = frozenset()
    """Patterns for paths below the product folder."""
    prune_after: fields.OverrideOrNever = None
    """A timedelta, ``"never"``, or None for ``prune.after``."""
    keep_newest: Annotated[int | None, fields.whole(1)] = None
    """None for ``prune.keep_newest``."""
    keep_newest_per_tile: Annotated[int | None, fields.whole(1)] = None
    """None for ``prune.keep_newest_per_tile``."""
    max_age: fields.OverrideOrNever = None
    """A timedelta, ``"never"``, or None for ``prune.max_age``."""
    max_age_sensed: fields.OverrideOrNever = None
    """A timedelta, ``"never"``, or None for ``prune.max_age_sensed``."""
    new_images: Annotated[bool | None, BeforeValidator(fields.flag)] = None
    """Whether new images are reported; None for ``alerts.new_images``."""
    preview: previews.OwnSource = None
    """None for ``preview.source``."""
    preview_of: previews.OwnOf = None
    """None for ``preview.of``."""
    preview_evalscript: previews.OwnEvalscript = None
    """None for ``preview.evalscript``."""

    @field_validator("end")
    @classmethod
    def _ends_after_its_start(cls, end: datetime, info: ValidationInfo) -> datetime:
        start = info.data.get("start")
        if start is not None and end < start:
            raise ValueError(
                f"expected an end after the start, {start:%Y-%m-%d}; got {end:%Y-%m-%d}"
            )
        return end

    @cached_property
    def geometry(self) -> "BaseGeometry":
        """The geometry: valid polygons within ±180° that do not overlap."""
        given = self.bbox or self.geojson or self.wkt
        if given:
            return given.geometry
        from s2mirror.config.geometry_inputs import geometry_of_tiles  # noqa: PLC0415 - see above

        return geometry_of_tiles(self.tiles)

    @property
    def may_lack_passes(self) -> bool:
        """Whether the filters may leave out every product of a satellite pass."""
        return bool(
            self.max_cloud_cover_percent is not None
            or self.platforms
            or self.min_baseline
            or self.min_overlap_percent
        )

    @property
    def selection(self) -> Selection:
        """The files to download of each product."""
        return chosen(bands=self.bands, resolutions=self.resolutions, files=self.files)

    @property
    def repairs(self) -> dict[str, tuple[str, ...]]:
        """A note on each repair of the geometry, by its key."""
        given = {"bbox": self.bbox, "geojson": self.geojson, "wkt": self.wkt}
        return {key: shape.repairs for key, shape in given.items() if shape and shape.repairs}
