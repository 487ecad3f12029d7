"""The values of a product by its own files, compared with the catalog's values of the same."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mirror.adapters.stac_catalog.items import parse_item
from s2mirror.errors import IntegrityError
from s2mirror.geometry import unpack
from s2mirror.model import Product
from s2mirror.safe_metadata import product_of
from s2mirror.sandbox import ProductSpec, SandboxProduct, make_product


def made(**given: Any) -> SandboxProduct:  # noqa: ANN401 - ProductSpec's fields
    return make_product(ProductSpec(**{"scale": 0.0001} | given))


def by_itself(product: SandboxProduct) -> Product:
    level = product.collection[-3:].upper()
    files = product.files
    return product_of(product.id, files["manifest.safe"], files[f"MTD_MSI{level}.xml"])


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"level": "L1C", "cloud_cover_percent": None},
        {"baseline": "02.14", "checksum": "MD5", "sensed_at": datetime(2020, 3, 1, tzinfo=UTC)},
        {"baseline": "05.00", "sensed_at": datetime(2020, 3, 1, tzinfo=UTC)},
        {"baseline": "05.10", "sensed_at": datetime(2023, 12, 20, tzinfo=UTC)},
        {"tile": "01WCP"},
    ],
)
def test_own_files_say_what_the_catalog_says(given: dict[str, Any]) -> None:
    product = made(**given)
    listed = parse_item(product.item, collection=product.collection, bucket="eodata")
    found = by_itself(product)
    assert found == replace(
        listed,
        published_at=listed.generated_at,
        size_bytes=None,
        footprint_wkb=found.footprint_wkb,
    )
    shapes = unpack(found.footprint_wkb), unpack(listed.footprint_wkb)
    assert shapes[0].symmetric_difference(shapes[1]).area < 1e-6


def test_name_says_what_the_metadata_lacks() -> None:
    product = made()
    found = product_of(product.id, product.files["manifest.safe"], b"")
    assert found.cloud_cover_percent is None
    assert (found.datatake_id, found.datastrip_id) == ("", "")
    assert found.generated_at == found.published_at == by_itself(product).generated_at


def test_manifest_without_a_footprint_is_refused() -> None:
    product = made()
    document = product.files["manifest.safe"].replace(b"coordinates", b"nothing")
    with pytest.raises(IntegrityError, match="has no usable footprint"):
        product_of(product.id, document, b"")


@given(st.binary(max_size=300), st.integers(0, 3000), st.binary(max_size=20))
def test_any_bytes_give_a_product_or_a_reason(metadata: bytes, at: int, noise: bytes) -> None:
    document = made().files["manifest.safe"]
    try:
        found = product_of(made().id, document[:at] + noise + document[at + len(noise) :], metadata)
    except IntegrityError:
        return
    assert found.id == made().id
