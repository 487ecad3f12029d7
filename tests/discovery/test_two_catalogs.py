"""Completeness by two catalogs, and discovery by OData while the STAC catalog is away."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from discovery_kit import HERE, NOW, put, thin
from kit import SENSED_AT, Kit, tiny
from shapely.geometry import box, mapping

from s2mirror.adapters.odata import ODataCatalog
from s2mirror.adapters.odata.records import parse_records
from s2mirror.errors import CatalogError, CatalogUnavailable
from s2mirror.geometry import to_geojson
from s2mirror.model import CatalogQuery
from s2mirror.sandbox import Answer, Fault, Sandbox, SandboxProduct
from s2mirror.service.certificates import certify, certify_at_night, last_summary
from s2mirror.service.clients import odata_catalog, odata_options
from s2mirror.service.polling import poll_search
from s2mirror.service.wiring import Mirror
from s2mirror.steps.certify import Certificate
from s2mirror.steps.compare_catalogs import months_of
from s2mirror.stop import StopFlag

AWAY = Fault(answer=Answer(status=503), times=None)


@pytest.fixture(autouse=True)
def _short_period(kit: Kit) -> None:
    kit.areas = kit.areas.replace("start = 2020-01-01", "start = 2026-04-01")


def certificate(kit: Kit) -> Certificate:
    mirror = kit.mirror()
    (found,) = certify(mirror, mirror.searches)
    return found


def two_held(kit: Kit) -> list[SandboxProduct]:
    products = [tiny(20), tiny(27)]
    kit.sandbox.publish(products)
    kit.cycle()
    return products


@pytest.mark.long
def test_product_only_in_odata_is_named_and_fetched(kit: Kit) -> None:
    two_held(kit)
    unlisted = tiny(23)
    kit.sandbox.publish_in_odata_only(unlisted)
    (month,) = certificate(kit).months
    assert (month.by_stac, month.by_odata, month.held) == (2, 3, 2)
    assert month.only_odata == [unlisted.id]
    assert month.missing == {unlisted.id: "listed, but not in the ledger"}
    kit.cycle()
    assert kit.states()[unlisted.id] == "archived"
    found = certificate(kit)
    (month,) = found.months
    assert (month.by_stac, month.by_odata, month.held) == (2, 3, 3)
    assert found.complete


@pytest.mark.long
def test_product_only_in_stac_is_named(kit: Kit) -> None:
    first, _ = two_held(kit)
    kit.sandbox.odata.hide(first.id)
    found = certificate(kit)
    (month,) = found.months
    assert (month.by_stac, month.by_odata, month.held) == (2, 1, 2)
    assert month.only_stac == [first.id]
    assert found.complete


@pytest.mark.long
def test_product_in_neither_catalog_is_named(kit: Kit) -> None:
    first, _ = two_held(kit)
    kit.sandbox.withdraw(first.id, keep_objects=True)
    (month,) = certificate(kit).months
    assert (month.by_stac, month.by_odata) == (1, 1)
    assert month.in_neither == [first.id]


@pytest.mark.long
def test_equal_counts_list_no_products_by_odata(kit: Kit) -> None:
    two_held(kit)
    certificate(kit)
    paths = [exchange.path for exchange in kit.sandbox.odata_proxy.traffic.exchanges]
    products = [path for path in paths if "/Products" in path]
    assert products
    assert not [path for path in products if "expand" in path]


@pytest.mark.long
def test_certificate_without_odata_is_by_one_catalog(kit: Kit) -> None:
    two_held(kit)
    kit.sandbox.publish_in_odata_only(tiny(23))
    kit.sandbox.odata_proxy.inject(AWAY)
    found = certificate(kit)
    (month,) = found.months
    assert (month.by_stac, month.by_odata, month.only_odata) == (2, None, [])
    assert "answered 503" in found.one_catalog
    assert found.complete
    summary = last_summary(kit.mirror().ledger, "zurich")
    assert summary is not None
    assert not summary.two_catalogs


@pytest.mark.long
def test_product_outside_the_area_is_no_difference(kit: Kit) -> None:
    two_held(kit)
    kit.sandbox.publish_in_odata_only(tiny(23, tile="33UUP"))
    (month,) = certificate(kit).months
    assert (month.by_stac, month.by_odata, month.only_odata) == (2, 2, [])


@pytest.mark.long
def test_three_of_4000_products_are_found(kit: Kit) -> None:
    kit.areas = kit.areas.replace('"sentinel-2-l1c", ', "")
    clocks = [int(f"{n // 3600}{n // 60 % 60:02}{n % 60:02}") for n in range(4000)]
    items = [thin(NOW - n * timedelta(minutes=20), number=at) for n, at in enumerate(clocks)]
    put(kit.sandbox, items)
    mirror = kit.mirror()
    mirror.poller().poll(mirror.searches[0], StopFlag())
    odata_only, stac_only = ({items[n]["id"] for n in at} for at in ((5, 1999, 3990), (7, 8, 9)))
    for name in odata_only:
        record = kit.sandbox.catalogue.get(name)
        assert record is not None
        kit.sandbox.odata.add(record)
        kit.sandbox.catalogue.remove(name)
    for name in stac_only:
        kit.sandbox.odata.hide(name)
    (found,) = certify(mirror, mirror.searches)
    assert not found.one_catalog
    assert {name for month in found.months for name in month.only_odata} == odata_only
    assert {name for month in found.months for name in month.only_stac} == stac_only
    assert sum(month.by_stac for month in found.months) == 3997
    assert sum(month.by_odata or 0 for month in found.months) == 3997


def later(mirror: Mirror, hours: int) -> Mirror:
    return replace(mirror, now=lambda: mirror.now() + timedelta(hours=hours))


def poll(mirror: Mirror) -> None:
    for search in mirror.searches:
        with pytest.raises(CatalogUnavailable):
            poll_search(mirror, search, StopFlag())


@pytest.mark.long
def test_odata_finds_products_while_stac_is_away(kit: Kit) -> None:
    kit.sections["catalog"] = 'odata_after = "6 h"'
    two_held(kit)
    kit.sandbox.stac_proxy.inject(AWAY)
    new = tiny(29)
    kit.sandbox.publish(new)
    mirror = kit.mirror()
    # Seven hours without a poll, as of a stopped daemon, do not count.
    poll(later(mirror, 7))
    assert new.id not in kit.states()
    kit.sandbox.odata_proxy.inject(Fault(answer=Answer(status=422)))
    poll(later(mirror, 14))
    poll(later(mirror, 15))
    assert kit.states()[new.id] == "discovered"
    kit.sandbox.stac_proxy.reset()
    kit.cycle()
    assert kit.states()[new.id] == "archived"
    kit.assert_invariants()


@pytest.mark.long
def test_odata_finds_first_product_of_empty_search(kit: Kit) -> None:
    kit.cycle()
    kit.sandbox.stac_proxy.inject(AWAY)
    kit.sandbox.publish(tiny(29))
    for hours in (1, 8):
        poll(later(kit.mirror(), hours))
    assert list(kit.states().values()) == ["discovered"]


@pytest.mark.long
def test_unusable_listing_of_one_area_keeps_others(kit: Kit) -> None:
    products = two_held(kit)
    kit.areas += kit.areas.replace('"zurich"', '"basel"')
    kit.cycle()
    mirror = replace(kit.mirror(), now=lambda: SENSED_AT.replace(year=2027, hour=23))
    first = next(iter(mirror.area_names))
    other = next(name for name in mirror.area_names if name != first)
    kit.sandbox.stac_proxy.inject(Fault(path="/search", answer=Answer(status=400)))
    with pytest.raises(CatalogError):
        certify_at_night(mirror, StopFlag())
    assert last_summary(mirror.ledger, first) is None
    found = last_summary(mirror.ledger, other)
    assert found is not None
    assert found.held == len(products)


@pytest.mark.long
def test_areas_are_certified_at_night_only(kit: Kit) -> None:
    two_held(kit)
    day, night = (SENSED_AT.replace(year=2027, hour=hour) for hour in (12, 23))
    mirror = kit.mirror()
    certify_at_night(replace(mirror, now=lambda: day), StopFlag())
    assert last_summary(mirror.ledger, "zurich") is None
    certify_at_night(replace(mirror, now=lambda: night), StopFlag())
    found = last_summary(mirror.ledger, "zurich")
    assert found is not None
    assert (found.held, found.two_catalogs, found.checked_at) == (2, True, night)


def a_query(**changes: Any) -> CatalogQuery:  # noqa: ANN401 - CatalogQuery's fields
    values: dict[str, Any] = {
        "collection": "sentinel-2-l2a",
        "geometry_geojson": to_geojson(HERE),
        "published_from": None,
        "sensed_from": NOW - timedelta(days=70),
        "sensed_until": None,
        "max_cloud_cover_percent": None,
    }
    return CatalogQuery(**values | changes)


def test_months_cover_the_period_without_gaps() -> None:
    parts = [part for _, part in months_of(a_query(), NOW)]
    assert [month for month, _ in months_of(a_query(), NOW)] == [
        "2026-06",
        "2026-05",
        "2026-04",
        "2026-03",
    ]
    assert (parts[-1].sensed_from, parts[0].sensed_until) == (a_query().sensed_from, NOW)
    for later, earlier in pairwise(parts):
        assert earlier.sensed_until is not None
        assert later.sensed_from == earlier.sensed_until + timedelta(microseconds=1)


@pytest.mark.long
def test_complex_geometry_counts_only_what_is_inside(kit: Kit) -> None:
    ring = HERE.buffer(0.1, quad_segs=100).difference(box(8.5, 47.25, 8.8, 47.35))
    inside, outside = thin(NOW), thin(NOW, number=1)
    # It lies within the bounds of the ring, but not within the ring.
    outside["geometry"] = mapping(box(8.6, 47.28, 8.7, 47.3))
    put(kit.sandbox, [inside, outside])
    catalog = odata_catalog(kit.mirror().settings, kit.mirror().service_dates)
    assert catalog.count(a_query(geometry_geojson=to_geojson(ring), sensed_until=NOW)) == 1


def a_record(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - a JSON value
    name = "S2A_MSIL1C_20200808T010311_N0500_R045_T54PXA_20230413T212505.SAFE"
    return {
        "Name": name,
        "ContentLength": 224105657,
        "PublicationDate": "2023-08-23T09:26:23.105134Z",
        "S3Path": f"/eodata/Sentinel-2/MSI/L1C_N0500/2020/08/08/{name}",
        "ContentDate": {"Start": "2020-08-08T01:03:11.024000Z"},
        "GeoFootprint": mapping(box(142.3, 13.4, 142.9, 14.2)),
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Name": "S2A_MSIL1C_odd.SAFE"}, "not that of a Sentinel-2 product"),
        ({"S3Path": "/other/S2A"}, "bucket 'other'"),
        ({"S3Path": "/eodata/../etc/passwd"}, "path"),
        ({"GeoFootprint": None}, "geometry"),
        ({"ContentDate": {}}, "malformed"),
        ({"Attributes": [{"Name": "productType", "Value": "S2MSI2A"}]}, "product type"),
        ({"Attributes": 5}, "malformed"),
    ],
)
def test_unusable_record_is_rejected_with_reason(changes: Mapping[str, Any], reason: str) -> None:
    page = parse_records([a_record(**changes)], collection="sentinel-2-l1c", bucket="eodata")
    assert page.products == ()
    assert reason in page.rejected[0].reason


@pytest.mark.parametrize("size", [0, -1, True, "5", 10**18, None])
def test_odd_size_of_record_counts_as_unknown(size: object) -> None:
    page = parse_records(
        [a_record(ContentLength=size)], collection="sentinel-2-l1c", bucket="eodata"
    )
    assert page.products[0].size_bytes is None


@pytest.mark.parametrize("checksums", [None, []])
def test_record_without_checksums_is_usable(checksums: object) -> None:
    record = a_record(Checksum=checksums)
    page = parse_records([record], collection="sentinel-2-l1c", bucket="EODATA")
    assert page.rejected == ()
    assert page.products[0].s3_prefix.startswith("Sentinel-2/MSI/L1C_N0500/")


def test_real_record_becomes_a_product() -> None:
    folder = os.environ.get("S2MIRROR_SAMPLES")
    if not folder:
        pytest.skip("needs real CDSE samples: name their folder in S2MIRROR_SAMPLES")
    path = Path(folder) / "odata_products_search_S2_L1C_N0500_eodag.json"
    records = json.loads(path.read_text())["value"]
    page = parse_records(records, collection="sentinel-2-l1c", bucket="eodata")
    assert page.rejected == ()
    first = page.products[0]
    assert (first.tile, first.baseline, first.relative_orbit) == ("54PXA", "05.00", 45)
    assert first.cloud_cover_percent == pytest.approx(95.136736479015)
    assert set(page.properties[first.id]["s2mirror:zip_checksums"]) == {"MD5", "BLAKE3"}


def test_short_listing_of_odata_is_an_error(kit: Kit) -> None:
    sandbox: Sandbox = kit.sandbox
    body = json.dumps({"value": [], "@odata.count": 3}).encode()
    sandbox.odata_proxy.inject(Fault(answer=Answer(status=200, body=body), times=None))
    catalog = odata_catalog(kit.mirror().settings, kit.mirror().service_dates)
    with pytest.raises(Exception, match="counts 3 products but listed 0"):
        list(catalog.search(a_query()))


@pytest.mark.parametrize("published_from", [None, NOW - timedelta(days=9)])
def test_listing_continues_past_the_largest_skip(kit: Kit, published_from: datetime | None) -> None:
    put(kit.sandbox, [thin(NOW - timedelta(hours=n // 2), number=n) for n in range(20)])
    options = replace(odata_options(kit.mirror().settings), page_items=3, max_skip=6)
    pages = ODataCatalog(options).search(a_query(published_from=published_from))
    found = [product.id for page in pages for product in page.products]
    assert len(found) == len(set(found)) == 20
