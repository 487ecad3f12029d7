"""Writes ``MTD_MSIL1C.xml`` and ``MTD_MSIL2A.xml``: the elements that readers of images need.

The whole files have 55 kB, mostly spectral responses. Products of baseline 02.07 and before have
other names of elements in L2A, and those before 04.00 have no offsets.
"""

from typing import Final

from s2mirror.sandbox.spec import ProductSpec

_SCHEMA: Final = "https://psd-{year}.sentinel2.eo.esa.int/PSD/User_Product_Level-{level}.xsd"
_DOCUMENT: Final = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-{level}_User_Product xmlns:n1="{schema}">
    <n1:General_Info>
        <Product_Info>
            <PRODUCT_URI>{product_id}.SAFE</PRODUCT_URI>
            <PROCESSING_LEVEL>Level-{level}</PROCESSING_LEVEL>
            <PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
            <GENERATION_TIME>{generated_at}</GENERATION_TIME>
            <Datatake datatakeIdentifier="{datatake}"/>
            <Product_Organisation><Granule_List>
                <Granule datastripIdentifier="{datastrip}"/>
            </Granule_List></Product_Organisation>
        </Product_Info>
        <Product_Image_Characteristics>
            <Special_Values>
                <SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>
                <SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX>
            </Special_Values>
            {values}
            {offsets}
            <Spectral_Information_List>{bands}</Spectral_Information_List>
        </Product_Image_Characteristics>
    </n1:General_Info>
    <n1:Quality_Indicators_Info>{clouds}</n1:Quality_Indicators_Info>
    <!--{filler}-->
</n1:Level-{level}_User_Product>
"""
_PHYSICAL_BANDS: Final = (
    *("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"),
)
_LAST_PREFIXED: Final = "02.07"
_PREFIXED: Final = {
    "Product_Info>": "L2A_Product_Info>",
    "Product_Image_Characteristics>": "L2A_Product_Image_Characteristics>",
    "QUANTIFICATION_VALUES_LIST>": "L1C_L2A_Quantification_Values_List>",
    "BOA_QUANTIFICATION_VALUE": "L2A_BOA_QUANTIFICATION_VALUE",
    "AOT_QUANTIFICATION_VALUE": "L2A_AOT_QUANTIFICATION_VALUE",
    "WVP_QUANTIFICATION_VALUE": "L2A_WVP_QUANTIFICATION_VALUE",
}


def write_product_metadata(spec: ProductSpec, size_bytes: int) -> bytes:
    """Return the product metadata, with a comment up to *size_bytes* if it is shorter."""
    text = _DOCUMENT.format(
        level=spec.level[1:],
        schema=_SCHEMA.format(year=14 if spec.baseline < "05.00" else 15, level=spec.level[1:]),
        product_id=spec.id,
        baseline=spec.baseline,
        generated_at=f"{spec.generated_at:%Y-%m-%dT%H:%M:%S}.000000Z",
        datatake=spec.datatake_id,
        datastrip=spec.datastrip_id,
        clouds=_clouds(spec),
        values=_values(spec),
        offsets=_offsets(spec),
        bands="".join(
            f'<Spectral_Information bandId="{n}" physicalBand="{band}"/>'
            for n, band in enumerate(_PHYSICAL_BANDS)
        ),
        filler=f"{spec.seed}{{filler}}",
    )
    if spec.level == "L2A" and spec.baseline <= _LAST_PREFIXED:
        for name, before in _PREFIXED.items():
            text = text.replace(name, before)
    return text.replace("{filler}", " " * max(0, size_bytes - len(text))).encode()


def _clouds(spec: ProductSpec) -> str:
    name, known = "Cloud_Coverage_Assessment", spec.cloud_cover_percent is not None
    return f"<{name}>{spec.cloud_cover_percent}</{name}>" if known else ""


def _values(spec: ProductSpec) -> str:
    divisor = spec.quantification
    if spec.level == "L1C":
        return f'<QUANTIFICATION_VALUE unit="none">{divisor}</QUANTIFICATION_VALUE>'
    return (
        "<QUANTIFICATION_VALUES_LIST>"
        f'<BOA_QUANTIFICATION_VALUE unit="none">{divisor}</BOA_QUANTIFICATION_VALUE>'
        '<AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE>'
        '<WVP_QUANTIFICATION_VALUE unit="cm">1000.0</WVP_QUANTIFICATION_VALUE>'
        "</QUANTIFICATION_VALUES_LIST>"
    )


def _offsets(spec: ProductSpec) -> str:
    if not spec.shift:
        return ""
    holder, name = (
        ("Radiometric_Offset_List", "RADIO_ADD_OFFSET")
        if spec.level == "L1C"
        else ("BOA_ADD_OFFSET_VALUES_LIST", "BOA_ADD_OFFSET")
    )
    listed = (f'<{name} band_id="{n}">{-spec.shift}</{name}>' for n in range(len(_PHYSICAL_BANDS)))
    return f"<{holder}>{''.join(listed)}</{holder}>"
