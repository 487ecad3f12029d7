import os
from pathlib import Path

import pytest

from s2mirror.checksum import new_hasher
from s2mirror.errors import UsageError
from s2mirror.manifest import parse_manifest
from s2mirror.sandbox import ProductSpec, RealMaterial, from_real, make_product

ITEM_2026 = "S2C_MSIL2A_20260527T014651_N0512_R017_T55WFR_20260527T042005"


@pytest.fixture(scope="module")
def material() -> RealMaterial:
    folder = os.environ.get("S2MIRROR_SAMPLES")
    if not folder:
        pytest.skip("set S2MIRROR_SAMPLES to the folder of recorded CDSE files")
    return from_real(Path(folder))


@pytest.mark.parametrize(
    ("product_id", "count", "algorithm", "upper"),
    [
        ("S2A_MSIL1C_20230216T044851_N0509_R076_T46UEU_20230216T063628", 59, "sha3_256", 15),
        ("S2A_MSIL2A_20230625T234621_N0509_R073_T01WCP_20230626T022157", 86, "sha3_256", 69),
        ("S2B_MSIL2A_20210122T133229_N0214_R081_T22HBD_20210122T155500", 123, "md5", 0),
    ],
)
def test_real_manifest_keeps_objects_algorithm_and_case(
    material: RealMaterial, product_id: str, count: int, algorithm: str, upper: int
) -> None:
    product = next(found for found in material.products if found.id == product_id)
    listed = parse_manifest(product.files["manifest.safe"])
    assert len(listed) == count
    assert {found.digest.algorithm for found in listed.values()} == {algorithm}
    lines = product.files["manifest.safe"].decode().split("</checksum>")[:-1]
    assert sum(line.rpartition(">")[2].isupper() for line in lines) == upper


def test_products_from_recordings_match_their_manifests(material: RealMaterial) -> None:
    assert len(material.products) == 6
    for product in material.products:
        for listed in parse_manifest(product.files["manifest.safe"]).values():
            hasher = new_hasher(listed.digest.algorithm)
            hasher.update(product.files[listed.path])
            assert hasher.hexdigest() == listed.digest.hexdigest
            assert len(product.files[listed.path]) == listed.size_bytes


def test_real_item_is_served_as_recorded(material: RealMaterial) -> None:
    product = next(found for found in material.products if found.id == ITEM_2026)
    assert product.item["assets"]["Product"]["file:size"] == 1186276262
    assert len(parse_manifest(product.files["manifest.safe"])) == 86
    hrefs = {asset["href"] for asset in product.item["assets"].values()}
    keys = {f"s3://eodata/{key}" for key in product.keys}
    assert len(hrefs - keys) == 2  # the zip and the thumbnail have https URLs


def test_unusable_files_are_listed_with_reason(material: RealMaterial) -> None:
    assert len(material.used) == 6
    reasons = material.passed_over
    assert reasons["search_empty_2025-07-09.json"] == "the file is a search response without items"
    assert reasons["landing_2026-04-30.json"] == "the file is JSON and not a Sentinel-2 item"


def test_generated_manifest_is_read_like_real_one(tmp_path: Path) -> None:
    product = make_product(ProductSpec(level="L1C", tile="33UUP"))
    folder = tmp_path / f"{product.id}.SAFE"
    folder.mkdir()
    (folder / "manifest.safe").write_bytes(product.files["manifest.safe"])
    again = from_real(tmp_path, scale=1).products[0]
    assert (again.id, again.prefix) == (product.id, product.prefix)
    assert parse_manifest(again.files["manifest.safe"]).keys() == (
        parse_manifest(product.files["manifest.safe"]).keys()
    )


def test_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(UsageError, match="found none that can be used"):
        from_real(tmp_path)
