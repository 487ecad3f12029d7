"""Generates ``manifest.safe`` in the format of real products."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Final
from xml.sax.saxutils import quoteattr

from shapely.geometry.base import BaseGeometry

from s2mirror.checksum import new_hasher
from s2mirror.sandbox.layout import Member
from s2mirror.sandbox.spec import ProductSpec

ALGORITHMS: Final = {"SHA3-256": "sha3_256", "MD5": "md5"}

_ROOT: Final = (
    '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n'
    '<xfdu:XFDU xmlns:gml="http://www.opengis.net/gml"'
    ' xmlns:safe="http://www.esa.int/safe/sentinel/1.1" xmlns:xfdu="urn:ccsds:schema:xfdu:1"'
    ' version="esa/safe/sentinel/1.1/sentinel-2/msi/archive_{level}_user_product">\n'
)
_METADATA: Final = """        <metadataObject ID="{id}" category="{group}" classification="{kind}">
            <metadataWrap mimeType="text/xml" textInfo="{info}" vocabularyName="Sentinel-SAFE">
                <xmlData>{body}</xmlData>
            </metadataWrap>
        </metadataObject>
"""
_OBJECT: Final = """        <dataObject ID={id}>
            <byteStream mimeType={mime} size="{size}">
                <fileLocation href={href} locatorType="URL"/>
                <checksum checksumName="{algorithm}">{digest}</checksum>
            </byteStream>
        </dataObject>
"""


@dataclass(frozen=True, slots=True)
class MetadataObject:
    """One entry of the manifest's metadata section."""

    id: str
    info: str
    body: str
    group: str = "DMD"
    kind: str = "DESCRIPTION"


def digest_text(content: bytes, checksum: str, *, upper: bool) -> str:
    """Return the digest of *content* as a manifest contains it; *checksum* is the name there."""
    hasher = new_hasher(ALGORITHMS[checksum])
    hasher.update(content)
    text = hasher.hexdigest()
    return text.upper() if upper and checksum != "MD5" else text


def write_manifest(
    spec: ProductSpec,
    members: Iterable[Member],
    files: Mapping[str, bytes],
    footprint: BaseGeometry,
) -> bytes:
    """Return the ``manifest.safe`` of *files*, with the sizes and digests of their contents."""
    members = list(members)
    parts = (
        _ROOT.format(level=spec.level.lower()),
        _package_map(spec, members),
        _metadata_section(spec, footprint),
        "    <dataObjectSection>\n",
        *(_object(member, files[member.path], spec.checksum) for member in members),
        "    </dataObjectSection>\n</xfdu:XFDU>\n",
    )
    return "".join(parts).encode()


def _package_map(spec: ProductSpec, members: Iterable[Member]) -> str:
    units = "".join(
        f'            <xfdu:contentUnit ID="{member.object_id}_Unit" unitType="Metadata Unit">\n'
        f'                <dataObjectPointer dataObjectID="{member.object_id}"/>\n'
        "            </xfdu:contentUnit>\n"
        for member in members
    )
    level = f"Level-{spec.level[1:]}"
    return (
        "    <informationPackageMap>\n"
        '        <xfdu:contentUnit dmdID="acquisitionPeriod platform" pdiID="processing"'
        f' textInfo="SENTINEL-2 MSI {level} User Product" unitType="Product_{level}">\n'
        f"{units}        </xfdu:contentUnit>\n    </informationPackageMap>\n"
    )


def _metadata_section(spec: ProductSpec, footprint: BaseGeometry) -> str:
    entries = (_period(spec), _orbit(spec), _platform(spec), _processing(spec), _frame(footprint))
    inner = "".join(_METADATA.format(**asdict(entry)) for entry in entries)
    return f"    <metadataSection>\n{inner}    </metadataSection>\n"


def _period(spec: ProductSpec) -> MetadataObject:
    start = f"{spec.sensed_at:%Y-%m-%dT%H:%M:%S}.025Z"
    body = (
        f"<safe:acquisitionPeriod><safe:startTime>{start}</safe:startTime></safe:acquisitionPeriod>"
    )
    return MetadataObject("acquisitionPeriod", "Acquisition Period", body)


def _orbit(spec: ProductSpec) -> MetadataObject:
    body = (
        '<safe:orbitReference><safe:orbitNumber groundTrackDirection="descending" type="start">'
        f"{spec.absolute_orbit:06d}</safe:orbitNumber>"
        f'<safe:relativeOrbitNumber type="start">{spec.relative_orbit:03d}'
        "</safe:relativeOrbitNumber></safe:orbitReference>"
    )
    return MetadataObject("measurementOrbitReference", "Orbit Reference", body)


def _platform(spec: ProductSpec) -> MetadataObject:
    body = (
        "<safe:platform><safe:nssdcIdentifier>2015-000A</safe:nssdcIdentifier>"
        f"<safe:familyName>SENTINEL</safe:familyName><safe:number>{spec.unit[1:]}</safe:number>"
        '<safe:instrument><safe:familyName abbreviation="MSI">Multi-Spectral Instrument'
        "</safe:familyName></safe:instrument></safe:platform>"
    )
    return MetadataObject("platform", "Platform Description", body)


def _processing(spec: ProductSpec) -> MetadataObject:
    body = (
        '<safe:processing xmlns="http://www.esa.int/safe/sentinel/1.1"'
        f' name="Generation of Level-{spec.level[1:]} User Product"'
        f' start="{spec.generated_at:%Y-%m-%dT%H:%M:%S}.000000Z"></safe:processing>'
    )
    return MetadataObject("processing", "Processing", body, "PDI", "PROVENANCE")


def _frame(footprint: BaseGeometry) -> MetadataObject:
    rings = [part.exterior.coords for part in getattr(footprint, "geoms", [footprint])]
    pairs = " ".join(f"{y:.9f} {x:.9f}" for ring in rings for x, y in ring)
    body = (
        '<safe:frameSet><safe:footPrint srsName="http://www.opengis.net/gml/srs/epsg.xml#4326">'
        f"<gml:coordinates>{pairs} </gml:coordinates></safe:footPrint></safe:frameSet>"
    )
    return MetadataObject("measurementFrameSet", "Frame Set", body)


def _object(member: Member, content: bytes, checksum: str) -> str:
    return _OBJECT.format(
        id=quoteattr(member.object_id),
        mime=quoteattr(member.mime),
        size=len(content),
        href=quoteattr(f"./{member.path}"),
        algorithm=checksum,
        digest=digest_text(content, checksum, upper=member.upper),
    )
