import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from s2mirror.checksum import new_hasher, stac_digest
from s2mirror.geometry import footprint
from s2mirror.manifest import parse_manifest
from s2mirror.naming import parse_name
from s2mirror.sandbox import NORTH_HALF, SOUTH_HALF, ProductSpec, SandboxProduct, make_item
from s2mirror.sandbox import make_product as make
from s2mirror.sandbox.assets import LEAKED_ABSENT_VALUE

SPECS = [
    ProductSpec(level="L1C"),
    ProductSpec(level="L2A"),
    ProductSpec(level="L2A", checksum="MD5", baseline="02.14"),
    ProductSpec(level="L1C", tile="01WCP", scale=0.0),
]


def verify(product: SandboxProduct) -> None:
    for listed in parse_manifest(product.files["manifest.safe"]).values():
        content = product.files[listed.path]
        hasher = new_hasher(listed.digest.algorithm)
        hasher.update(content)
        assert (len(content), hasher.hexdigest()) == (listed.size_bytes, listed.digest.hexdigest)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.level}-{spec.checksum}")
def test_files_match_sizes_and_digests_of_manifest(spec: ProductSpec) -> None:
    verify(make(spec))


def test_changed_file_does_not_match_manifest() -> None:
    product = make(ProductSpec())
    broken = replace(product, files={**product.files, "INSPIRE.xml": b"x"})
    with pytest.raises(AssertionError):
        verify(broken)


@pytest.mark.parametrize(("level", "count"), [("L1C", 59), ("L2A", 86)])
def test_manifest_has_object_count_of_real_ones(level: str, count: int) -> None:
    assert len(parse_manifest(make(ProductSpec(level=level)).files["manifest.safe"])) == count


@pytest.mark.parametrize(("level", "cases"), [("L1C", (44, 15)), ("L2A", (17, 69))])
def test_sha3_digests_mix_cases_as_real_ones(level: str, cases: tuple[int, int]) -> None:
    text = make(ProductSpec(level=level)).files["manifest.safe"].decode()
    digests = re.findall(r'checksumName="SHA3-256">(\w{64})<', text)
    assert (sum(d.islower() for d in digests), sum(d.isupper() for d in digests)) == cases


def test_md5_digests_are_lower_case() -> None:
    product = make(ProductSpec(checksum="MD5"))
    digests = re.findall(r'checksumName="MD5">(\w{32})<', product.files["manifest.safe"].decode())
    assert len(digests) == 86
    assert all(digest == digest.lower() for digest in digests)


def test_files_outside_manifest_are_those_of_cdse() -> None:
    product = make(ProductSpec(level="L1C"))
    listed = parse_manifest(product.files["manifest.safe"])
    loose = Counter(path.partition("/")[0] for path in product.files if path not in listed)
    expected = {"rep_info": 4, "HTML": 4, "AUX_DATA": 1, "manifest.safe": 1}
    assert loose == {**expected, f"{product.id}-ql.jpg": 1}
    assert product.files["AUX_DATA/"] == b""


def test_equal_specs_give_equal_products() -> None:
    assert make(ProductSpec(seed=3)) == make(ProductSpec(seed=3))
    assert make(ProductSpec(seed=3)).files != make(ProductSpec(seed=4)).files


def test_product_is_small_by_default() -> None:
    sizes = [len(content) for content in make(ProductSpec()).files.values()]
    assert 1_000_000 < sum(sizes) < 4_000_000
    assert max(sizes) < 400_000
    assert make(ProductSpec(scale=0.02)).size_bytes > 20_000_000


def test_product_name_has_values_of_spec() -> None:
    sensed_at = datetime(2026, 9, 25, 10, 20, 31, tzinfo=UTC)
    spec = ProductSpec(tile="33UUP", sensed_at=sensed_at, baseline="05.13", relative_orbit=22)
    name = parse_name(make_item(spec).id)
    assert name is not None
    assert (name.tile, name.sensed_at, name.baseline, name.relative_orbit) == (
        *("33UUP", sensed_at, "05.13"),
        22,
    )
    assert name.discriminator == sensed_at + timedelta(hours=3)


@pytest.mark.parametrize(
    ("baseline", "sensed_on", "folder"),
    [
        ("05.12", "2026-05-27", "L2A/2026/05/27"),
        ("05.00", "2020-03-01", "L2A_N0500/2020/03/01"),
        ("05.10", "2023-01-15", "L2A_N0500/2023/01/15"),
        ("05.10", "2024-01-16", "L2A/2024/01/16"),
    ],
)
def test_keys_have_folders_of_cdse(baseline: str, sensed_on: str, folder: str) -> None:
    sensed_at = datetime.fromisoformat(f"{sensed_on}T10:20:31Z")
    product = make_item(ProductSpec(baseline=baseline, sensed_at=sensed_at))
    assert product.prefix == f"Sentinel-2/MSI/{folder}/{product.id}.SAFE/"


@pytest.mark.parametrize(("level", "count"), [("L1C", 21), ("L2A", 47)])
def test_item_has_fewer_assets_than_product_files(level: str, count: int) -> None:
    product = make(ProductSpec(level=level))
    assert len(product.item["assets"]) == count < len(product.files)


def test_xml_assets_are_labelled_md5_and_contain_sha3() -> None:
    assets = make(ProductSpec()).item["assets"]
    checksum = assets["product_metadata"]["file:checksum"]
    assert checksum.startswith("d50120")
    digest = stac_digest(checksum)
    assert digest is not None
    assert digest.algorithm == "sha3_256"
    assert assets["B02_10m"]["file:checksum"].startswith("1620")
    assert assets["safe_manifest"]["file:checksum"].startswith("d50110")


def test_old_item_has_leaked_value_and_no_enclosure() -> None:
    old = make(ProductSpec(item_style="2020")).item
    new = make(ProductSpec()).item
    assert [link["rel"] for link in old["links"]] == ["version-history"]
    assert [link["rel"] for link in new["links"]] == ["enclosure", "version-history"]
    assert old["assets"]["Product"]["storage:refs"] == LEAKED_ABSENT_VALUE
    assert ("_private" in old["properties"], "_private" in new["properties"]) == (False, True)
    assert "CLD_20m" not in old["assets"]


def test_datastrip_halves_cover_the_whole_tile() -> None:
    whole, north, south = (
        footprint(make_item(spec).item["geometry"])
        for spec in (ProductSpec(), ProductSpec(covers=NORTH_HALF), ProductSpec(covers=SOUTH_HALF))
    )
    assert north.area < whole.area > south.area
    assert north.union(south).area == pytest.approx(whole.area)
    assert north.intersects(south)


def test_item_dates_have_order_of_cdse() -> None:
    properties = make_item(ProductSpec()).item["properties"]
    order = ("datetime", "processing:datetime", "created", "published")
    times = [datetime.fromisoformat(properties[name]) for name in order]
    assert times == sorted(times)
    assert properties["published"] == "2026-05-27T14:20:31.217000Z"
    assert properties["created"] == properties["eopf:origin_datetime"]
