"""Readers get the exact pixels of the images through the catalog."""

from pathlib import Path

import numpy as np
import odc.stac
import pytest
from catalog_kit import items_of
from kit import Kit
from pixels_kit import SIDE, with_pixels

from s2mirror.tiles import tile_grid

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def test_odc_stac_loads_the_numbers_that_were_written(kit: Kit, tmp_path: Path) -> None:
    made = [with_pixels(tmp_path, day) for day in (20, 22)]
    kit.sandbox.publish([product for product, _ in made])
    kit.cycle()
    epsg, west, north = tile_grid("32TMT")
    edge = SIDE * 10
    loaded = odc.stac.load(
        [item.make_asset_hrefs_absolute() for item in items_of(kit).values()],
        bands=["B02_10m", "B03_10m"],
        crs=f"EPSG:{epsg}",
        resolution=10,
        x=(west, west + edge),
        y=(north - edge, north),
    )
    assert dict(loaded.sizes) == {"time": 2, "y": SIDE, "x": SIDE}
    for number, (_, pixels) in enumerate(made):
        for band in ("B02_10m", "B03_10m"):
            assert np.array_equal(loaded[band].values[number], pixels[band])
