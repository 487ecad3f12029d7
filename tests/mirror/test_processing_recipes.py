"""Every recipe of docs/processing.md runs: its table loads, and its command does what it says.

Where a program cannot be installed here, a stand-in takes the arguments that its documentation
names, refuses all others, and writes what the program would.
"""

import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
from kit import Kit, tiny
from pixels_kit import SIDE, with_pixels

pytestmark = pytest.mark.long

DOCUMENT = (Path(__file__).parents[2] / "docs" / "processing.md").read_text(encoding="utf-8")
L2A_PROCESS = """
parser.add_argument("--resolution", choices=["10", "20", "60"])
parser.add_argument("--output_dir", type=pathlib.Path)
parser.add_argument("input_dir", type=pathlib.Path)
given = parser.parse_args()
assert (given.input_dir / "MTD_MSIL1C.xml").is_file()
name = given.input_dir.name.replace("MSIL1C", "MSIL2A").replace("N0512", "N9999")
folder = (given.output_dir or given.input_dir.parent) / name
folder.mkdir(parents=True)
(folder / "MTD_MSIL2A.xml").touch()
"""
GPT = """
parser.add_argument("graph", type=pathlib.Path)
parser.add_argument("-q", type=int)
parser.add_argument("-c")
parser.add_argument("-P", action="append")
given = parser.parse_args()
values = dict(each.split("=", 1) for each in given.P)
assert pathlib.Path(values["input"]).is_file()
target = pathlib.Path(values["output"])
target.parent.mkdir(exist_ok=True)
target.write_text(string.Template(given.graph.read_text()).substitute(values))
"""
FORCE_LEVEL2 = """
parser.add_argument("parameters", type=pathlib.Path)
lines = parser.parse_args().parameters.read_text().splitlines()
(queue,) = [line.split(" = ")[1] for line in lines if line.startswith("FILE_QUEUE = ")]
queue = pathlib.Path(queue)
for image in re.findall("^(/.*) QUEUED$", queue.read_text(), re.MULTILINE):
    status = "DONE" if (pathlib.Path(image) / "MTD_MSIL1C.xml").is_file() else "FAIL"
    queue.write_text(queue.read_text().replace(f"{image} QUEUED", f"{image} {status}"))
"""


