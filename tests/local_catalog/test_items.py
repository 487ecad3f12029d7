"""The local catalog, read by independent libraries."""

from pathlib import Path
from typing import Any

import pystac_client
import pytest
from catalog_kit import (
    PRUNED_AT_ONCE,
    dangling,
    documents,
    faults_in,
    folder_of,
    held,
    items_of,
    multihash,
    opened,
    restarted,
)
from kit import ZURICH, Kit, small, tiny

from s2mirror.preview_model import Outcome, Preview


@pytest.mark.long
def test_held_products_have_items_with_catalog_properties(kit: Kit) -> None:
    products = held(kit, 20, 22)
    items = items_of(kit)
    assert set(items) == {product.id for product in products}
    for product in products:
        ours = items[product.id].to_dict(transform_hrefs=False)["properties"]
        assert product.item["properties"].items() <= ours.items()


@pytest.mark.long
def test_item_assets_have_size_and_digest(kit: Kit) -> None:
    products = [small(20), small(22, level="L1C")]
    kit.sandbox.publish(products)
    kit.cycle()
    for product in products:
        item = items_of(kit)[product.id].make_asset_hrefs_absolute()
        upstream = set(product.item["assets"]) - {"Product"}
        assert set(item.assets) == upstream | {"PVI"}
        for asset in item.assets.values():
            content = Path(asset.href).read_bytes()
            path = asset.href.partition(".SAFE/")[2]
            assert content == product.files[path]
            assert asset.extra_fields["file:size"] == len(content)
            assert asset.extra_fields["file:checksum"] in multihash(content)


@pytest.mark.long
def test_item_assets_match_the_stac_catalog(kit: Kit) -> None:
    product = small(20)
    kit.sandbox.publish(product)
    kit.cycle()
    ours = items_of(kit)[product.id].to_dict(transform_hrefs=False)["assets"]
    for key in ("B02_10m", "B8A_20m", "AOT_60m"):
        theirs = product.item["assets"][key]
        shared = ("type", "gsd", "nodata", "data_type", "proj:code", "proj:shape")
        assert {name: ours[key][name] for name in shared} == {n: theirs[n] for n in shared}
        assert ours[key]["bands"][0]["name"] == theirs["bands"][0]["name"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("baseline", "changes", "offset"),
    [
        ("02.07", {}, 0),
        ("05.12", {}, -0.1),
        ("05.12", {"has_offset": False}, 0),
        ("02.14", {"has_offset": True, "level": "L1C"}, -0.1),
    ],
)
def test_reflectances_convert_as_their_metadata_says(
    kit: Kit, baseline: str, changes: dict[str, Any], offset: float
) -> None:
    kit.areas = ZURICH + "bands = ['B02', 'SCL']"
    product = tiny(20, baseline=baseline, **changes)
    kit.sandbox.publish(product)
    kit.cycle()
    item = items_of(kit)[product.id]
    fields = item.assets["B02" if product.collection.endswith("l1c") else "B02_10m"].extra_fields
    assert (fields["raster:scale"], fields["raster:offset"]) == (0.0001, offset)
    assert "s2mirror:no_conversion" not in item.properties
    kit.assert_invariants()


def test_unclear_metadata_gives_item_without_conversion(kit: Kit) -> None:
    product = tiny(20, quantification=0)
    kit.sandbox.publish(product)
    kit.cycle()
    item = items_of(kit)[product.id]
    assert item.properties["s2mirror:no_conversion"] == (
        "the product's metadata has BOA_QUANTIFICATION_VALUE 0; expected a positive number"
    )
    for asset in item.assets.values():
        assert not {"raster:scale", "raster:offset"} & set(asset.extra_fields)
    assert kit.call("audit") == 0


def test_item_has_source_and_verification_time(kit: Kit) -> None:
    (product,) = held(kit, 20)
    history = {step.event: step.at for step in kit.mirror().ledger.products.history(product.id)}
    properties = items_of(kit)[product.id].properties
    assert properties["s2mirror:source"] == f"s3://eodata/{product.prefix}"
    for name, event in (("fetched_at", "claim"), ("verified_at", "publish")):
        assert properties[f"s2mirror:{name}"] == history[event].isoformat().replace("+00:00", "Z")


def test_the_quicklook_is_an_overview(kit: Kit) -> None:
    (product,) = held(kit, 20)
    (asset,) = items_of(kit)[product.id].get_assets(role="overview").values()
    assert asset.href.endswith(f"{product.id}.SAFE/{product.id}-ql.jpg")


def test_bbox_crosses_the_antimeridian(kit: Kit) -> None:
    kit.areas = '[[area]]\nname = "a"\ntiles = ["01WCP"]\nstart = 2020-01-01\n'
    product = tiny(20, tile="01WCP")
    kit.sandbox.publish(product)
    kit.cycle()
    west, _, east, _ = items_of(kit)[product.id].bbox or [0.0] * 4
    assert west > 170
    assert east < -170


