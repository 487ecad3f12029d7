"""Images of generated products: they open, at their place, with the numbers of their metadata."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import rasterio

from s2mirror.radiometry import parse_radiometry
from s2mirror.sandbox import ProductSpec
from s2mirror.sandbox.layout import Paths, manifest_members
from s2mirror.sandbox.products import make_files
from s2mirror.tiles import WIDTH_METRES, tile_grid

SPEC = ProductSpec(imagery=True, cloud_cover_percent=40.0)


def content(spec: ProductSpec, end: str) -> bytes:
    """Return the one file of a product whose path ends so."""
    members = manifest_members(spec.level, Paths.of(spec))
    (made,) = make_files([m for m in members if m.path.endswith(end)], spec).values()
    return made


def pixels(spec: ProductSpec, end: str) -> Any:  # noqa: ANN401 - a numpy array
    """Return the pixels of an image."""
    with rasterio.MemoryFile(content(spec, end)) as memory, memory.open() as image:
        return image.read()


@pytest.mark.parametrize("end", ["B04_10m.jp2", "SCL_20m.jp2", "TCI_60m.jp2", "DETFOO_B05.jp2"])
def test_image_covers_its_tile(end: str) -> None:
    epsg, west, north = tile_grid(SPEC.tile)
    with rasterio.MemoryFile(content(SPEC, end)) as memory, memory.open() as image:
        assert image.crs.to_epsg() == epsg
        assert tuple(image.bounds) == (west, north - WIDTH_METRES, west + WIDTH_METRES, north)


def test_reflectances_of_two_baselines_agree() -> None:
    found = []
    for baseline in ("03.01", "05.12"):
        spec = replace(SPEC, baseline=baseline)
        conversion = dict(parse_radiometry(content(spec, "MTD_MSIL2A.xml")).conversions)["B04"]
        found.append(pixels(spec, "B04_60m.jp2") * conversion.scale + conversion.offset)
    assert np.allclose(found[0], found[1])
    assert 0 < found[0].min() < 0.05, "water"
    assert 0.3 < found[0].max() < 1, "clouds"


def test_both_levels_show_the_same_clouds() -> None:
    surface, top = pixels(SPEC, "B01_60m.jp2"), pixels(replace(SPEC, level="L1C"), "031_B01.jp2")
    assert np.array_equal(surface, top)
    assert set(np.unique(pixels(SPEC, "SCL_60m.jp2"))) >= {4, 5, 6, 9}
