"""The conversion of numbers to reflectances, as the product's own metadata states it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s2mirror.radiometry import (
    MAX_BYTES,
    Conversion,
    Radiometry,
    metadata_path,
    parse_radiometry,
)

ALL_BANDS = (
    *("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"),
)
L2A_BANDS = tuple(band for band in ALL_BANDS if band != "B10")
ALL_SHIFTED = dict.fromkeys(range(13), "-1000")
L1C_QUANTIFICATION = '<QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>'
L2A_QUANTIFICATION = """
<QUANTIFICATION_VALUES_LIST>
  <BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
  <AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE>
  <WVP_QUANTIFICATION_VALUE unit="cm">1000.0</WVP_QUANTIFICATION_VALUE>
</QUANTIFICATION_VALUES_LIST>"""
L2A_BEFORE_OCTOBER_2018 = """<?xml version="1.0"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product.xsd">
  <n1:General_Info><L2A_Product_Image_Characteristics><L1C_L2A_Quantification_Values_List>
    <L1C_TOA_QUANTIFICATION_VALUE unit="none">10000</L1C_TOA_QUANTIFICATION_VALUE>
    <L2A_BOA_QUANTIFICATION_VALUE unit="none">10000</L2A_BOA_QUANTIFICATION_VALUE>
    <L2A_AOT_QUANTIFICATION_VALUE unit="none">1000.0</L2A_AOT_QUANTIFICATION_VALUE>
    <L2A_WVP_QUANTIFICATION_VALUE unit="cm">1000.0</L2A_WVP_QUANTIFICATION_VALUE>
  </L1C_L2A_Quantification_Values_List></L2A_Product_Image_Characteristics></n1:General_Info>
</n1:Level-2A_User_Product>"""


def metadata(
    level: str, baseline: str, offsets: dict[int, str] | None, *, values: str = "", more: str = ""
) -> bytes:
    """Return product metadata; *offsets* are the texts by band_id, None for no list of offsets."""
    is_l1c = level == "1C"
    holder = "Radiometric_Offset_List" if is_l1c else "BOA_ADD_OFFSET_VALUES_LIST"
    name = "RADIO_ADD_OFFSET" if is_l1c else "BOA_ADD_OFFSET"
    listed = "".join(f'<{name} band_id="{n}">{v}</{name}>' for n, v in (offsets or {}).items())
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-{level}_User_Product xmlns:n1="https://psd-15.sentinel2.eo.esa.int/PSD/{level}.xsd">
  <n1:General_Info>
    <Product_Info><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE></Product_Info>
    <Product_Image_Characteristics>
      {values or (L1C_QUANTIFICATION if is_l1c else L2A_QUANTIFICATION)}
      {"" if offsets is None else f"<{holder}>{listed}</{holder}>"}
      {more}
    </Product_Image_Characteristics>
  </n1:General_Info>
</n1:Level-{level}_User_Product>""".encode()


def conversions(document: bytes) -> dict[str, Conversion]:
    found = parse_radiometry(document)
    assert found.doubt == ""
    return dict(found.conversions)


@pytest.mark.parametrize("level", ["1C", "2A"])
@pytest.mark.parametrize(
    ("baseline", "offsets", "expected"),
    [
        ("02.09", None, 0.0),
        ("03.01", None, 0.0),
        ("04.00", ALL_SHIFTED, -0.1),
        ("05.00", ALL_SHIFTED, -0.1),
        ("05.10", ALL_SHIFTED, -0.1),
        ("05.12", ALL_SHIFTED, -0.1),
        ("02.09", ALL_SHIFTED, -0.1),  # the metadata counts, not the baseline's number
        ("05.12", None, 0.0),
        ("05.12", dict.fromkeys(range(13), "0"), 0.0),
    ],
)
def test_offsets_are_those_of_the_metadata(
    level: str, baseline: str, offsets: dict[int, str] | None, expected: float
) -> None:
    bands = ALL_BANDS if level == "1C" else L2A_BANDS
    maps = {} if level == "1C" else dict.fromkeys(("AOT", "WVP"), Conversion(0.001, 0.0))
    found = conversions(metadata(level, baseline, offsets))
    assert found == dict.fromkeys(bands, Conversion(0.0001, expected)) | maps


def test_names_of_elements_before_october_2018_are_known() -> None:
    found = conversions(L2A_BEFORE_OCTOBER_2018.encode())
    assert found["B8A"] == Conversion(0.0001, 0.0)
    assert found["WVP"] == Conversion(0.001, 0.0)


