import copy
import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from adapters_builders import made_item, record, sample
from builders import NOW
from hypothesis import given, settings
from hypothesis import strategies as st

from s2mirror.adapters.ledger import Ledger, open_ledger
from s2mirror.adapters.stac_catalog import parse_item, parse_page
from s2mirror.errors import ItemRejected
from s2mirror.geometry import unpack
from s2mirror.model import Product

if TYPE_CHECKING:
    from pathlib import Path

L1C, L2A = "sentinel-2-l1c", "sentinel-2-l2a"
ITEM_2026 = "search_sentinel-2-l2a_S2C_20260527_N0512.json"
ITEM_2020 = "item_sentinel-2-l2a_S2A_20200301_N0500_T35UPU_2026-04-30.json"
ITEM_L1C = "S2A_MSIL1C_20240116T000741_N0510_R130_T51CVP_20240116T010505.json"
MADE = made_item()


def real(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(sample(name).read_text(encoding="utf-8"))
    return document["features"][0] if "features" in document else document


def parse(item: object, collection: str = L2A) -> Product:
    return parse_item(item, collection=collection, bucket="eodata")


def without(*path: str) -> dict[str, Any]:
    """Return the generated item without one of its parts."""
    item = copy.deepcopy(MADE)
    holder = item
    for name in path[:-1]:
        holder = holder[name]
    holder.pop(path[-1], None)
    return item


def changed(value: object, *path: str) -> dict[str, Any]:
    item = copy.deepcopy(MADE)
    holder = item
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = value
    return item


def nameless(*path: str) -> dict[str, Any]:
    """Return an item with a name that cannot be parsed, without one of its parts."""
    text = json.dumps(without(*path)).replace(MADE["id"], "S2_SOMETHING")
    item: dict[str, Any] = json.loads(text)
    return item


def _timeless() -> dict[str, Any]:
    item = without("properties", "datetime")
    item["properties"].pop("start_datetime", None)
    return item


def _null_time() -> dict[str, Any]:
    item = _timeless()
    item["properties"]["datetime"] = None
    return item


def _in_bucket(bucket: str) -> dict[str, Any]:
    """Return the generated item with every address in a bucket as *bucket* spells it."""
    text = json.dumps(MADE).replace("s3://eodata/", bucket)
    item: dict[str, Any] = json.loads(text)
    return item


def reason_for(item: object, collection: str = L2A) -> str:
    with pytest.raises(ItemRejected) as caught:
        parse(item, collection)
    return str(caught.value)


def test_real_item_of_2026_becomes_a_product() -> None:
    found = parse(real(ITEM_2026))
    assert found.id == "S2C_MSIL2A_20260527T014651_N0512_R017_T55WFR_20260527T042005"
    assert (found.tile, found.baseline, found.relative_orbit) == ("55WFR", "05.12", 17)
    assert found.platform == "sentinel-2c"
    assert found.s3_prefix == f"Sentinel-2/MSI/L2A/2026/05/27/{found.id}.SAFE/"
    assert found.sensed_at.replace(microsecond=0) == datetime(2026, 5, 27, 1, 46, 51, tzinfo=UTC)
    assert found.published_at > found.generated_at > found.sensed_at
    assert found.size_bytes is not None
    assert 10**8 < found.size_bytes < 2 * 10**9
    assert unpack(found.footprint_wkb).is_valid


def test_real_item_without_enclosure_becomes_a_product() -> None:
    item = real(ITEM_2020)
    assert not [link for link in item["links"] if link["rel"] == "enclosure"]
    found = parse(item)
    assert found.id.startswith("S2A_MSIL2A_20200301T")
    assert (found.tile, found.baseline, found.platform) == ("35UPU", "05.00", "sentinel-2a")
    assert found.s3_prefix.endswith(f"/2020/03/01/{found.id}.SAFE/")
    assert found.s3_prefix.startswith("Sentinel-2/MSI/L2A")


def test_real_l1c_item_becomes_a_product() -> None:
    found = parse(real(ITEM_L1C), L1C)
    assert (found.tile, found.baseline, found.relative_orbit) == ("51CVP", "05.10", 130)
    assert found.s3_prefix.endswith(f"/L1C/2024/01/16/{found.id}.SAFE/")
    assert found.generated_at.date() == datetime(2024, 1, 16, tzinfo=UTC).date()


def test_storage_refs_of_wrong_type_are_ignored() -> None:
    item = copy.deepcopy(MADE)
    for asset in item["assets"].values():
        asset["storage:refs"] = "__KEEP_THIS_MARKER__"
    assert parse(item) == parse(MADE)


@pytest.mark.parametrize(
    "path",
    [
        ("collection",),
        ("properties", "platform"),
        ("properties", "grid:code"),
        ("properties", "processing:version"),
        ("properties", "sat:relative_orbit"),
        ("properties", "created"),
    ],
    ids=lambda path: path[-1],
)
def test_values_in_the_name_may_be_missing(path: tuple[str, ...]) -> None:
    assert parse(without(*path)) == parse(MADE)


@pytest.mark.parametrize(
    "path",
    [("properties", "eo:cloud_cover"), ("properties", "processing:datetime"), ("links",)],
    ids=lambda path: path[-1],
)
def test_optional_values_may_be_missing(path: tuple[str, ...]) -> None:
    assert parse(without(*path)).id == MADE["id"]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ([], "it is list, not a STAC item"),
        (without("id"), "product id '' is not made of letters"),
        (without("properties"), "it has no 'published' time"),
        (without("geometry"), "its geometry is null, not a GeoJSON object"),
        (changed(None, "geometry"), "its geometry is null, not a GeoJSON object"),
        (changed([], "geometry"), "its geometry is list, not a GeoJSON object"),
        (_timeless(), "it has no 'datetime' time"),
        (_null_time(), "its 'datetime' is null, and it has no 'start_datetime'"),
        (nameless("properties", "platform"), "its platform is ''; expected sentinel-2a, -2b, …"),
        (nameless("properties", "grid:code"), "it is malformed: '' is not an MGRS tile; expected"),
        (nameless("properties", "processing:version"), "its processing:version is ''; expected a"),
        (nameless("properties", "sat:relative_orbit"), "it has no sat:relative_orbit"),
        (changed("2026-05-27T10:20:31", "properties", "published"), "it is malformed: '2026-05-27"),
        (changed("landsat-9", "properties", "platform"), "its platform is 'landsat-9'; expected"),
        (changed("sentinel-1-grd", "collection"), "it belongs to 'sentinel-1-grd', not to 'sentin"),
        (changed("../../etc", "id"), "product id '../../etc' is not made of letters"),
        (changed({}, "assets") | {"links": []}, "none of its links and assets points to its"),
        (
            changed([{"rel": "enclosure", "href": f"s3://mine/a/{MADE['id']}.SAFE/"}], "links"),
            "it is stored in bucket 'mine', not in 'eodata'",
        ),
        (
            changed([{"rel": "enclosure", "href": f"s3://eodata/../{MADE['id']}.SAFE/"}], "links"),
            "path '../",
        ),
        *(
            (
                changed(
                    [{"rel": "enclosure", "href": f"s3://eodata/{x}/{MADE['id']}.SAFE/"}], "links"
                ),
                f"path '{x}/{MADE['id']}.SAFE' is not made of letters, digits",
            )
            for x in ("$(touch x)", "`touch x`", "a;touch x", "a b", "{area}", "a|b", "é")
        ),
        (changed("0001-01-01T00:00:00+14:00", "properties", "published"), "it is malformed: "),
    ],
)
def test_unusable_item_is_rejected_with_the_reason(item: object, reason: str) -> None:
    assert reason_for(item).startswith(reason)


