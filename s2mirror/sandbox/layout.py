"""The files of a SAFE: paths, manifest ids and real sizes, as in baselines 05.xx."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from s2mirror.sandbox.spec import ProductSpec, name_time

_BANDS_10M: Final = ("B02", "B03", "B04", "B08")
_BANDS_60M: Final = ("B01", "B09", "B10")
_BAND_IDS: Final = {
    "B01": "60m_1",
    "B02": "10m_1",
    "B03": "10m_2",
    "B04": "10m_3",
    "B05": "20m_1",
    "B06": "20m_2",
    "B07": "20m_3",
    "B08": "10m_4",
    "B09": "60m_2",
    "B10": "60m_3",
    "B11": "20m_5",
    "B12": "20m_6",
    "B8A": "20m_4",
}
_L2A_IMAGES: Final = {
    "10m": ("AOT", "B02", "B03", "B04", "B08", "TCI", "WVP"),
    "20m": (
        *("AOT", "B01", "B02", "B03", "B04", "B05", "B06", "B07"),
        *("B11", "B12", "B8A", "SCL", "TCI", "WVP"),
    ),
    "60m": (
        *("AOT", "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B09"),
        *("B11", "B12", "B8A", "SCL", "TCI", "WVP"),
    ),
}
_IMAGE_BYTES: Final = {"10m": 133_400_000, "20m": 33_800_000, "60m": 3_740_000}
_THIN_IMAGE_BYTES: Final = {
    "AOT": {"10m": 2_124_650, "20m": 1_816_046, "60m": 556_122},
    "SCL": {"20m": 5_585_948, "60m": 1_324_242},
}
_MASK_BYTES: Final = {
    "DETFOO": {"10m": 78_800, "20m": 33_400, "60m": 17_800},
    "QUALIT": {"10m": 56_612, "20m": 13_997, "60m": 14_764},
}
_MASK_IDS: Final = {"DETFOO": "DetectorFootprintMask", "QUALIT": "QualitPixelsMask"}
_STRIP_REPORTS: Final = {
    "FORMAT_CORRECTNESS": ("Format", 3_969),
    "GENERAL_QUALITY": ("General", 5_718),
    "GEOMETRIC_QUALITY": ("Geometric", 8_118),
    "RADIOMETRIC_QUALITY": ("Radiometric", 7_066),
    "SENSOR_QUALITY": ("Sensor", 4_385),
}
_TILE_REPORTS: Final = tuple(name for name in _STRIP_REPORTS if name != "RADIOMETRIC_QUALITY")
_SCHEMAS: Final = (
    *("S2_User_Product_Level-{}_Metadata", "S2_PDI_Level-{}_Datastrip_Metadata"),
    *("S2_PDI_Level-{}_Tile_Metadata", "S2_User_Product_Level-{}_Structure"),
)
_JP2: Final = "application/octet-stream"
_XML: Final = "application/xml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of a SAFE."""

    path: str
    """Relative to the product folder."""
    object_id: str = ""
    """Its ID in the manifest; ``""`` for a file that the manifest does not list."""
    mime: str = _JP2
    real_bytes: int
    upper: bool = False
    """Whether real manifests write its SHA3-256 digest in upper case."""


@dataclass(frozen=True, slots=True)
class Paths:
    """The folders of one product, relative to the product folder."""

    granule: str
    datastrip: str
    image_stem: str

    @classmethod
    def of(cls, spec: ProductSpec) -> "Paths":
        """Return the folders of a generated product."""
        start = name_time(spec.strip_at)
        granule = f"{spec.level}_T{spec.tile}_A{spec.absolute_orbit:06d}_{start}"
        datastrip = f"DS_{spec.centre}_{name_time(spec.generated_at)}_S{start}"
        return cls(
            granule=f"GRANULE/{granule}",
            datastrip=f"DATASTRIP/{datastrip}",
            image_stem=f"T{spec.tile}_{name_time(spec.sensed_at)}",
        )


def manifest_members(level: str, paths: Paths) -> list[Member]:
    """Return the files that the manifest lists, in its order: 59 for L1C, 86 for L2A."""
    return [
        *_heads(level),
        *_datastrip(level, paths),
        *_auxiliary(level, paths),
        *(_l1c_images(paths) if level == "L1C" else _l2a_images(paths)),
        *_tile(level, paths),
    ]


def loose_members(level: str, product_id: str) -> list[Member]:
    """Return the files that exist in the store and are not in the manifest."""
    schemas = [name.format(level[1:]) for name in _SCHEMAS]
    return [
        *(Member(path=f"rep_info/{name}.xsd", mime=_XML, real_bytes=9_800) for name in schemas),
        *(Member(path=f"HTML/banner_{n}.png", mime="image/png", real_bytes=80_000) for n in "123"),
        Member(path="HTML/star_bg.jpg", mime="image/jpeg", real_bytes=22_000),
        Member(path=f"{product_id}-ql.jpg", mime="image/jpeg", real_bytes=14_505),
    ]


def _heads(level: str) -> Iterator[Member]:
    text, page = "text/xml", "octet"
    metadata = f"S2_Level-{level[1:]}_Product_Metadata"
    html = "HTML/UserProduct_index"
    yield Member(path=f"MTD_MSI{level}.xml", object_id=metadata, mime=text, real_bytes=54_695)
    yield Member(path="INSPIRE.xml", object_id="INSPIRE_Metadata", mime=text, real_bytes=18_657)
    yield Member(path=f"{html}.html", object_id="HTML_Presentation", mime=page, real_bytes=8_399)
    sheet = "HTML_Presentation_Stylesheet"
    yield Member(path=f"{html}.xsl", object_id=sheet, mime=page, real_bytes=10_034)