@given(st.lists(st.integers(-20_000, 20_000), min_size=13, max_size=13), st.integers(1, 100_000))
def test_each_band_has_its_own_offset(offsets: list[int], divisor: int) -> None:
    values = L1C_QUANTIFICATION.replace("10000", str(divisor))
    texts = {number: f" {offset} " for number, offset in enumerate(offsets)}
    found = conversions(metadata("1C", "05.12", texts, values=values))
    for band, offset in zip(ALL_BANDS, offsets, strict=True):
        scale, shift = found[band]
        number = 2 * divisor - offset
        assert number * scale + shift == pytest.approx((number + offset) / divisor)


def test_order_of_bands_is_the_files_own() -> None:
    more = """<Spectral_Information_List><Spectral_Information bandId="0" physicalBand="B8A"/>
              <Spectral_Information bandId="8" physicalBand="B1"/></Spectral_Information_List>"""
    found = conversions(metadata("1C", "05.12", ALL_SHIFTED | {0: "-7", 8: "-9"}, more=more))
    assert (found["B8A"].offset, found["B01"].offset) == (-0.0007, -0.0009)


def test_band_without_offset_has_no_conversion() -> None:
    found = parse_radiometry(metadata("2A", "05.12", {0: "-1000", 1: "-1000"}))
    assert set(dict(found.conversions)) == {"B01", "B02", "AOT", "WVP"}
    assert found.doubt == (
        "the product's metadata has no value for B03, B04, B05, B06, B07, B08, B8A, B09, B11, B12"
    )


DOUBTFUL = {
    "": b"is not well-formed XML: no element found: line 1, column 0",
    "<a/>": b"has the unknown root element 'a'",
    "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>": b"declares entities or a DTD, which no SAFE has",
    "<Level-1C_User_Product/>": b"has no General_Info",
}


@pytest.mark.parametrize(("text", "doubt"), DOUBTFUL.items())
def test_unknown_document_gives_reason_not_conversion(text: str, doubt: bytes) -> None:
    expected = Radiometry(doubt=f"the product's metadata {doubt.decode()}")
    assert parse_radiometry(text.encode()) == expected


@pytest.mark.parametrize(
    ("document", "doubt"),
    [
        (metadata("1C", "05.12", {}, values="<a/>"), "has no QUANTIFICATION_VALUE"),
        (
            metadata("1C", "05.12", {}, values=L1C_QUANTIFICATION * 2),
            "has QUANTIFICATION_VALUE 2 times",
        ),
        (
            metadata("1C", "05.12", {}, values=L1C_QUANTIFICATION.replace("10000", "0")),
            "has QUANTIFICATION_VALUE 0; expected a positive number",
        ),
        (
            metadata("1C", "05.12", {}, values=L1C_QUANTIFICATION.replace("10000", "nan")),
            "has QUANTIFICATION_VALUE 'nan'; expected a number",
        ),
        (
            metadata("1C", "05.12", {3: ""}),
            "has RADIO_ADD_OFFSET ''; expected a number",
        ),
        (
            metadata("2A", "05.12", {3: "-1000</BOA_ADD_OFFSET><BOA_ADD_OFFSET band_id='3'>0"}),
            "has two values of BOA_ADD_OFFSET for B04",
        ),
        (
            metadata("2A", "05.12", {130: "-1000"}),
            "has BOA_ADD_OFFSET with band_id '130'; expected 0 to 12",
        ),
        (metadata("2A", "05.12", {}, values="<a/>"), "has no QUANTIFICATION_VALUES_LIST"),
        (bytes(MAX_BYTES + 1), "has 2097153 B; a real one has less than 0.1 MB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unclear_value_gives_reason_not_conversion(document: bytes, doubt: str) -> None:
    assert parse_radiometry(document) == Radiometry(doubt=f"the product's metadata {doubt}")


@given(st.binary(max_size=200), st.integers(0, 1200))
@example(b"\xff\xfe", 0)
@example(b'encoding="latin-99"', 20)
def test_damaged_metadata_is_never_an_error(damage: bytes, at: int) -> None:
    whole = metadata("2A", "05.12", ALL_SHIFTED)
    found = parse_radiometry(whole[:at] + damage + whole[at + len(damage) :])
    assert found.doubt or found.conversions


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (("manifest.safe", "MTD_MSIL2A.xml"), "MTD_MSIL2A.xml"),
        (("GRANULE/x/MTD_MSIL2A.xml", "MTD_MSIL3A.xml"), ""),
    ],
)
def test_only_the_products_own_metadata_counts(paths: tuple[str, ...], expected: str) -> None:
    assert metadata_path(paths) == expected
