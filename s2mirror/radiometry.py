"""How the numbers of a product's images become reflectances, by the product's own metadata.

``MTD_MSIL1C.xml`` and ``MTD_MSIL2A.xml`` state a quantification value Q and, in products of newer
formats, an offset per band: reflectance = (number + offset) / Q. Neither the date nor the baseline
determines them: reprocessed products of any date have the offset, and other catalogs list products
from whose pixels it was removed. What the metadata does not state clearly is not claimed.

Names of elements: https://sentiwiki.copernicus.eu/web/s2-products; before October 2018, most names
of L2A began with ``L2A_``.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from s2mirror.errors import IntegrityError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_BYTES: Final = 2 * 1024**2
"""Real files have 50 to 60 kB."""

_METADATA: Final = re.compile(r"MTD_MSIL(1C|2A)\.xml")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,9}(\.[0-9]{1,9})?")
_BAND_ID: Final = re.compile(r"[0-9]{1,2}")
_PHYSICAL_BAND: Final = re.compile(r"B([0-9]{1,2})(A?)")
_BANDS: Final = (
    *("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"),
)
"""In the order of ``band_id``, unless the file itself says otherwise."""
_NOT_IN_L2A: Final = "B10"


class Conversion(NamedTuple):
    """How a number of an image becomes a quantity: number x scale + offset."""

    scale: float
    offset: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Radiometry:
    """The conversions that a product's own metadata states."""

    conversions: tuple[tuple[str, Conversion], ...] = ()
    """By band, such as ``B8A``, or map, such as ``AOT``."""
    doubt: str = ""
    """Why some or all images have no conversion; empty if all have one."""


UNKNOWN_RADIOMETRY: Final = Radiometry(doubt="the product's metadata was not read")


class _Format(NamedTuple):
    """Names of one level's elements. Of several names, one is used by each format."""

    quantification: tuple[str, ...]
    offset_list: str
    offset: str
    maps: Mapping[str, tuple[str, ...]]
    """Maps with a quantification value of their own."""


_FORMATS: Final = MappingProxyType(
    {
        "Level-1C_User_Product": _Format(
            ("QUANTIFICATION_VALUE",), "Radiometric_Offset_List", "RADIO_ADD_OFFSET", {}
        ),
        "Level-2A_User_Product": _Format(
            ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE"),
            "BOA_ADD_OFFSET_VALUES_LIST",
            "BOA_ADD_OFFSET",
            {
                name: (f"{name}_QUANTIFICATION_VALUE", f"L2A_{name}_QUANTIFICATION_VALUE")
                for name in ("AOT", "WVP")
            },
        ),
    }
)
_CHARACTERISTICS: Final = ("Product_Image_Characteristics", "L2A_Product_Image_Characteristics")
_VALUE_LISTS: Final = ("QUANTIFICATION_VALUES_LIST", "L1C_L2A_Quantification_Values_List")


def metadata_path(paths: Iterable[str]) -> str:
    """Return the path of the file that :func:`parse_radiometry` reads; empty if there is none."""
    return next((path for path in paths if _METADATA.fullmatch(path)), "")


def parse_radiometry(document: bytes) -> Radiometry:
    """Return the conversions that a product's metadata states, and what it does not state.

    Any bytes are accepted: for a file that is damaged, hostile or of an unknown format, there is no
    conversion, and ``doubt`` is the reason.
    """
    try:
        return _radiometry(_root(document))
    except IntegrityError as error:
        return Radiometry(doubt=f"the product's metadata {error}")


def _root(document: bytes) -> "Element":
    # The types above are imported by all commands, which must not import a parser of XML.
    from xml.etree.ElementTree import ParseError  # noqa: PLC0415 - see above

    from defusedxml import DefusedXmlException  # noqa: PLC0415 - see above
    from defusedxml.ElementTree import fromstring  # noqa: PLC0415 - see above

    if len(document) > MAX_BYTES:
        raise IntegrityError(f"has {len(document)} B; a real one has less than 0.1 MB")
    try:
        return fromstring(document, forbid_dtd=True)
    except DefusedXmlException as error:
        raise IntegrityError("declares entities or a DTD, which no SAFE has") from error
    except (ParseError, LookupError, ValueError) as error:
        # The last two are for an encoding that Python or its parser does not support.
        raise IntegrityError(f"is not well-formed XML: {str(error)[:120]}") from error


