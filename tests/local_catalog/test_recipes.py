"""The recipes of the documentation run, and reflectances agree across a change of the baseline."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kit import ZURICH, Kit
from pixels_kit import SIDE, with_pixels
from pyproj import Transformer

from s2mirror.tiles import tile_grid

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

DOCUMENT = Path(__file__).parents[2] / "docs" / "local-catalog.md"
BEFORE, AFTER = "03.01", "05.12"
BBOX = "[8.45, 47.2, 8.85, 47.4]"


@pytest.fixture
def numbers(kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Mirror the same scene before and after the change; return the numbers by baseline."""
    kit.areas = ZURICH.replace("zurich", "lake-zurich")
    made = {
        baseline: with_pixels(tmp_path, day, scene=1, baseline=baseline)
        for day, baseline in ((20, BEFORE), (22, AFTER))
    }
    kit.sandbox.publish([product for product, _ in made.values()])
    kit.cycle()
    monkeypatch.chdir(kit.config.parent)
    return {baseline: pixels["B04_10m"] for baseline, (_, pixels) in made.items()}


def result_of(library: str) -> Any:  # noqa: ANN401 - of that library
    """Run the recipe for a library at the corner of the tile; return its reflectances."""
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (recipe,) = [block for block in blocks if f"import {library}\n" in block]
    names: dict[str, Any] = {}
    exec(recipe.replace(BBOX, corner()), names)  # noqa: S102 - of this project
    return names["reflectance"]


def corner() -> str:
    """Return the box of the images' pixels in degrees, as text."""
    epsg, west, north = tile_grid("32TMT")
    degrees = Transformer.from_crs(epsg, 4326, always_xy=True)
    edge = SIDE * 10
    return str(list(degrees.transform_bounds(west, north - edge, west + edge, north)))


def test_rasterio_recipe_gives_equal_reflectances(numbers: dict[str, Any]) -> None:
    assert (numbers[AFTER] == numbers[BEFORE] + 1000).all()
    before, after = result_of("rasterio").values()
    assert np.allclose(before, numbers[BEFORE] / 10_000)
    assert before[5, 7] == pytest.approx(after[5, 7])
    assert np.allclose(before, after)


def test_odc_recipe_gives_equal_reflectances(numbers: dict[str, Any]) -> None:
    cube = result_of("odc.stac").compute()
    before, after = (cube.B04_10m.values[number] for number in (0, 1))
    clear = ~np.isnan(before)
    assert (clear == ~np.isnan(after)).all()
    assert SIDE**2 / 16 < clear.sum() < SIDE**2 / 4, "some pixels are clouds"
    assert np.allclose(before[clear], after[clear])
    expected = np.unique(numbers[BEFORE] / 10_000)
    assert np.isclose(before[clear][:, None], expected).any(axis=1).all()


def test_stackstac_recipe_gives_equal_reflectances(numbers: dict[str, Any]) -> None:
    before, after = result_of("stackstac").compute().values[:, 0]
    valid = ~np.isnan(before)
    assert valid.sum() > SIDE**2 / 2
    assert np.allclose(before[valid], after[valid])
    expected = np.unique(numbers[BEFORE] / 10_000)
    assert np.isclose(before[valid][:, None], expected).any(axis=1).all()
