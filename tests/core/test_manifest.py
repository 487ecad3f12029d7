from collections import Counter

import pytest
from core_builders import data_object, manifest, sample
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s2mirror.errors import HostileInput, IntegrityError
from s2mirror.manifest import MAX_BYTES, parse_manifest, required_folders
from s2mirror.model import Digest

LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
)
OUTWARD = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
WHOLE = manifest(data_object(), data_object("GRANULE/x.jp2", 11), data_object("./INSPIRE.xml", 0))


@pytest.mark.parametrize(
    ("name", "count", "algorithm"),
    [
        ("manifest_S2A_MSIL1C_20230216_N0509_T46UEU_SHA3-256.safe", 59, "sha3_256"),
        ("manifest_S2A_MSIL2A_20230625_N0509_T01WCP_SHA3-256.safe", 86, "sha3_256"),
        ("manifest_S2B_MSIL2A_20210122_N0214_T22HBD_MD5.safe", 123, "md5"),
    ],
)
def test_a_real_manifest_is_read_in_full(name: str, count: int, algorithm: str) -> None:
    objects = parse_manifest(sample(name).read_bytes())
    assert len(objects) == count
    assert Counter(found.digest.algorithm for found in objects.values()) == {algorithm: count}
    assert all(path == found.path for path, found in objects.items())
    assert sum(found.size_bytes for found in objects.values()) > 100_000_000


def test_data_object_has_path_size_and_digest() -> None:
    found = parse_manifest(manifest(data_object("./GRANULE/x.jp2", 42)))["GRANULE/x.jp2"]
    assert found.size_bytes == 42
    assert found.digest == Digest(algorithm="md5", hexdigest="0123456789abcdefabcdef0123456789")


@pytest.mark.parametrize(
    "head", ["<!DOCTYPE x>", OUTWARD, LAUGHS], ids=["DTD", "external entity", "billion laughs"]
)
def test_manifest_with_dtd_or_entities_is_hostile(head: str) -> None:
    with pytest.raises(HostileInput) as caught:
        parse_manifest(manifest(head=head))
    assert str(caught.value) == "manifest.safe declares entities or a DTD, which no SAFE has"


@pytest.mark.parametrize(
    "href", ["../x", "a/../../x", "/etc/passwd", "", "./", "a\\..\\b", "$(id).xml", "a b.jpg"]
)
def test_manifest_path_of_no_safe_is_hostile(href: str) -> None:
    with pytest.raises(HostileInput, match=r"would leave the product folder|is not made of"):
        parse_manifest(manifest(data_object(), data_object(href)))


def test_a_huge_manifest_is_not_even_parsed() -> None:
    with pytest.raises(HostileInput) as caught:
        parse_manifest(b" " * (MAX_BYTES + 1))
    assert str(caught.value) == "manifest.safe has 8388609 B; a real one has less than 0.1 MB"


@pytest.mark.parametrize("size", ["", "-1", "1.5", "0x10", "²", "٣", "9" * 5000, "1_000"])
def test_invalid_manifest_size_is_refused(size: str) -> None:
    with pytest.raises(IntegrityError, match=r"has a data object of size .*; expected bytes"):
        parse_manifest(manifest(data_object(size=size)))


@pytest.mark.parametrize("missing", ["fileLocation", "checksum"])
def test_incomplete_data_object_is_refused(missing: str) -> None:
    broken = (
        manifest()
        .replace(f"<{missing}".encode(), b"<other")
        .replace(f"</{missing}".encode(), b"</other")
    )
    with pytest.raises(IntegrityError, match="without a location or a checksum"):
        parse_manifest(broken)


def test_one_file_with_two_digests_is_refused() -> None:
    twice = manifest(data_object(digest="0" * 32), data_object(digest="1" * 32))
    with pytest.raises(IntegrityError) as caught:
        parse_manifest(twice)
    assert str(caught.value) == "manifest.safe lists 'MTD_MSIL2A.xml' twice, with different bytes"


@pytest.mark.parametrize("encoding", ["utf-7", "gbk", "hex", "idna", "no-such-encoding"])
def test_unknown_xml_encoding_is_refused(encoding: str) -> None:
    with pytest.raises(IntegrityError, match="is not well-formed XML"):
        parse_manifest(manifest(head=f'<?xml version="1.0" encoding="{encoding}"?>'))


def test_a_document_without_data_objects_is_no_manifest() -> None:
    with pytest.raises(IntegrityError) as caught:
        parse_manifest(b"<html><body>Please log in</body></html>")
    assert str(caught.value) == "manifest.safe lists no data objects; it is not a SAFE manifest"


@pytest.mark.long
def test_deep_nesting_does_not_harm_the_parser() -> None:
    with pytest.raises(IntegrityError):
        parse_manifest(b"<a>" * 100_000 + b"</a>" * 100_000)


@given(st.integers(0, len(WHOLE) - 1))
@example(0)
@example(len(WHOLE) - 1)
def test_a_manifest_cut_at_any_byte_is_refused(end: int) -> None:
    with pytest.raises(IntegrityError):
        parse_manifest(WHOLE[:end])


@settings(max_examples=60)
@given(st.data())
def test_damaged_manifest_is_read_or_refused(
    data: st.DataObject,
) -> None:
    start = data.draw(st.integers(0, len(WHOLE)))
    end = data.draw(st.integers(start, min(len(WHOLE), start + 40)))
    wild = st.one_of(
        st.binary(max_size=12),
        st.sampled_from(
            [b"<!DOCTYPE a>", b"&x;", b"]]>", b'encoding="utf-16"', b"..", b"\xff\xfe"]
        ),
    )
    try:
        parse_manifest(WHOLE[:start] + data.draw(wild) + WHOLE[end:])
    except IntegrityError as error:
        assert str(error)  # noqa: PT017 - either outcome is right; any other error fails the test


def test_safe_has_its_empty_root_folders() -> None:
    assert required_folders(["MTD_MSIL1C.xml"]) == {"AUX_DATA", "HTML", "rep_info"}


def test_granule_has_its_empty_folders() -> None:
    found = required_folders(["GRANULE/one/MTD_TL.xml", "GRANULE/two/IMG_DATA/B02.jp2"])
    inner = {
        f"GRANULE/{granule}/{name}"
        for granule in ("one", "two")
        for name in ("AUX_DATA", "IMG_DATA", "QI_DATA")
    }
    assert found == inner | {"AUX_DATA", "HTML", "rep_info"}


def test_file_named_granule_makes_no_granule() -> None:
    assert required_folders(["GRANULE"]) == {"AUX_DATA", "HTML", "rep_info"}
