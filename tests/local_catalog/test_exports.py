"""Exports of held products, in the formats that other programs read."""

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import geopandas
import pystac
import pytest
from catalog_kit import dangling, folder_of, held, opened
from kit import Kit, small, tiny
from pyarrow import parquet

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import ArchiveQuery
from s2mirror.errors import Stopped
from s2mirror.sandbox import SandboxProduct
from s2mirror.service.local_catalog import write_tables
from s2mirror.steps.export import Exporter
from s2mirror.stop import StopFlag


@pytest.fixture
def filled(kit: Kit) -> tuple[Kit, list[SandboxProduct]]:
    return kit, held(kit, 20, 22)


def table(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


def written(kit: Kit, *options: str) -> Path:
    assert kit.call("export", "geoparquet", "--out", str(kit.folder / "out"), *options) == 0
    return kit.folder / "out/sentinel-2-l2a.parquet"


def lines_of(kit: Kit, capsys: pytest.CaptureFixture[str], *options: str) -> list[dict[str, str]]:
    capsys.readouterr()
    assert kit.call("export", "csv", *options) == 0
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


@pytest.mark.long
def test_csv_has_one_line_per_product(
    filled: tuple[Kit, list[SandboxProduct]], capsys: pytest.CaptureFixture[str]
) -> None:
    kit, products = filled
    lines = lines_of(kit, capsys)
    assert [line["id"] for line in lines] == [product.id for product in products]
    for line, product in zip(lines, products, strict=True):
        assert Path(line["path"]) == kit.archive / product.prefix.rstrip("/")
        assert (line["tile"], line["state"]) == ("32TMT", "archived")
        assert 7 < float(line["west"]) < float(line["east"]) < 10


@pytest.mark.long
def test_csv_escapes_control_characters(filled: tuple[Kit, list[SandboxProduct]]) -> None:
    kit, out = filled[0], io.StringIO()
    exporter = Exporter(
        ledger=kit.mirror().ledger,
        archive=Archive(Path("/srv/\x1b[2J\u202eodd\nname")),
        bucket="eodata",
        catalog_url="https://stac.example.org/v1/",
    )
    assert exporter.csv(ArchiveQuery(), out) == len(filled[1])
    assert r"/srv/\x1b[2J\u202eodd\nname/" in out.getvalue()
    assert not set(out.getvalue()) & set("\x1b\u202e")


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--from", "2026-05-21"), 1),
        (("--to", "2026-05-20"), 1),
        (("--from", "2026-05-20", "--to", "2026-05-22"), 2),
        (("--from", "2026-05-20T10:20:32Z", "--area", "zurich"), 1),
    ],
)
def test_export_filters_by_time_and_area(
    filled: tuple[Kit, list[SandboxProduct]],
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    count: int,
) -> None:
    assert len(lines_of(filled[0], capsys, *options)) == count


@pytest.mark.parametrize(
    ("options", "words"),
    [(("--area", "paris"), "no area is named 'paris'"), (("--from", "May"), "Invalid isoformat")],
)
def test_export_refuses_invalid_area_or_date(
    filled: tuple[Kit, list[SandboxProduct]],
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    words: str,
) -> None:
    assert filled[0].call("export", "csv", *options) == 2
    assert words in capsys.readouterr().err


@pytest.mark.long
def test_unwritable_csv_error_gives_advice(
    filled: tuple[Kit, list[SandboxProduct]], capsys: pytest.CaptureFixture[str]
) -> None:
    kit, _ = filled
    assert kit.call("export", "csv", "--out", str(kit.folder / "no/such/folder.csv")) == 5
    assert "name another file with --out" in capsys.readouterr().err


