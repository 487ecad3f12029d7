"""``s2mirror preview``: previews of a product, an area or a box."""

import json
import logging
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.warp
from kit import PATIENCE_SECONDS, Kit, tiny
from PIL import Image

from s2mirror.adapters.archive import Archive
from s2mirror.cli.main import main
from s2mirror.preview_model import Extent, RenderedImage
from s2mirror.sandbox import Answer, Fault, ProductSpec, make_item
from s2mirror.steps.preview_files import put_all

BOX = "13.822174072265625,45.85080395917834,14.55963134765625,46.29191774991382"
DAY = ("--from", "2026-05-27", "--to", "2026-05-27")
SMALL = ("--width", "90", "--height", "60")


@dataclass(frozen=True)
class Preview:
    """The command within the test's own process, which is fast."""

    kit: Kit
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        code = main(["preview", *words, "--config", str(self.kit.config)])
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def json(self, *words: str) -> Any:  # noqa: ANN401 - parsed JSON
        code, out, err = self(*words, "--json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def preview(
    kit: Kit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Preview:
    for name, secret in kit.secrets.items():
        monkeypatch.setenv(name, secret)
    monkeypatch.chdir(kit.folder)
    tiles = ("33TVM", "33TVL", "33TUM", "33TUL")
    kit.sandbox.publish(make_item(ProductSpec(tile=tile)) for tile in tiles)
    return Preview(kit, capsys)


@pytest.mark.long
def test_one_command_renders_a_true_colour_bbox(preview: Preview) -> None:
    code, out, _ = preview("--bbox", BOX, *DAY, "--width", "512", "--height", "512", "-o", "x.png")
    path = preview.kit.folder / "x.png"
    assert (code, out) == (0, f"{path}\n1.00 processing units\n")
    (body,) = preview.kit.sandbox.process.requests
    assert body["input"]["bounds"]["bbox"] == [float(part) for part in BOX.split(",")]
    assert body["input"]["data"][0]["type"] == "sentinel-2-l2a"
    assert body["output"]["width"] == body["output"]["height"] == 512
    assert "2.5 * sample.B04, 2.5 * sample.B03, 2.5 * sample.B02" in body["evalscript"]
    seen = np.asarray(Image.open(path))
    assert seen.shape == (512, 512, 4)
    assert (seen[:, :, 3] == 255).all()
    with rasterio.open(path) as raster:
        assert raster.crs.to_epsg() == 4326
        assert tuple(raster.bounds) == pytest.approx([float(part) for part in BOX.split(",")])


@pytest.mark.long
@pytest.mark.parametrize("form", ["png", "jpg", "tif"])
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "utm"])
def test_preview_has_the_requested_extent_and_crs(preview: Preview, form: str, crs: str) -> None:
    options = ("--metres-per-pixel", "900", "--crs", crs)
    assert preview("--bbox", BOX, *DAY, *options, "-o", f"x.{form}")[0] == 0
    with rasterio.open(preview.kit.folder / f"x.{form}") as raster:
        west, south, east, north = rasterio.warp.transform_bounds(
            raster.crs, "EPSG:4326", *raster.bounds
        )
    assert (west, south, east, north) == pytest.approx(
        [float(part) for part in BOX.split(",")], abs=0.02
    )


def test_dry_run_prints_the_cost_without_requests(preview: Preview) -> None:
    words = ("--bbox", BOX, *DAY, "--width", "3000", "--height", "512", "--dry-run")
    result = preview.json(*words)
    assert result["estimated_units"] == pytest.approx(3000 * 512 / 512**2)
    assert [(part["width"], part["height"]) for part in result["planned"]] == [(1500, 512)] * 2
    assert result["spent"] == {"requests": 0, "units": 0.0}
    code, out, _ = preview(*words)
    assert code == 0
    assert out.startswith("would render 2 previews for about 5.86 processing units\n")
    assert out.endswith(f"0.0 of 9000 processing units spent in {result['month']}\n")
    assert preview.kit.sandbox.process_proxy.traffic.count() == 0
    assert preview.kit.sandbox.identity_proxy.traffic.count() == 0


@pytest.mark.long
def test_large_preview_is_split_into_parts(preview: Preview) -> None:
    result = preview.json("--bbox", BOX, *DAY, "--width", "2600", "--height", "40")
    (made,) = result["made"]
    assert [path.rpartition(".true-color")[2] for path in made["paths"]] == [".png", "-2.png"]
    edges = []
    for path in made["paths"]:
        with rasterio.open(path) as raster:
            edges += [raster.bounds.left, raster.bounds.right]
    assert edges[1] == pytest.approx(edges[2])
    assert result["spent"]["requests"] == 2


def test_no_part_is_rendered_beyond_the_allowance(preview: Preview) -> None:
    preview.kit.sections["preview"] = "monthly_requests = 1"
    code, _, err = preview("--bbox", BOX, *DAY, "--width", "2600", "--height", "40")
    assert code == 7
    assert "0 of 1 requests are spent" in err
    assert preview.kit.sandbox.process_proxy.traffic.count() == 0


