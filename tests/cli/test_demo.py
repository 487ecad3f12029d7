"""The demo runs to its end, and every example of the documentation runs on its archive."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

DOCUMENTS = Path(__file__).parents[2] / "docs"
PAGES = ("how-it-works.md", "local-catalog.md")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the demo; return its folder."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    s2mirror(folder.parent, "demo")
    s2mirror(folder, "export", "geoparquet", "--out", "tables")
    return folder


def s2mirror(folder: Path, *arguments: str) -> str:
    """Run a command in *folder*; return its output."""
    command = [sys.executable, "-m", "s2mirror", *arguments]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Interface:
    """The part of QGIS that an example uses."""

    def __init__(self) -> None:
        self.layers: list[Path] = []

    def addRasterLayer(self, path: str, name: str) -> None:  # noqa: ARG002, N802 - QGIS's name
        """Add a layer."""
        self.layers.append(Path(path))


def work_on(item: Any) -> None:  # noqa: ANN401 - a pystac item
    """Stop the endless example at its first product."""
    raise StopAsyncIteration(item.id)


def examples() -> list[str]:
    """Return the Python examples of the documentation."""
    texts = [(DOCUMENTS / page).read_text(encoding="utf-8") for page in PAGES]
    return [code for text in texts for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]


def test_every_example_runs_on_the_demo(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(demo)
    results: dict[str, Any] = {}
    interface = Interface()
    for code in examples():
        names: dict[str, Any] = {"iface": interface, "work_on": work_on}
        try:
            exec(code, names)  # noqa: S102 - of this project
        except StopAsyncIteration:
            assert "work_on(item)" in code
        library = re.findall(
            r"^import (odc.stac|stackstac|rasterio|geopandas)$", code, re.MULTILINE
        )
        results |= {name: names.get("reflectance", names.get("frame")) for name in library}
    assert [path.is_file() for path in interface.layers] == [True]
    assert len(results["geopandas"]) == 5
    for numbers in results["rasterio"].values():
        assert numbers.shape == (366, 366)
        assert 0 <= np.nanmin(numbers) < 0.1 < np.nanmax(numbers) < 1, "water, and rock or clouds"
    for cube in (results["odc.stac"].B04_10m, results["stackstac"]):
        values = cube.compute().values
        assert np.nanstd(values) > 0.02, "a scene, not one number"
