"""An item names no extension whose schema it does not satisfy.

The schemas are only on the internet; these tests state their requirements.
"""

import json
from typing import Any, Final

import pystac
import pytest
from catalog_kit import documents, faults_in, folder_of, held
from kit import ZURICH, Kit, small, tiny
from pyarrow import parquet

from s2mirror import Mirror
from s2mirror.sandbox import SandboxProduct

OF_EVERY_ITEM: Final = {"file", "projection", "grid", "processing", "product", "sat", "timestamps"}


def items(kit: Kit) -> list[dict[str, Any]]:
    return [item for _, item in documents(folder_of(kit)) if item["type"] == "Feature"]


def claims(item: dict[str, Any]) -> set[str]:
    """Return the names of an item's extensions."""
    return {uri.split("/")[-3] for uri in item["stac_extensions"]}


def only(kit: Kit, product: SandboxProduct, bands: str = "[]") -> dict[str, Any]:
    """Mirror some bands of a product; return its item."""
    kit.areas = f"{ZURICH}bands = {bands}\n"
    kit.sandbox.publish(product)
    kit.cycle()
    (item,) = items(kit)
    return item


def test_an_item_claims_what_its_fields_belong_to(kit: Kit) -> None:
    claimed = claims(only(kit, tiny(20)))
    assert claimed >= OF_EVERY_ITEM | {"eo", "raster", "view", "authentication", "storage"}
    assert "classification" not in claimed


@pytest.mark.long
def test_scene_classification_has_classes_only(kit: Kit) -> None:
    item = only(kit, small(20, cloud_cover_percent=None), '["SCL"]')
    assert claims(item) >= {"classification", "eo"}
    assert "eo:snow_cover" in item["properties"]
    assert "raster" not in claims(item)


def test_bands_alone_are_of_the_eo_extension(kit: Kit) -> None:
    item = only(kit, tiny(20, level="L1C", cloud_cover_percent=None))
    assert claims(item) >= {"eo", "raster"}


def test_eo_extension_needs_clouds_or_bands(kit: Kit) -> None:
    item = only(kit, tiny(20, level="L1C", cloud_cover_percent=None), '["B09"]')
    assert not any("bands" in asset for asset in item["assets"].values())
    assert claims(item).isdisjoint({"eo", "raster"})
    assert claims(item) >= {"file", "grid"}


@pytest.mark.long
def test_storage_extension_needs_typed_stores(kit: Kit) -> None:
    item = only(kit, tiny(20, item_style="2020"))
    assert "storage:schemes" in item["properties"]
    assert "storage" not in claims(item)


def test_what_nobody_can_fulfil_is_not_claimed(kit: Kit) -> None:
    item = only(kit, tiny(20))
    assert "eopf:datatake_id" in item["properties"]
    assert not any("eopf" in uri for uri in item["stac_extensions"])


def test_python_item_is_valid_with_its_collection(kit: Kit) -> None:
    held(kit, 20)
    with Mirror(kit.config) as mirror:
        (item,) = mirror.items()
    path = kit.folder / "item.json"
    path.write_text(json.dumps(item.to_dict()))
    assert faults_in(path) == []
    collection = item.get_collection()
    assert isinstance(collection, pystac.Collection)
    assert collection.id == "sentinel-2-l2a"


def test_without_local_catalog_items_link_to_cdse(kit: Kit) -> None:
    kit.sections["local_catalog"] = "enabled = false"
    held(kit, 20)
    with Mirror(kit.config) as mirror:
        (item,) = mirror.items()
    (link,) = item.get_links("collection")
    assert link.get_href() == f"{kit.sandbox.stac_url.rstrip('/')}/collections/sentinel-2-l2a"


@pytest.mark.long
def test_row_links_to_a_public_collection(
    kit: Kit,
) -> None:
    kit.sandbox.publish([tiny(20), tiny(22, level="L1C", cloud_cover_percent=None)])
    kit.cycle()
    assert kit.call("export", "geoparquet", "--out", str(kit.folder / "out")) == 0
    for level, more in (("l2a", {"eo"}), ("l1c", set[str]())):
        path = kit.folder / f"out/sentinel-2-{level}.parquet"
        (row,) = parquet.read_table(path).to_pylist()
        assert claims(row) == OF_EVERY_ITEM - {"file", "projection"} | {"view"} | more
        (link,) = row["links"]
        there = f"{kit.sandbox.stac_url.rstrip('/')}/collections/{row['collection']}"
        assert (link["rel"], link["href"]) == ("collection", there)