def test_part_keeps_its_number_after_empty_parts(tmp_path: Path) -> None:
    extent = Extent(crs="EPSG:4326", bbox=(8, 47, 9, 48), width=2, height=2)
    empty, full = (
        RenderedImage(content=b"x", form="png", extent=extent, is_empty=is_empty, units=0.0)
        for is_empty in (True, False)
    )
    assert put_all(Archive(tmp_path), "p", [full, empty, full]) == ("p.png", "p-3.png")
    assert (tmp_path / "p-3.pgw").is_file()


def test_area_preview_uses_the_last_days(preview: Preview) -> None:
    preview.kit.sandbox.publish(make_item(ProductSpec(tile="32TMT")))
    result = preview.json("--area", "zurich", *DAY, *SMALL)
    (made,) = result["made"]
    assert made["subject"] == "zurich@20260527T235959"
    path = Path(made["paths"][0])
    assert (
        path == preview.kit.archive / "previews/zurich/2026/05/20260527T235959_l2a.true-color.png"
    )
    assert path.is_file()


@pytest.mark.long
def test_product_preview_works_from_every_source(preview: Preview) -> None:
    kit = preview.kit
    kit.sections["preview"] = 'source = "none"'
    made = tiny()
    kit.sandbox.publish(made)
    kit.cycle()
    code, _, err = preview(made.id, "--source", "quicklook", "-o", "ql.jpg")
    assert (code, err) == (0, "")
    assert (kit.folder / "ql.jpg").read_bytes() == made.files[f"{made.id}-ql.jpg"]
    result = preview.json(
        f"{made.id}.SAFE/", "--source", "process", "--width", "90", "--evalscript", "scl"
    )
    assert result["made"][0]["name"] == "scl"
    assert result["spent"]["requests"] == 1


def test_geometry_file_clips_the_preview(preview: Preview) -> None:
    ring = [[13.9, 45.9], [14.5, 45.9], [13.9, 46.2], [13.9, 45.9]]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    (preview.kit.folder / "polygon.json").write_text(json.dumps(polygon))
    words = ("--geometry", "polygon.json", *DAY, *SMALL, "-o", "x.png")
    assert preview(*words)[0] == 0
    alpha = np.asarray(Image.open(preview.kit.folder / "x.png"))[:, :, 3]
    assert (alpha[-2, 1], alpha[1, -2]) == (255, 0)


def test_custom_evalscript_names_its_preview(preview: Preview) -> None:
    script = "function setup(){return{input:['B02'],output:{bands:1}}}\n"
    script = f"//VERSION=3\n{script}function evaluatePixel(s){{return [4 * s.B02]}}"
    (preview.kit.folder / "blue.js").write_text(script)
    result = preview.json("--bbox", BOX, *DAY, *SMALL, "--evalscript", "blue.js")
    assert result["made"][0]["name"] == "blue"
    assert Image.open(result["made"][0]["paths"][0]).mode == "L"


def test_empty_preview_exits_with_1(preview: Preview) -> None:
    words = ("--bbox", BOX, "--from", "2026-05-20", "--to", "2026-05-21", *SMALL, "-o", "x.png")
    code, out, err = preview(*words)
    assert code == 1
    assert "is empty and was not kept" in err
    assert out == "0.02 processing units\n"
    assert not (preview.kit.folder / "x.png").exists()


def test_exhausted_allowance_exits_with_7(preview: Preview) -> None:
    preview.kit.sections["preview"] = "monthly_units = 0.01"
    code, _, err = preview("--bbox", BOX, *DAY, *SMALL)
    assert code == 7
    assert "would exceed the month's allowance: 0.0 of 0.01 units" in err
    assert preview.kit.sandbox.process_proxy.traffic.count() == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give exactly one of: product IDs, --area, --bbox, --geometry"),
        (("--bbox", BOX, "--area", "zurich"), "give exactly one of"),
        (("--bbox", "1,2,3"), "--bbox: expected [west, south, east, north], degrees"),
        (("--bbox", "a,b"), "--bbox: expected W,S,E,N in degrees; got 'a,b'"),
        (("--geometry", "none.json"), "--geometry: "),
        (("--bbox", BOX, "--from", "soon"), "--from: expected a duration before now such as 7d"),
        (("--bbox", BOX, "--from", "2026-05-28", "--to", "2026-05-27"), "is not before"),
        (("--bbox", BOX, "--format", "bmp", "--width", "0"), "width: expected a whole number"),
        (("--bbox", BOX, "--crs", "EPSG:2056"), 'crs: expected "utm", "EPSG:4326"'),
        (("--bbox", BOX, "--evalscript", "ndwi"), "evalscript: expected one of false-color, ndvi"),
        (("--bbox", BOX, "--width", "10"), "m per pixel; Sentinel Hub renders nothing coarser"),
        (("--bbox", BOX, "-o", "x.gif"), "--output x.gif: the suffix is not of a known format"),
        (("--area", "nowhere"), "no area is named 'nowhere'"),
        (("nothing",), "the ledger knows no product 'nothing'"),
        (("--bbox", BOX, "--collection", "landsat"), "--collection: expected one of"),
    ],
)
def test_contradictory_arguments_exit_with_2(
    preview: Preview, words: tuple[str, ...], said: str
) -> None:
    code, _, err = preview(*words)
    assert code == 2
    assert said in err
    assert preview.kit.sandbox.process_proxy.traffic.count() == 0