def _radiometry(root: "Element") -> Radiometry:
    known = _FORMATS.get(_local(root))
    if known is None:
        raise IntegrityError(f"has the unknown root element {_local(root)[:60]!r}")
    images = _need(_need(root, ("General_Info",)), _CHARACTERISTICS)
    values = _only(images, _VALUE_LISTS) if known.maps else images
    if values is None:
        raise IntegrityError(f"has no {_VALUE_LISTS[0]}")
    divisor = _divisor(_need(values, known.quantification))
    wanted = [band for band in _BANDS if not (known.maps and band == _NOT_IN_L2A)]
    offsets = _offsets(images, known)
    found = {
        band: Conversion(1 / divisor, offsets[band] / divisor) for band in wanted if band in offsets
    }
    for name, names in known.maps.items():
        if (element := _only(values, names)) is not None:
            found[name] = Conversion(1 / _divisor(element), 0.0)
    missing = [name for name in (*wanted, *known.maps) if name not in found]
    doubt = f"the product's metadata has no value for {', '.join(missing)}" if missing else ""
    return Radiometry(conversions=tuple(found.items()), doubt=doubt)


def _offsets(images: "Element", known: _Format) -> dict[str, float]:
    """Return the offset of each band that has one; 0 for all in a format without offsets."""
    offset_list = _only(images, (known.offset_list,))
    if offset_list is None:
        return dict.fromkeys(_BANDS, 0.0)
    names, found = _band_names(images), dict[str, float]()
    for element in offset_list:
        if _local(element) == known.offset:
            band, offset = names.get(_band_id(element, "band_id"), ""), _number(element)
            if found.setdefault(band, offset) != offset:
                raise IntegrityError(f"has two values of {known.offset} for {band or 'one band'}")
    return found


def _band_names(images: "Element") -> dict[int, str]:
    """Return the bands by id, as the file's own list of bands has them."""
    names = dict(enumerate(_BANDS))
    own = _only(images, ("Spectral_Information_List",))
    for element in own if own is not None else ():
        match = _PHYSICAL_BAND.fullmatch(element.get("physicalBand", ""))
        if match is None:
            raise IntegrityError(f"has the unknown band {element.get('physicalBand', '')[:20]!r}")
        number = match[1] if match[2] else match[1].zfill(2)
        names[_band_id(element, "bandId")] = f"B{number}{match[2]}"
    return names


def _band_id(element: "Element", name: str) -> int:
    text = element.get(name, "")
    if not _BAND_ID.fullmatch(text):
        raise IntegrityError(f"has {_local(element)} with {name} {text[:20]!r}; expected 0 to 12")
    return int(text)


def _divisor(element: "Element") -> float:
    value = _number(element)
    if value <= 0:
        raise IntegrityError(f"has {_local(element)} {value:g}; expected a positive number")
    return value


def _number(element: "Element") -> float:
    text = (element.text or "").strip()
    if not _NUMBER.fullmatch(text):
        raise IntegrityError(f"has {_local(element)} {text[:20]!r}; expected a number")
    return float(text)


def _need(parent: "Element", names: tuple[str, ...]) -> "Element":
    found = _only(parent, names)
    if found is None:
        raise IntegrityError(f"has no {names[0]}")
    return found


def _only(parent: "Element", names: tuple[str, ...]) -> "Element | None":
    """Return the child of one of *names*; None without one."""
    found = [child for child in parent if _local(child) in names]
    if len(found) > 1:
        raise IntegrityError(f"has {names[0]} {len(found)} times")
    return found[0] if found else None


def _local(element: "Element") -> str:
    """Return an element's name without its namespace, which has the year of the format."""
    return element.tag.rpartition("}")[2]