def test_missing_published_time_falls_back_to_created() -> None:
    item = without("properties", "published")
    item["properties"]["created"] = "2026-05-28T00:00:00Z"
    assert parse(item).published_at == datetime(2026, 5, 28, tzinfo=UTC)
    assert reason_for(_without_times(item)) == "it has no 'published' time"


def _without_times(item: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in item["properties"].items() if k not in ("published", "created")}
    return {**item, "properties": kept}


def _with_small_times() -> dict[str, Any]:
    item = copy.deepcopy(MADE)
    for name, value in item["properties"].items():
        if isinstance(value, str) and value.endswith("Z"):
            item["properties"][name] = value.lower()
    return item


RESPELLED = {
    **{f"platform {text}": changed(text, "properties", "platform") for text in
       ("S2C", "s2c", "Sentinel-2C", "SENTINEL-2C", "sentinel 2c", "Sentinel2C")},
    "small z": _with_small_times(),
    "bucket in capitals": _in_bucket("s3://EODATA/"),
    "scheme in capitals": _in_bucket("S3://eodata/"),
    "id with .SAFE": changed(f"{MADE['id']}.SAFE", "id"),
}  # fmt: skip


@pytest.mark.parametrize("item", RESPELLED.values(), ids=RESPELLED)
def test_item_spelled_otherwise_is_the_same_product(item: dict[str, Any]) -> None:
    assert parse(item) == parse(MADE)
    page = parse_page({"features": [item]}, collection=L2A, bucket="eodata")
    assert page.properties == {MADE["id"]: MADE["properties"]}