def test_missing_client_exits_with_6(preview: Preview, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S2MIRROR_CLIENT_ID")
    code, _, err = preview("--bbox", BOX, *DAY, *SMALL)
    assert code == 6
    assert "set S2MIRROR_CLIENT_ID" in err


@pytest.mark.parametrize(
    ("service", "answer", "code"),
    [
        ("identity_proxy", Answer(status=401, body=b'{"error":"invalid_client"}'), 6),
        ("identity_proxy", Answer(status=404), 3),
        ("process_proxy", Answer(status=403), 6),
        ("process_proxy", Answer(status=400, body=b'{"error":{"message":"bad"}}'), 3),
    ],
)
def test_error_responses_have_the_documented_exit_codes(
    preview: Preview, service: str, answer: Answer, code: int
) -> None:
    getattr(preview.kit.sandbox, service).inject(Fault(answer=answer, times=None))
    assert preview("--bbox", BOX, *DAY, *SMALL)[0] == code


@pytest.mark.long
def test_status_reports_preview_count_and_cost(
    preview: Preview, capsys: pytest.CaptureFixture[str]
) -> None:
    kit = preview.kit
    kit.sections["preview"] = 'source = "process"\nwidth = 90'
    kit.sandbox.publish(tiny())
    kit.cycle()
    capsys.readouterr()
    assert kit.call("status") == 0
    assert "previews  1 made, 0.0 of 9000 processing units spent in" in capsys.readouterr().out


def seen_by(kit: Kit, commands: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]) -> str:
    said = []
    for words in commands:
        main([*words, "--config", str(kit.config)])
        out = capsys.readouterr()
        said += [out.out, out.err]
    return "".join(said)


@pytest.mark.long
@pytest.mark.parametrize("right", [True, False])
def test_preview_commands_never_show_secrets(
    preview: Preview,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    *,
    right: bool,
) -> None:
    kit = preview.kit
    planted = ("planted-client-id", "planted-client-secret")
    for name, secret in zip(("ID", "SECRET"), planted, strict=True):
        if not right:
            monkeypatch.setenv(f"S2MIRROR_CLIENT_{name}", secret)
    caplog.set_level(logging.DEBUG)
    kit.sections |= {"preview": 'source = "process"\nwidth = 90', "log": 'level = "debug"'}
    kit.sandbox.publish(tiny())
    box = ("preview", "--bbox", BOX, *DAY, *SMALL)
    commands = [box, (*box, "--json"), (*box, "--crs", "x"), ("sync", "-v"), ("status", "--json")]
    text = seen_by(kit, commands, capsys) + caplog.text
    secrets = [kit.sandbox.client_id, kit.sandbox.client_secret] if right else planted
    for secret in (*secrets, *kit.sandbox.identity.issued):
        assert secret not in text
    for path in kit.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(secret.encode() in content for secret in secrets), path
            held = [token for token in kit.sandbox.identity.issued if token.encode() in content]
            assert not held or path.name == "s2mirror.sqlite.token"
            assert not held or path.stat().st_mode & 0o777 == 0o600


def test_concurrent_writes_of_one_preview_stay_whole(tmp_path: Path) -> None:
    archive, images = Archive(tmp_path), [bytes([number]) * 50_000 for number in range(3)]

    def put_often(image: bytes) -> None:
        for _ in range(30):
            archive.put_file("previews/x.png", image)
            assert (tmp_path / "previews/x.png").read_bytes() in images

    with ThreadPoolExecutor(len(images)) as pool:
        list(pool.map(put_often, images))
    assert [path.name for path in (tmp_path / "previews").iterdir()] == ["x.png"]


@pytest.mark.long
def test_three_concurrent_commands_share_one_token(kit: Kit) -> None:
    kit.sandbox.publish(make_item(ProductSpec(tile="32TMT")))
    command = kit.command("preview", "--area", "zurich", *DAY, *SMALL)
    environment = kit.environment()
    children = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, cwd=kit.folder)
        for _ in range(3)
    ]
    for child in children:
        child.communicate(timeout=PATIENCE_SECONDS)
    assert [child.returncode for child in children] == [0, 0, 0]
    assert len(kit.sandbox.identity.issued) == 1
