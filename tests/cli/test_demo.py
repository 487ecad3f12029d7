"""The demo runs to its end, and every example of the documentation runs on its archive."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
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


class Kept:
    """A demo that keeps running and publishing."""

    def __init__(self, folder: Path, process: "subprocess.Popen[str]") -> None:
        self.folder = folder
        self.process = process
        assert process.stdout
        self.lines = iter(process.stdout.readline, "")

    def line_with(self, text: str) -> str:
        """Return the next line that has *text*."""
        return next(line for line in self.lines if text in line)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """Run the demo; keep it running."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "s2mirror", "demo", "--publish-every", "1 s"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        kept = Kept(folder / "demo", process)
        kept.line_with("s2mirror demo publish")
        yield kept
        process.kill()


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


def test_every_example_runs_on_the_demo(demo: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(demo.folder)
    s2mirror(demo.folder, "export", "geoparquet", "--out", "tables")
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


def test_kept_demo_publishes_by_request_and_interval(demo: Kept) -> None:
    requested = s2mirror(demo.folder.parent, "demo", "publish").strip()
    published = [demo.line_with("published ") for _ in range(3)]
    assert len(set(published)) == 3, "each a new product"
    demo.process.send_signal(signal.SIGINT)
    assert requested in "".join([*published, *demo.lines])
    assert demo.process.wait() == 0
    assert not (demo.folder / ".publish").exists()