@pytest.mark.parametrize("value", [True, -1, 0, "7", 7.5, None, 2**63, [7]])
def test_invalid_size_counts_as_unknown(value: object) -> None:
    item = copy.deepcopy(MADE)
    item["assets"].pop("Product", None)
    item["properties"]["_private"] = {"product_size": value}
    assert parse(item).size_bytes is None


@pytest.mark.parametrize("value", [math.nan, math.inf, 10**400, "12", True, None])
def test_invalid_cloud_cover_counts_as_unknown(value: object) -> None:
    assert parse(changed(value, "properties", "eo:cloud_cover")).cloud_cover_percent is None


@pytest.mark.parametrize("value", [-1, 0, 1000, 2**70, True])
def test_invalid_orbit_is_replaced_by_the_name(value: object) -> None:
    assert parse(changed(value, "properties", "sat:relative_orbit")).relative_orbit == 65


def test_one_bad_item_keeps_its_page_usable() -> None:
    page = parse_page(
        {"features": [MADE, "nonsense", {"id": "x"}]}, collection=L2A, bucket="eodata"
    )
    assert [found.id for found in page.products] == [MADE["id"]]
    assert [(found.id, found.collection) for found in page.rejected] == [
        ("(no id)", L2A),
        ("x", L2A),
    ]


NASTY = [
    None, True, -1, 0, 2**64, 10**400, math.nan, math.inf, "", "x", "\ud800", "\x00", "../..",
    "s3://eodata/", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", [], [[]], {},
    {"type": "\ud800", "coordinates": []}, {"href": "\ud800"}, [{"rel": "enclosure"}],
]  # fmt: skip
JUNK = st.sampled_from(NASTY) | st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)
PLACES = [
    ("id",), ("collection",), ("properties",), ("geometry",), ("assets",), ("links",), ("links", 0),
    ("links", 0, "href"), ("geometry", "coordinates"), ("geometry", "coordinates", 0),
    ("geometry", "coordinates", 0, 1), ("geometry", "type"), ("assets", "safe_manifest"),
    ("assets", "safe_manifest", "file:checksum"), ("assets", "Product"),
    ("assets", "Product", "file:size"), ("assets", "safe_manifest", "href"),
    *(
        ("properties", name)
        for name in (
            "platform", "grid:code", "processing:version", "sat:relative_orbit", "published",
            "created", "datetime", "start_datetime", "processing:datetime", "eo:cloud_cover",
            "eopf:datatake_id", "eopf:datastrip_id", "_private",
        )
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    folder: Path = tmp_path_factory.mktemp("ledger")
    return open_ledger(folder / "ledger.db")


@pytest.mark.long
def test_no_odd_value_anywhere_stops_a_poll(ledger: Ledger) -> None:
    items = [changed_at(path, value) for path in PLACES for value in NASTY]
    page = parse_page({"features": items}, collection=L2A, bucket="eodata")
    assert page.item_count == len(PLACES) * len(NASTY)
    record(ledger, *page.products)
    ledger.cursors.reject(page.rejected, now=NOW)
    assert all(found.reason for found in ledger.cursors.rejected(since=NOW))


@pytest.mark.long
@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(PLACES), JUNK), min_size=1, max_size=3))
def test_every_item_becomes_product_or_recorded_rejection(
    ledger: Ledger, changes: list[tuple[tuple[Any, ...], object]]
) -> None:
    item = copy.deepcopy(MADE)
    for path, value in changes:
        _put(item, path, value)
    page = parse_page({"features": [item]}, collection=L2A, bucket="eodata")
    assert page.item_count == 1
    record(ledger, *page.products)
    ledger.cursors.reject(page.rejected, now=NOW)
    for found in page.rejected:
        assert found in ledger.cursors.rejected(since=NOW)


def changed_at(path: tuple[Any, ...], value: object) -> dict[str, Any]:
    item = copy.deepcopy(MADE)
    _put(item, path, value)
    return item


def _put(item: Any, path: tuple[Any, ...], value: object) -> None:  # noqa: ANN401 - any JSON
    for name in path[:-1]:
        try:
            item = item[name]
        except (KeyError, IndexError, TypeError):
            return
    fits = isinstance(item, list) and isinstance(path[-1], int) and len(item) > path[-1]
    if isinstance(item, dict) or fits:
        item[path[-1]] = value
