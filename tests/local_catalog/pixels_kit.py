"""Small products whose images are real JPEG 2000 with known numbers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from kit import SENSED_AT
from rasterio.transform import from_origin

from s2mirror.sandbox import ProductSpec, SandboxProduct, make_product
from s2mirror.sandbox.item import write_item
from s2mirror.sandbox.layout import Paths, manifest_members
from s2mirror.sandbox.manifest_xml import write_manifest
from s2mirror.sandbox.products import footprint_of, make_files
from s2mirror.tiles import tile_grid

SIDE = 64
BANDS = ("B02_10m", "B03_10m", "B04_10m", "B08_10m", "SCL_20m")


def with_pixels(
    folder: Path,
    day: int = 27,
    *,
    scene: int = 0,
    **changes: Any,  # noqa: ANN401 - ProductSpec's fields
) -> tuple[SandboxProduct, dict[str, Any]]:
    """Return a product with real JPEG 2000 images, and their pixels by asset key.

    Products of the same *scene* have the same reflectances, whatever is added to their numbers.
    """
    spec = ProductSpec(**{"sensed_at": SENSED_AT.replace(day=day)} | changes)
    members = [
        member
        for member in manifest_members(spec.level, Paths.of(spec))
        if member.path.endswith(
            (*(f"{band}.jp2" for band in BANDS), "MTD_TL.xml", "MTD_MSIL2A.xml")
        )
    ]
    made = make_files(members, spec)
    pixels = {}
    for path in [path for path in made if path.endswith(".jp2")]:
        key = next(band for band in BANDS if path.endswith(f"{band}.jp2"))
        pixels[key] = _values(key, scene or day) + (0 if key.startswith("SCL") else spec.shift)
        made[path] = _jpeg2000(folder / f"{key}.jp2", pixels[key], spec.tile, int(key[-3:-1]))
    made["manifest.safe"] = write_manifest(spec, members, made, footprint_of(spec))
    item = write_item(spec, made, footprint_of(spec))
    product = make_product(replace(spec, scale=0.0001))
    return replace(product, files=made, item=item), pixels


def _values(key: str, day: int) -> Any:  # noqa: ANN401 - a numpy array
    jitter = np.random.default_rng([day, *key.encode()])
    if key.startswith("SCL"):
        return jitter.integers(1, 12, (SIDE, SIDE), dtype=np.uint8)
    return jitter.integers(1000, 10_000, (SIDE, SIDE), dtype=np.uint16)


def _jpeg2000(path: Path, values: Any, tile: str, gsd: int) -> bytes:  # noqa: ANN401 - a numpy array
    """Return values as a lossless JPEG 2000 in the north-west corner of a tile."""
    epsg, west, north = tile_grid(tile)
    profile = {"driver": "JP2OpenJPEG", "height": SIDE, "width": SIDE, "count": 1}
    profile |= {"dtype": values.dtype, "crs": f"EPSG:{epsg}", "QUALITY": "100", "REVERSIBLE": "YES"}
    with rasterio.open(path, "w", transform=from_origin(west, north, gsd, gsd), **profile) as file:
        file.write(values, 1)
    return path.read_bytes()