@pytest.mark.long
def test_an_exported_catalog_stands_by_itself(
    filled: tuple[Kit, list[SandboxProduct]],
) -> None:
    kit, products = filled
    out = kit.folder / "out"
    assert kit.call("export", "stac", "--out", str(out), "--from", "2026-05-21") == 0
    found = pystac.Catalog.from_file(str(out / "catalog.json")).get_items(recursive=True)
    assert [item.id for item in found] == [products[1].id]
    assert dangling(out) == []
    (path,) = out.glob("*/*/*/S2*.json")
    for asset in json.loads(path.read_text())["assets"].values():
        assert (path.parent / asset["href"]).is_file()


@pytest.mark.long
def test_export_links_as_the_reader_needs_it(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    products = [tiny(20, baseline="05.11"), tiny(22)]
    kit.sandbox.publish(products)
    kit.cycle()

    def hrefs(*options: str) -> set[str]:
        out = kit.folder / f"out-{len(options)}{options[-1][:3]}"
        assert kit.call("export", "stac", "--out", str(out), *options) == 0
        items = pystac.Catalog.from_file(str(out / "catalog.json")).get_items(recursive=True)
        return {item.assets["B02_10m"].href for item in items}

    below = [f"{product.prefix}{_path_of(product, 'B02_10m.jp2')}" for product in products]
    assert hrefs("--hrefs", "absolute") == {f"{kit.archive}/{path}" for path in below}
    url = "https://example.org/s2"
    assert hrefs("--base-url", f"{url}/") == {f"{url}/{path}" for path in below}
    note = "area zurich holds several baselines of sentinel-2-l2a: 05.11, 05.12"
    assert note in capsys.readouterr().err
    assert kit.call("export", "stac", "--out", "x", "--base-url", "example.org") == 2


def _path_of(product: SandboxProduct, ending: str) -> str:
    (path,) = (path for path in product.files if path.endswith(ending))
    return path


@pytest.mark.long
def test_an_export_writes_over_nobodys_files(
    filled: tuple[Kit, list[SandboxProduct]], capsys: pytest.CaptureFixture[str]
) -> None:
    kit, _ = filled
    out = kit.folder / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    assert kit.call("export", "stac", "--out", str(out)) == 2
    assert "holds other files" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


@pytest.mark.long
def test_geoparquet_has_properties_geometries_and_paths(kit: Kit) -> None:
    products = [tiny(20), small(22)]
    kit.sandbox.publish(products)
    kit.cycle()
    rows = table(written(kit))
    assert [row["id"] for row in rows] == [product.id for product in products]
    for row, product in zip(rows, products, strict=True):
        upstream = product.item["properties"]
        for name in ("platform", "eo:cloud_cover", "sat:absolute_orbit", "eopf:datatake_id"):
            assert row[name] == upstream[name]
        assert row["datetime"] == datetime.fromisoformat(upstream["datetime"]).astimezone(UTC)
        entry = kit.mirror().ledger.products.get(product.id).product
        assert row["geometry"] == entry.footprint_wkb
        hrefs = {asset["href"] for asset in row["assets"].values() if asset}
        assert {str(Path(href).relative_to(kit.archive / product.prefix)) for href in hrefs} == {
            path for path in product.files if is_asset(path)
        }
        assert row["assets"]["thumbnail"]["roles"] == ["thumbnail", "overview"]


@pytest.mark.long
def test_bbox_filter_finds_scenes_across_the_antimeridian(kit: Kit) -> None:
    kit.areas = '[[area]]\nname = "a"\ntiles = ["01WCP"]\nstart = 2020-01-01\n'
    kit.sandbox.publish(product := tiny(20, tile="01WCP"))
    kit.cycle()
    assert kit.states() == {product.id: "archived"}
    path = written(kit)
    for west, east in ((178, 179.99), (-179.99, -178)):
        box = geopandas.read_parquet(path, bbox=(west, 60, east, 75))
        assert list(box["id"]) == [product.id]


@pytest.mark.long
def test_only_lossless_times_are_typed(
    filled: tuple[Kit, list[SandboxProduct]],
) -> None:
    kit, _ = filled
    columns = parquet.read_schema(written(kit))
    times = {column.name for column in columns if str(column.type).startswith("timestamp")}
    assert times == {
        *("datetime", "start_datetime", "end_datetime", "created", "updated", "published")
    }
    row, item = table(written(kit))[0], next(opened(kit).get_items(recursive=True))
    for name in ("processing:datetime", "s2mirror:fetched_at", "s2mirror:verified_at"):
        assert row[name] == item.properties[name]


def is_asset(path: str) -> bool:
    name = path.rpartition("/")[2]
    metadata = ("manifest.safe", "INSPIRE.xml", "MTD_MSIL2A.xml", "MTD_TL.xml", "MTD_DS.xml")
    masks = ("MSK_CLDPRB", "MSK_SNWPRB")
    images = "IMG_DATA" in path or name.startswith(masks) or "_PVI" in name
    return images or name in metadata or name.endswith("-ql.jpg")


STRANGE: Final[dict[str, tuple[Any, ...]]] = {
    "created": ("noon", 5, "2026-05-20T00:00:00\ud800"),
    "eo:cloud_cover": ("many", True, [], 10**400),
    "sat:absolute_orbit": (1.5, False, 10**40),
    "platform": (["a"], 0, False, {}, "two\nlines", "\ud800"),
    "instruments": (None, "msi"),
}


@pytest.mark.long
def test_property_of_wrong_type_leaves_cell_empty(
    filled: tuple[Kit, list[SandboxProduct]],
) -> None:
    kit, products = filled
    upstream = products[0].item["properties"]
    for number in range(max(len(values) for values in STRANGE.values())):
        strange = {name: values[number % len(values)] for name, values in STRANGE.items()}
        kit.mirror().ledger.items.keep({products[0].id: upstream | strange})
        row, other = table(written(kit))
        assert [row[name] or None for name in STRANGE] == [None] * len(STRANGE), strange
        assert all(other[name] for name in STRANGE)
        assert row["datetime"] == datetime.fromisoformat(upstream["datetime"])


@pytest.mark.long
def test_item_without_properties_uses_ledger_values(
    filled: tuple[Kit, list[SandboxProduct]],
) -> None:
    kit, products = filled
    kit.mirror().ledger.connection.execute("DELETE FROM item")
    row = table(written(kit))[0]
    assert (row["id"], row["platform"]) == (products[0].id, "sentinel-2c")
    assert row["grid:code"] == "MGRS-32TMT"


def test_nothing_held_is_no_file_and_said(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    kit.cycle()
    assert not written(kit).exists()
    assert "no held product matches" in capsys.readouterr().err


@pytest.mark.long
def test_scheduled_geoparquet_is_in_its_collection(kit: Kit) -> None:
    kit.sections["local_catalog"] = 'geoparquet_every = "1 d"'
    products = held(kit, 20, 22)
    path = folder_of(kit) / "sentinel-2-l2a/items.parquet"
    assert [row["id"] for row in table(path)] == [product.id for product in products]
    (found,) = opened(kit).get_collections()
    assert found.get_assets()["geoparquet"].get_absolute_href() == str(path)
    kit.assert_invariants()


@pytest.mark.long
def test_scheduled_geoparquet_is_written_when_due(kit: Kit) -> None:
    kit.sections["local_catalog"] = 'geoparquet_every = "1 d"'
    held(kit, 20)
    kit.sandbox.publish(tiny(22))
    kit.cycle()
    path = folder_of(kit) / "sentinel-2-l2a/items.parquet"
    assert len(table(path)) == 1
    write_tables(kit.later(days=2), StopFlag())
    assert len(table(path)) == 2


def test_interrupted_export_keeps_the_old_file(kit: Kit) -> None:
    kit.sections["local_catalog"] = 'geoparquet_every = "1 d"'
    held(kit, 20)
    path = folder_of(kit) / "sentinel-2-l2a/items.parquet"
    before = path.read_bytes()
    stop = StopFlag()
    stop.set()
    with pytest.raises(Stopped):
        write_tables(kit.later(days=2), stop)
    assert path.read_bytes() == before
    assert list(path.parent.glob("*.new")) == []
