"""The values of a product by its own files, for a product that no catalog describes.

``manifest.safe`` has the footprint; ``MTD_MSIL1C.xml`` and ``MTD_MSIL2A.xml`` have the cloud cover,
the datatake, the datastrip and the time of processing. What they lack, the name says. Two values
are not in a product: when CDSE published it, and its folder in the store. The time of processing
and the usual folder stand for them until the catalog lists the product.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from s2mirror.checksum import multihash, new_hasher
from s2mirror.errors import IntegrityError, ItemRejected
from s2mirror.geometry import footprint, pack
from s2mirror.manifest import MAX_BYTES
from s2mirror.model import Digest, Product
from s2mirror.naming import ProductName, parse_name
from s2mirror.times import parse_utc

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_MAX_TEXT: Final = 200
_MAX_COORDINATES: Final = 100_000
"""Characters; a footprint has 5 to 30 corners."""
_FEWEST_CORNERS: Final = 4
# Collection 1 has folders of its own: baseline 05.00, and 05.10 until that became operational.
_REPROCESSED: Final = ("05.00", "05.10")
_OPERATIONAL_0510_AT: Final = datetime(2023, 12, 13, tzinfo=UTC)


def revision_of(manifest: bytes) -> str:
    """Return the revision of a product with this manifest, in the catalog's form."""
    hasher = new_hasher("md5")
    hasher.update(manifest)
    return multihash(Digest(algorithm="md5", hexdigest=hasher.hexdigest()))


def product_of(product_id: str, manifest: bytes, metadata: bytes) -> Product:
    """Return the product that its own manifest and metadata describe.

    Raises IntegrityError if the name or the footprint cannot be read; other values may be missing.
    """
    name = parse_name(product_id)
    if name is None:
        raise IntegrityError(f"{product_id!r} is not the name of a Sentinel-2 product since 2016")
    known, head = _Metadata(metadata), _Metadata(manifest)
    generated_at = known.time("GENERATION_TIME") or name.discriminator
    return Product(
        id=product_id,
        collection=f"sentinel-2-{name.level.lower()}",
        platform=name.platform,
        tile=name.tile,
        baseline=name.baseline,
        relative_orbit=name.relative_orbit,
        sensed_at=_sensed_at(name, head.time("startTime")),
        published_at=generated_at,
        generated_at=generated_at,
        cloud_cover_percent=known.percent("Cloud_Coverage_Assessment"),
        size_bytes=None,
        s3_prefix=_usual_prefix(product_id, name),
        datatake_id=known.attribute("Datatake", "datatakeIdentifier"),
        datastrip_id=known.attribute("Granule", "datastripIdentifier"),
        revision=revision_of(manifest),
        footprint_wkb=_footprint(head.text("coordinates", _MAX_COORDINATES)),
    )


def _sensed_at(name: ProductName, exact: datetime | None) -> datetime:
    """Return the start of the datatake as exactly as the catalog has it; the name has seconds."""
    return exact if exact and exact.replace(microsecond=0) == name.sensed_at else name.sensed_at


def _usual_prefix(product_id: str, name: ProductName) -> str:
    operational = name.baseline == _REPROCESSED[1] and name.sensed_at >= _OPERATIONAL_0510_AT
    suffix = "_N0500" if name.baseline in _REPROCESSED and not operational else ""
    return f"Sentinel-2/MSI/{name.level}{suffix}/{name.sensed_at:%Y/%m/%d}/{product_id}.SAFE/"


def _footprint(coordinates: str) -> bytes:
    """Return the footprint of a manifest, whose coordinates are latitudes and longitudes in turn.

    Several rings follow each other; each ends at its first corner.
    """
    try:
        numbers = [float(word) for word in coordinates.replace(",", " ").split()]
        corners = list(zip(numbers[1::2], numbers[::2], strict=True))
        rings = list(_rings(corners))
        geojson = {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}
        return pack(footprint(geojson))
    except (ValueError, ItemRejected) as error:
        raise IntegrityError(f"manifest.safe has no usable footprint: {error}") from error


def _rings(corners: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Split *corners* into rings; raise ValueError if there is none."""
    rings, ring = [], list[tuple[float, float]]()
    for corner in corners:
        ring.append(corner)
        if len(ring) >= _FEWEST_CORNERS and corner == ring[0]:
            rings.append(ring)
            ring = []
    if not rings or ring:
        raise ValueError("its coordinates are no closed ring")
    return rings


class _Metadata:
    """The values of a product's metadata; of a damaged or missing file, none."""

    def __init__(self, document: bytes) -> None:
        self._elements: dict[str, Element] = {}
        try:
            for element in _root(document).iter():
                self._elements.setdefault(_local(element), element)
        except IntegrityError:
            return

    def time(self, name: str) -> datetime | None:
        """Return the time of an element; None without one."""
        try:
            return parse_utc(self.text(name))
        except ValueError:
            return None

    def percent(self, name: str) -> float | None:
        """Return the percentage of an element; None without one."""
        try:
            found = float(self.text(name))
        except ValueError:
            return None
        return found if 0 <= found <= 100 else None  # noqa: PLR2004 - percent

    def attribute(self, name: str, attribute: str) -> str:
        """Return an attribute of the first element of that name; empty without one."""
        found = self._elements.get(name)
        text = "" if found is None else found.get(attribute, "")
        return text if len(text) <= _MAX_TEXT and text.isprintable() else ""

    def text(self, name: str, limit: int = _MAX_TEXT) -> str:
        """Return the text of the first element of that name; empty without one."""
        found = self._elements.get(name)
        return ("" if found is None else found.text or "").strip()[:limit]


def _root(document: bytes) -> "Element":
    """Return the root of an XML document of the product. Raises IntegrityError."""
    from xml.etree.ElementTree import ParseError  # noqa: PLC0415 - only few commands read XML

    from defusedxml import DefusedXmlException  # noqa: PLC0415 - likewise
    from defusedxml.ElementTree import fromstring  # noqa: PLC0415 - likewise

    if not document or len(document) > MAX_BYTES:
        raise IntegrityError(f"the XML has {len(document)} B; a real document has less than 8 MB")
    try:
        return fromstring(document, forbid_dtd=True)
    except DefusedXmlException as error:
        raise IntegrityError("the XML declares entities or a DTD, which no SAFE has") from error
    except (ParseError, LookupError, ValueError) as error:
        raise IntegrityError(f"the XML is not well-formed: {error}") from error


def _local(element: "Element") -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