@pytest.mark.long
def test_the_validator_has_nothing_against_any_document(kit: Kit) -> None:
    products = [tiny(20), tiny(22, level="L1C"), tiny(24, item_style="2025")]
    kit.sandbox.publish(products)
    kit.cycle()
    found = {str(path): faults_in(path) for path, _ in documents(folder_of(kit))}
    assert len(found) >= len(products) + 3
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_the_validator_would_say_what_is_wrong(kit: Kit, tmp_path: Path) -> None:
    held(kit, 20)
    path = next(path for path, found in documents(folder_of(kit)) if found["type"] == "Feature")
    broken = tmp_path / "broken.json"
    broken.write_text(path.read_text().replace('"geometry"', '"geometrie"'))
    assert faults_in(broken)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Falling back to pystac")
def test_pystac_client_opens_it_as_a_file(kit: Kit) -> None:
    products = held(kit, 20, 22)
    client = pystac_client.Client.from_file(str(folder_of(kit) / "catalog.json"))
    assert {item.id for item in client.get_items(recursive=True)} == {p.id for p in products}
    assert [found.id for found in client.get_collections()] == ["sentinel-2-l2a"]


@pytest.mark.long
def test_items_are_sorted_by_month_and_tile(kit: Kit) -> None:
    kit.sandbox.publish([tiny(20), tiny(22, level="L1C")])
    kit.cycle()
    titles = [title for _, title in sorted((c.id, c.title) for c in opened(kit).get_children())]
    assert titles == ["Sentinel-2 Level-1C", "Sentinel-2 Level-2A"]
    (month,) = next(iter(opened(kit).get_children())).get_children()
    (tile,) = month.get_children()
    assert (month.title, tile.title) == (
        "sentinel-2-l1c, 2026-05",
        "sentinel-2-l1c, 2026-05, tile 32TMT",
    )


def test_a_collection_reaches_over_all_that_it_has(kit: Kit) -> None:
    held(kit, 20, 22)
    (found,) = opened(kit).get_collections()
    assert found.extent.spatial.bboxes == [[7, 46, 10, 48]]
    assert found.extent.temporal.to_dict() == {"interval": [["2026-05-01T00:00:00Z", None]]}


@pytest.mark.long
def test_what_is_pruned_leaves_and_no_link_dangles(kit: Kit) -> None:
    products = held(kit, 20, 22)
    (kit.archive / products[0].prefix).with_suffix(".SAFE.processed").touch()
    kit.sections["prune"] = 'after = "0 s"'
    kit.cycle()
    assert set(items_of(kit)) == {products[1].id}
    assert dangling(folder_of(kit)) == []


@pytest.mark.long
def test_catalog_without_products_is_empty(kit: Kit) -> None:
    kit.sections["prune"] = PRUNED_AT_ONCE
    held(kit, 20, 22)
    assert [path.name for path, _ in documents(folder_of(kit))] == ["catalog.json"]
    assert items_of(kit) == {}


@pytest.mark.long
def test_republished_product_gets_a_new_item(kit: Kit) -> None:
    kit.sandbox.publish(tiny(20))
    kit.cycle()
    new = tiny(20, seed=1)
    kit.sandbox.replace(new)
    kit.cycle(kit.later(days=8))
    asset = items_of(kit)[new.id].make_asset_hrefs_absolute().assets["B02_10m"]
    path = asset.href.partition(".SAFE/")[2]
    assert asset.extra_fields["file:checksum"] in multihash(new.files[path])


def test_rendered_preview_is_an_overview_asset(kit: Kit) -> None:
    (product,) = held(kit, 20)
    mirror = kit.mirror()
    paths = ("previews/x.ndvi.png", "previews/x.ndvi-2.png")
    drawn = Preview(
        subject=product.id,
        name="ndvi",
        outcome=Outcome.MADE,
        paths=paths,
        reason="",
        made_at=mirror.now(),
        units=1.0,
    )
    mirror.ledger.previews.record(drawn)
    restarted(kit)
    item = items_of(kit)[product.id].make_asset_hrefs_absolute()
    parts = [item.assets[f"preview_ndvi_{number}"] for number in range(2)]
    assert len(item.get_assets(role="overview")) == len(["thumbnail", *parts])
    assert [asset.href for asset in parts] == [str(kit.archive / path) for path in paths]
    assert [asset.title for asset in parts] == ["Preview: ndvi", "Preview: ndvi, part 2"]
    assert {asset.media_type for asset in parts} == {"image/png"}
    assert kit.faults() == []