class Recipe:
    """One section of the document, with its paths below the folder of a test."""

    def __init__(self, kit: Kit, title: str) -> None:
        self._kit = kit
        self.srv = kit.folder / "srv"
        (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", DOCUMENT, re.DOTALL | re.MULTILINE)
        self._text = self._local(text)
        self.python = self.blocks("python")
        for script in [*self.python, *self.blocks("xml")]:
            (path,) = re.findall(r"^(?:#|<!--) (/\S+)", script, re.MULTILINE)
            self.program(Path(path).relative_to(self.srv), script)

    def blocks(self, kind: str) -> list[str]:
        found = re.findall(r"^```(\w*)\n(.*?)^```$", self._text, re.DOTALL | re.MULTILINE)
        return [text for each, text in found if each == kind]

    def _local(self, text: str) -> str:
        text = text.replace("/srv/s2/venv/bin/python", sys.executable)
        return text.replace('"rclone"', f'"{Path(sys.executable).with_name("rclone")}"').replace(
            "/srv/s2", str(self.srv)
        )

    def program(self, path: Path | str, text: str) -> None:
        """Write a program below the folder that stands for /srv/s2."""
        file = self.srv / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def stand_in(self, path: str, text: str) -> None:
        """Write a stand-in for a program that is not installed."""
        head = f"#!{sys.executable}\nimport argparse, pathlib, re, string\n"
        self.program(path, f"{head}parser = argparse.ArgumentParser(allow_abbrev=False)\n{text}")

    def configure(self) -> None:
        """Add the tables of the recipe to the configuration of the mirror."""
        (text,) = self.blocks("toml")
        for name in re.findall(r"^\[(\w+)\]$", text, re.MULTILINE):
            (lines,) = re.findall(rf"^\[{name}\]\n(.*?)(?=^\[|\Z)", text, re.DOTALL | re.MULTILINE)
            self._kit.sections[name] = lines
        entries = re.findall(r"^\[\[process\]\]\n.*?(?=^\[\[|\Z)", text, re.DOTALL | re.MULTILINE)
        self._kit.areas = "".join(entries) + self._kit.areas
        tomllib.loads(self._kit.toml())


def test_force_recipe_processes_by_the_queue(kit: Kit) -> None:
    recipe = Recipe(kit, "FORCE")
    recipe.configure()
    recipe.stand_in("bin/force-level2", FORCE_LEVEL2)
    queue = recipe.srv / "force/queue.txt"
    recipe.program("force/level2.prm", f"NPROC = 2\nFILE_QUEUE = {queue}\n")
    product = tiny(level="L1C")
    kit.sandbox.publish(product)
    kit.cycle()
    assert queue.read_text() == f"{kit.archive}/T32TMT/{product.id}.SAFE QUEUED\n"
    (command,) = [line for line in recipe.blocks("") if line.startswith("force-level2 ")]
    subprocess.run(f"{recipe.srv}/bin/{command}", shell=True, check=True, timeout=60)  # noqa: S602
    assert kit.cycle().processed == [product.id]
    kit.assert_invariants()


def test_sen2cor_recipe_processes_l1c_only(kit: Kit) -> None:
    recipe = Recipe(kit, "Sen2Cor")
    recipe.configure()
    recipe.stand_in("Sen2Cor/bin/L2A_Process", L2A_PROCESS)
    product, other = tiny(level="L1C"), tiny(26)
    kit.sandbox.publish([product, other])
    assert kit.cycle().processed == [product.id]
    (made,) = (recipe.srv / "l2a").iterdir()
    assert made.name.startswith("S2C_MSIL2A_")
    kit.assert_invariants()


def test_sen2cor_output_in_archive_is_left_alone(kit: Kit) -> None:
    recipe = Recipe(kit, "Sen2Cor")
    recipe.configure()
    recipe.stand_in("Sen2Cor/bin/L2A_Process", L2A_PROCESS)
    kit.areas = re.sub(r'"--output_dir", "\S+", ', "", kit.areas)
    kit.sections["prune"] = 'after = "1 h"\nmax_percent = 100'
    product = tiny(level="L1C")
    kit.sandbox.publish(product)
    assert kit.cycle().processed == [product.id]
    kit.cycle(kit.later())
    assert kit.states() == {product.id: "pruned"}
    (made,) = kit.archive.glob("Sentinel-2/**/*.SAFE")
    assert made.name.startswith("S2C_MSIL2A_")
    assert (made / "MTD_MSIL2A.xml").is_file()
    audit = kit.json("audit")
    assert (audit["faults"], [found["path"] for found in audit["foreign"]]) == (
        [],
        [made.relative_to(kit.archive).as_posix()],
    )
    kit.assert_invariants()


def test_snap_recipe_runs_its_graph(kit: Kit) -> None:
    recipe = Recipe(kit, "SNAP")
    recipe.configure()
    recipe.stand_in("snap/bin/gpt", GPT)
    product = tiny()
    kit.sandbox.publish(product)
    assert kit.cycle().processed == [product.id]
    (done,) = (recipe.srv / "snap-out").iterdir()
    graph = ET.parse(done)  # noqa: S314 - of the document
    files = [node.text for node in graph.iter("file")]
    assert files == [f"{kit.archive / product.prefix}/MTD_MSIL2A.xml", str(done)]
    sources = {node.get("refid") for node in graph.iter("sourceProduct")}
    assert sources < {node.get("id") for node in graph.iter("node")}


def test_cog_recipe_converts_every_band(kit: Kit, tmp_path: Path) -> None:
    recipe = Recipe(kit, "Cloud-optimized GeoTIFF")
    recipe.configure()
    product, pixels = with_pixels(tmp_path)
    kit.sandbox.publish(product)
    assert kit.cycle().processed == [product.id]
    made = sorted((recipe.srv / "cog" / product.id).iterdir())
    assert [path.suffix for path in made] == [".tif"] * len(pixels)
    for path in made:
        (values,) = [found for key, found in pixels.items() if key in path.name]
        with rasterio.open(path) as image:
            assert image.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert (image.read(1) == values).all()
    kit.assert_invariants()


def test_cloud_mask_recipe_masks_clouds(kit: Kit, tmp_path: Path) -> None:
    recipe = Recipe(kit, "Cloud mask")
    recipe.configure()
    product, pixels = with_pixels(tmp_path)
    kit.sandbox.publish([product, l1c := tiny(level="L1C")])
    assert kit.cycle().processed == [product.id]
    assert kit.states()[l1c.id] == "archived"
    with rasterio.open(recipe.srv / "masks" / f"{product.id}.tif") as image:
        mask = image.read(1)
        assert (image.nodata, image.crs.to_epsg(), image.res[0]) == (255, 32632, 20)
    assert mask.shape == (SIDE, SIDE)
    assert (mask == np.isin(pixels["SCL_20m"], (3, 8, 9, 10))).all()
    assert 0 < mask.mean() < 1


def test_upload_recipe_copies_the_product(kit: Kit) -> None:
    recipe = Recipe(kit, "Upload with rclone")
    recipe.configure()
    recipe.program("rclone.conf", f"[backup]\ntype = alias\nremote = {recipe.srv}/remote\n")
    product = tiny()
    kit.sandbox.publish(product)
    assert kit.cycle().processed == [product.id]
    copy = recipe.srv / "remote" / "sentinel-2" / f"{product.id}.SAFE"
    for path, content in product.files.items():
        assert path.endswith("/") or (copy / path).read_bytes() == content


def test_second_entry_uploads_what_the_first_made(kit: Kit, tmp_path: Path) -> None:
    Recipe(kit, "Cloud-optimized GeoTIFF")
    recipe = Recipe(kit, "One after the other")
    recipe.configure()
    recipe.program("rclone.conf", f"[backup]\ntype = alias\nremote = {recipe.srv}/remote\n")
    product, pixels = with_pixels(tmp_path)
    kit.sandbox.publish(product)
    assert kit.cycle().processed == [product.id]
    assert len([*(recipe.srv / "remote" / "cog" / product.id).iterdir()]) == len(pixels)


def test_marker_and_python_recipes_mark_products(kit: Kit) -> None:
    recipe = Recipe(kit, "Your own program, without a command")
    marked, other = tiny(27), tiny(26)
    kit.sandbox.publish([marked, other])
    kit.cycle()
    (touch,) = recipe.blocks("sh")
    folder = kit.archive / marked.prefix.rstrip("/")
    subprocess.run(["/bin/sh", "-c", touch], env={"PRODUCT": str(folder)}, check=True, timeout=60)
    assert kit.cycle().processed == [marked.id]
    done = subprocess.run(
        [sys.executable, recipe.srv / "bin/consumer.py", kit.config, "0"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == [other.id, "2000"]
    assert set(kit.states().values()) == {"processed"}
    kit.assert_invariants()
