"""Images of a generated product that programs can open: at their true place, with true numbers.

Their pixels are 30 times as large as the real ones, so that a product has about 1 MB.
"""

import io
import struct
from functools import cached_property
from typing import Any, Final

import numpy as np
from PIL import Image
from shapely.geometry.base import BaseGeometry

from s2mirror.projection import to_degrees
from s2mirror.sandbox.image_files import geo_tags, jpeg
from s2mirror.sandbox.layout import image_name
from s2mirror.sandbox.scene import BANDS, Scene, observe
from s2mirror.sandbox.spec import ProductSpec
from s2mirror.sandbox.stac_catalog import Record
from s2mirror.tiles import WIDTH_METRES, tile_grid

_COARSENING: Final = 30
_PREVIEW_METRES: Final = 320
_COLOURS: Final = ("B04", "B03", "B02")
_BRIGHTEST: Final = 0.35
"""The reflectance that is white in images for people."""
_GEOJP2: Final = bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03")
"""The UUID of the box that holds a GeoTIFF of one pixel with the georeferencing (GeoJP2)."""
_CODESTREAM: Final = b"jp2c"
_SCALED: Final = {"AOT": 0.12, "WVP": 1.6}
"""Optical thickness, and water vapour in centimetres, which are stored in thousandths."""
_PERCENTS: Final = {"MSK_CLDPRB": "CLD", "MSK_SNWPRB": "SNW"}
_DETECTOR: Final = 6
_Pixels = np.ndarray[Any, np.dtype[Any]]


class Imagery:
    """The images of one product."""

    def __init__(self, spec: ProductSpec, footprint: BaseGeometry) -> None:
        self._spec = spec
        self._scenes: dict[float, Scene] = {}
        self._made: dict[tuple[str, int], bytes] = {}
        self._record = Record(
            id=spec.id,
            collection=spec.collection,
            sensed_at=spec.sensed_at,
            geometry=footprint,
            item={"properties": {"eo:cloud_cover": spec.cloud_cover_percent}},
            encoded=b"",
        )

    def content(self, path: str) -> bytes | None:
        """Return the image at *path* of the product folder; None if the file is none."""
        if path.endswith("-ql.jpg"):
            return jpeg(self._colours(_PREVIEW_METRES), 80)
        if not path.endswith(".jp2"):
            return None
        image = image_name(path)
        if image not in self._made:  # the masks of all bands of a resolution are equal
            name, metres = image
            pixel = _PREVIEW_METRES if name == "PVI" else metres * _COARSENING
            self._made[image] = self._jpeg2000(self._pixels(name, pixel), pixel)
        return self._made[image]

    def _pixels(self, name: str, metres: int) -> _Pixels:
        scene = self._scene(metres)
        if name in {"TCI", "PVI"}:
            return self._colours(metres)
        if name in BANDS:
            numbers = np.round(scene.band(name) * self._spec.quantification) + self._spec.shift
        elif name in _SCALED:
            numbers = np.full_like(scene.mask, 1000 * _SCALED[name])
        elif name == "MSK_DETFOO":
            return np.asarray(_DETECTOR * scene.mask, dtype=np.uint8)
        else:
            return np.asarray(scene.band(_PERCENTS.get(name, name)), dtype=np.uint8)
        return np.asarray(numbers * scene.mask, dtype=np.uint16)

    def _colours(self, metres: int) -> _Pixels:
        scene = self._scene(metres)
        bright = np.stack([scene.band(name) for name in _COLOURS], axis=2) / _BRIGHTEST
        return np.asarray(np.clip(255 * np.sqrt(bright), 0, 255), dtype=np.uint8)

    def _scene(self, metres: int) -> Scene:
        if metres not in self._scenes:
            epsg, west, north = self._grid
            steps = metres * (np.arange(WIDTH_METRES // metres) + 0.5)
            x, y = np.meshgrid(west + steps, north - steps)
            longitude, latitude = to_degrees(f"EPSG:{epsg}", x, y)
            self._scenes[metres] = observe([self._record], longitude, latitude)
        return self._scenes[metres]

    @cached_property
    def _grid(self) -> tuple[int, int, int]:
        return tile_grid(self._spec.tile)

    def _jpeg2000(self, pixels: _Pixels, metres: int) -> bytes:
        """Return a lossless JPEG 2000 with a box that says where it is."""
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "JPEG2000")
        epsg, west, north = self._grid
        place = _GEOJP2 + geo_tags(west, north, metres, f"EPSG:{epsg}")
        box = struct.pack(">I4s", len(place) + 8, b"uuid") + place
        start = out.getvalue().index(_CODESTREAM) - 4
        return out.getvalue()[:start] + box + out.getvalue()[start:]
