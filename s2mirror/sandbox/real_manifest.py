"""Reads recorded ``manifest.safe`` files, and adapts them to generated files."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

from defusedxml.ElementTree import fromstring
from shapely.geometry.base import BaseGeometry

from s2mirror.errors import UsageError
from s2mirror.geometry import footprint
from s2mirror.naming import parse_name
from s2mirror.sandbox.layout import Member
from s2mirror.sandbox.manifest_xml import digest_text
from s2mirror.sandbox.spec import ProductSpec
from s2mirror.times import parse_utc

_SAFE: Final = "{http://www.esa.int/safe/sentinel/1.1}"
_GML: Final = "{http://www.opengis.net/gml}"
_GRANULE: Final = re.compile(r"GRANULE/(?P<level>L1C|L2A)_T(?P<tile>\w{5})_A(?P<orbit>\d{6})_")
_DATASTRIP: Final = re.compile(r"DATASTRIP/DS_(?P<centre>\w{4})_\d{8}T\d{6}_S(?P<start>\w{15})/")
_BASELINE: Final = re.compile(r"_N(\d\d)(\d\d)_")
_OBJECT: Final = re.compile(
    r'(?P<head><byteStream[^>]*\bsize=")\d+(?P<middle>"[^>]*>\s*<fileLocation[^>]*\bhref="'
    r'(?:\./)?(?P<path>[^"]+)"[^>]*>\s*<checksum[^>]*\bchecksumName="(?P<name>[^"]+)"[^>]*>)'
    r"(?P<digest>[0-9A-Fa-f]+)"
)


@dataclass(frozen=True, slots=True)
class RealManifest:
    """A recorded manifest and its description of the product."""

    text: str
    spec: ProductSpec
    members: tuple[Member, ...]
    footprint: BaseGeometry


def read_manifest(path: Path, scale: float) -> RealManifest:
    """Return the recorded manifest at *path*. Raises UsageError if it is invalid."""
    text = path.read_text(encoding="utf-8")
    try:
        return _read(path, text, scale)
    except (AttributeError, IndexError, ValueError, SyntaxError) as error:
        raise UsageError(f"{path.name} is not a complete SAFE manifest: {error}") from error


def served_text(manifest: RealManifest, files: Mapping[str, bytes]) -> bytes:
    """Return the manifest as recorded, with the sizes and digests of *files*.

    Each digest keeps its algorithm and its upper or lower case.
    """

    def updated(match: re.Match[str]) -> str:
        """Return one data object with the new size and digest."""
        content = files[match["path"]]
        digest = digest_text(content, match["name"], upper=_is_upper(match["digest"]))
        return f"{match['head']}{len(content)}{match['middle']}{digest}"

    return _OBJECT.sub(updated, manifest.text).encode()


def _read(path: Path, text: str, scale: float) -> RealManifest:
    root = fromstring(text.encode())
    members = tuple(_members(root))
    paths = "\n".join(member.path for member in members)
    algorithms = {match["name"] for match in _OBJECT.finditer(text)}
    if len(algorithms) != 1 or len(_OBJECT.findall(text)) != len(members):
        raise ValueError(f"the checksums of its {len(members)} objects are {sorted(algorithms)}")
    spec = _spec(root, paths, _baseline(path), algorithms.pop(), scale)
    return RealManifest(text, spec, members, _footprint(root))


def _members(root: Element) -> Iterator[Member]:
    for found in root.iterfind("dataObjectSection/dataObject"):
        stream = _child(found, "byteStream")
        checksum = _child(stream, "checksum").text or ""
        yield Member(
            path=_child(stream, "fileLocation").attrib["href"].removeprefix("./"),
            object_id=found.attrib["ID"],
            mime=stream.attrib["mimeType"],
            real_bytes=int(stream.attrib["size"]),
            upper=_is_upper(checksum),
        )


def _spec(root: Element, paths: str, baseline: str, checksum: str, scale: float) -> ProductSpec:
    granule, datastrip = _GRANULE.search(paths), _DATASTRIP.search(paths)
    if granule is None or datastrip is None:
        raise ValueError("it has no GRANULE folder or no DATASTRIP folder")
    return ProductSpec(
        level=granule["level"],
        tile=granule["tile"],
        orbit=int(granule["orbit"]),
        station=datastrip["centre"],
        datastrip_at=datetime.strptime(datastrip["start"], "%Y%m%dT%H%M%S").replace(tzinfo=UTC),
        sensed_at=parse_utc(_text(root, "startTime")).replace(microsecond=0),
        processed_at=parse_utc(_descendant(root, f"{_SAFE}processing").attrib["start"]),
        platform=f"sentinel-{_text(root, 'number').lower()}",
        relative_orbit=int(_text(root, "relativeOrbitNumber")),
        baseline=baseline,
        checksum=checksum,
        scale=scale,
    )


def _baseline(path: Path) -> str:
    """Return the baseline, which only the name of the folder or the file contains."""
    if name := parse_name(path.parent.name):
        return name.baseline
    if match := _BASELINE.search(path.name):
        return f"{match[1]}.{match[2]}"
    raise ValueError(
        "neither its folder name nor its file name contains a baseline such as _N0512_"
    )


def _footprint(root: Element) -> BaseGeometry:
    numbers = [float(word) for word in (_descendant(root, f"{_GML}coordinates").text or "").split()]
    ring = list(zip(numbers[1::2], numbers[0::2], strict=True))
    return footprint({"type": "Polygon", "coordinates": [ring]})


def _text(root: Element, name: str) -> str:
    return (_descendant(root, f"{_SAFE}{name}").text or "").strip()


def _descendant(root: Element, name: str) -> Element:
    return _child(root, f".//{name}")


def _child(element: Element, path: str) -> Element:
    found = element.find(path)
    if found is None:
        raise ValueError(f"it has no {path.rpartition('}')[2]}")
    return found


def _is_upper(digest: str) -> bool:
    return digest != digest.lower()
