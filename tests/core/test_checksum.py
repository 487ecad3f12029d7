import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mirror.checksum import manifest_digest, new_hasher, stac_digest
from s2mirror.errors import IntegrityError
from s2mirror.model import Digest

MD5 = hashlib.md5(b"band", usedforsecurity=False).hexdigest()
SHA3 = hashlib.sha3_256(b"band").hexdigest()


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [("MD5", "md5"), ("md5", "md5"), ("SHA3-256", "sha3_256"), (" sha3_256 ", "sha3_256")],
)
@pytest.mark.parametrize("turned", [str.lower, str.upper, str.title])
def test_manifest_digest_ignores_case(name: str, algorithm: str, turned: type[str]) -> None:
    hexdigest = MD5 if algorithm == "md5" else SHA3
    found = manifest_digest(name, f"\n  {turned(hexdigest)} ")
    assert found == Digest(algorithm=algorithm, hexdigest=hexdigest)


@pytest.mark.parametrize("value", ["", MD5[:-1], MD5 + "0", SHA3, MD5[:-1] + "g", "٣" * 32])
def test_malformed_manifest_digest_is_refused(value: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        manifest_digest("MD5", value)
    assert str(caught.value) == f"manifest.safe has {value!r}, which is not a digest of MD5"


def test_unknown_algorithm_is_refused_with_advice() -> None:
    with pytest.raises(IntegrityError) as caught:
        manifest_digest("BLAKE3", SHA3)
    assert str(caught.value) == (
        "manifest.safe names the checksum 'BLAKE3'; known are MD5 and SHA3-256. "
        "Update s2mirror, or report the product"
    )


@pytest.mark.parametrize("head", ["d50110", "D50110", "1610"])
def test_sixteen_bytes_of_multihash_are_md5(head: str) -> None:
    assert stac_digest(head + MD5.upper()) == Digest(algorithm="md5", hexdigest=MD5)


@pytest.mark.parametrize("head", ["d50120", "1620"])
def test_multihash_of_32_bytes_is_sha3(head: str) -> None:
    assert stac_digest(head + SHA3) == Digest(algorithm="sha3_256", hexdigest=SHA3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        MD5,
        "d50110",
        "1220" + SHA3,
        "d50110" + MD5[:-1],
        "d50110" + MD5 + "0",
        "1620" + "g" * 64,
    ],
)
def test_a_multihash_of_no_known_form_says_nothing(text: str) -> None:
    assert stac_digest(text) is None


@given(st.text(st.sampled_from("d50126abcdef0123456789gG"), max_size=80))
def test_a_digest_that_is_accepted_can_be_compared(text: str) -> None:
    found = stac_digest(text)
    if found is not None:
        assert len(found.hexdigest) == 2 * new_hasher(found.algorithm).digest_size
