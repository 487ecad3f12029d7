"""The GeoParquet files, read by independent programs."""

from pathlib import Path

import duckdb
import geopandas
import pytest
from catalog_kit import held
from kit import Kit
from shapely import to_wkb

pytestmark = pytest.mark.long


def written(kit: Kit) -> Path:
    assert kit.call("export", "geoparquet", "--out", str(kit.folder)) == 0
    return kit.folder / "sentinel-2-l2a.parquet"


def test_geopandas_reads_it_with_its_geometries(
    kit: Kit,
) -> None:
    products = held(kit, 20, 22)
    frame = geopandas.read_parquet(written(kit))
    assert list(frame["id"]) == [product.id for product in products]
    assert frame.crs.to_epsg() == 4326 or frame.crs.to_string() == "OGC:CRS84"
    entry = kit.mirror().ledger.products.get(products[0].id).product
    assert to_wkb(frame.geometry.iloc[0]) == entry.footprint_wkb


def test_duckdb_reads_it_without_any_extension(
    kit: Kit,
) -> None:
    products = held(kit, 20, 22)
    path = written(kit)
    question = (
        'SELECT id, "eo:cloud_cover", assets.B02_10m.href FROM read_parquet(?) '
        "WHERE bbox.xmin < 8 AND datetime > '2026-05-21' ORDER BY id"
    )
    ((name, clouds, href),) = duckdb.execute(question, [str(path)]).fetchall()
    assert (name, clouds) == (products[1].id, 12.5)
    assert Path(href).is_file()