def _datastrip(level: str, paths: Paths) -> Iterator[Member]:
    yield Member(
        path=f"{paths.datastrip}/MTD_DS.xml",
        object_id=f"S2_Level-{level[1:]}_Datastrip1_Metadata",
        mime=_XML,
        real_bytes=6_232_156,
        upper=True,
    )
    for name, (word, size) in _STRIP_REPORTS.items():
        yield Member(
            path=f"{paths.datastrip}/QI_DATA/{name}.xml",
            object_id=f"{word}_OLQC_Report_Datastrip1_InformationData",
            mime=_XML,
            real_bytes=size,
        )


def _auxiliary(level: str, paths: Paths) -> Iterator[Member]:
    folder = f"{paths.granule}/AUX_DATA"
    yield Member(
        path=f"{folder}/AUX_CAMSFO",
        object_id="CAMS_Tile1_Data",
        real_bytes=2_970,
        upper=level == "L2A",
    )
    yield Member(
        path=f"{folder}/AUX_ECMWFT", object_id="ECMWF_Tile1_Data", real_bytes=1_620, upper=True
    )


def _l1c_images(paths: Paths) -> Iterator[Member]:
    names = [*_BAND_IDS, "TCI"]
    for name in names:
        yield Member(
            path=f"{paths.granule}/IMG_DATA/{paths.image_stem}_{name}.jp2",
            object_id=f"IMG_DATA_Band_{_BAND_IDS.get(name, name)}_Tile1_Data",
            real_bytes=_IMAGE_BYTES[_resolution(name)],
            upper=name != "TCI",
        )


def _l2a_images(paths: Paths) -> Iterator[Member]:
    for resolution, names in _L2A_IMAGES.items():
        for name in names:
            thin = _THIN_IMAGE_BYTES.get(name, _IMAGE_BYTES)
            folder = f"{paths.granule}/IMG_DATA/R{resolution}"
            yield Member(
                path=f"{folder}/{paths.image_stem}_{name}_{resolution}.jp2",
                object_id=f"IMG_DATA_Band_{name}_{resolution}_Tile1_Data",
                real_bytes=thin[resolution],
                upper=name != "TCI",
            )


def _tile(level: str, paths: Paths) -> Iterator[Member]:
    metadata = f"S2_Level-{level[1:]}_Tile1_Metadata"
    yield Member(
        path=f"{paths.granule}/MTD_TL.xml", object_id=metadata, mime=_XML, real_bytes=626_432
    )
    yield from sorted(_quality(level, paths), key=lambda member: member.path)


def _quality(level: str, paths: Paths) -> Iterator[Member]:
    is_l2a = level == "L2A"
    folder = f"{paths.granule}/QI_DATA"
    yield from (_tile_report(folder, name) for name in _TILE_REPORTS)
    yield from _band_masks(folder, upper=is_l2a)
    if is_l2a:
        yield from _l2a_masks(folder)
    singles = (
        ("MSK_CLASSI_B00", "ClassiPixelsMask_Band_00m_0_Tile1_Data", 155_140),
        (f"{paths.image_stem}_PVI", "Preview_0_Tile1_Data", 166_790),
    )
    for name, object_id, size in singles:
        path = f"{folder}/{name}.jp2"
        yield Member(path=path, object_id=object_id, real_bytes=size, upper=is_l2a)


def _tile_report(folder: str, name: str) -> Member:
    word, size = _STRIP_REPORTS[name]
    object_id = f"{word}_OLQC_Report_Tile1_InformationData"
    return Member(path=f"{folder}/{name}.xml", object_id=object_id, mime=_XML, real_bytes=size)


def _l2a_masks(folder: str) -> Iterator[Member]:
    yield Member(
        path=f"{folder}/L2A_QUALITY.xml",
        object_id="L2A_QUALITY_OLQC_Report_Tile1_InformationData",
        mime=_XML,
        real_bytes=7_806,
        upper=True,
    )
    sizes = {"CLD": (2_773_656, 627_139), "SNW": (14_123_475, 2_520_667)}
    for name, word in (("CLD", "Cloud"), ("SNW", "Snow")):
        for resolution, infix, size in zip((20, 60), ("", "_1"), sizes[name], strict=True):
            yield Member(
                path=f"{folder}/MSK_{name}PRB_{resolution}m.jp2",
                object_id=f"{word}PrbMask{infix}_Tile1_Data",
                real_bytes=size,
                upper=True,
            )


def _band_masks(folder: str, *, upper: bool) -> Iterator[Member]:
    for kind, sizes in _MASK_BYTES.items():
        for number, (band, band_id) in enumerate(_BAND_IDS.items()):
            suffix = f"_{number}" if number else ""
            yield Member(
                path=f"{folder}/MSK_{kind}_{band}.jp2",
                object_id=f"{_MASK_IDS[kind]}_Band_{band_id}{suffix}_Tile1_Data",
                real_bytes=sizes[_resolution(band)],
                upper=upper,
            )


def image_name(path: str) -> tuple[str, int]:
    """Return what an image shows, such as ``B04`` or ``MSK_CLDPRB``, and its pixels in metres."""
    *names, last = path.rpartition("/")[2].removesuffix(".jp2").split("_")
    is_mask = names[0] == "MSK"
    if last in ("10m", "20m", "60m"):
        return "_".join(names) if is_mask else names[-1], int(last[:2])
    name = "_".join(names) if is_mask else last
    return name, 60 if last == "B00" else int(_resolution(last)[:2])


def _resolution(band: str) -> str:
    if band in (*_BANDS_10M, "TCI"):
        return "10m"
    return "60m" if band in _BANDS_60M else "20m"
