"""Geometry files other than GeoJSON, read by pyogrio, and coordinates converted by pyproj."""

import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple
from zipfile import BadZipFile, ZipFile, ZipInfo

from shapely import from_wkb, get_coordinates, segmentize
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from s2mirror.crs import epsg_code, wgs84_note
from s2mirror.projection import moved

MAX_BYTES: Final = 100_000_000
"""Of a file, or of all that a zip file contains."""
_ZIP: Final = "a zip file"
_HEADS: Final = {
    b"SQLite format 3\x00": "a GeoPackage",
    b"PK\x03\x04": _ZIP,
    b"\x00\x00\x27\x0a": "a shapefile",
    b"fgb\x03": "FlatGeobuf",
    b"PAR1": "GeoParquet",
}
"""The first bytes of each kind. The suffix alone is not enough: GDAL would open what the content of
a file named ``.gpkg`` refers to."""
_NAMES: Final = {
    ".gpkg": "a GeoPackage",
    ".shp": "a shapefile",
    ".zip": _ZIP,
    ".kmz": _ZIP,
    ".kml": "KML",
    ".gml": "GML",
}
_READ: Final = ("a GeoPackage", "a shapefile", "KML")
_IN_ZIP: Final = (".shp", ".kml", ".gpkg")
_BESIDE_SHP: Final = (".shx", ".prj", ".cpg")
_HEAD_BYTES: Final = 1024
_MAX_DEGREES: Final = 360
_PIECES: Final = 20
"""An edge that is straight on the map is bent in degrees: edges longer than this fraction of the
whole are divided first, which leaves an error of a ten-thousandth of their length or less."""


class Source(NamedTuple):
    """The geometries of a file, and the name of their coordinate system."""

    parts: list[BaseGeometry]
    crs: str | None


def check_size(path: Path) -> None:
    """Raise ValueError if *path* is not a file or is too large to be read, or OSError."""
    found = path.stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise ValueError(f"expected a file; got {path}, which is a device or a pipe")
    if found.st_size > MAX_BYTES:
        raise ValueError(_too_large(path.name, found.st_size))


def kind_of(path: Path) -> str:
    """Return the kind of the geometry file *path*; empty if it may be GeoJSON.

    Raises ValueError if suffix and content do not agree, or OSError.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<"):
        return "KML" if b"<kml" in head else "GML" if b"/gml" in head else "XML"
    found = next((kind for start, kind in _HEADS.items() if head.startswith(start)), "")
    named = _NAMES.get(path.suffix.lower())
    if named and not found:
        raise ValueError(f"expected {named}; the content of {path.name} is something else")
    return found


def read(path: Path, kind: str) -> Source:
    """Return every geometry in a file of that *kind*, in the file's coordinates.

    Raises ValueError with the command that converts a file which cannot be read, or OSError.
    """
    if kind == _ZIP:
        with _extracted(path) as member:
            return _read(member, kind_of(member), path)
    return _read(path, kind, path)


def in_degrees(source: Source, command: str) -> tuple[list[BaseGeometry], str]:
    """Return geometries in WGS 84 degrees, and a note on the conversion, if there was one.

    Raises ValueError with the *command* that converts them if pyproj cannot.
    """
    if source.crs is None:
        note = "the file names no coordinate system; its numbers are used as WGS 84 degrees"
        return source.parts, note
    try:
        return source.parts, wgs84_note(source.crs)
    except ValueError as error:
        reason = str(error)
    try:
        import pyproj  # noqa: PLC0415 - an optional extra, and large
    except ImportError as error:
        raise ValueError(
            f"expected longitude and latitude in degrees (WGS 84); {reason}. Convert it: "
            f"{command}; or install what converts it: pip install 's2mirror[areas]'"
        ) from error
    code = epsg_code(source.crs)
    name = f"EPSG:{code}" if code else source.crs
    try:
        crs = pyproj.CRS.from_user_input(name)
        if crs.is_projected and abs(get_coordinates(source.parts)).max(initial=0) <= _MAX_DEGREES:
            raise ValueError(f"expected coordinates in {name[:60]}; got what looks like degrees")
        to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform
        parts = [moved(part, to_degrees) for part in _divided(source.parts)]
    except (pyproj.exceptions.ProjError, ShapelyError) as error:
        raise ValueError(
            f"expected longitude and latitude in degrees (WGS 84); {reason}, and cannot be "
            f"converted: {error}. Convert it: {command}"
        ) from error
    return parts, f"its coordinates were converted from {name[:60]} to WGS 84"


def convert_command(path: Path | str, layer: str = "") -> str:
    """Return the command that converts *path* to GeoJSON in degrees."""
    target = f"{Path(path).stem}-wgs84.geojson"
    command = ["ogr2ogr", "-f", "GeoJSON", "-t_srs", "EPSG:4326", target, str(path)]
    return shlex.join(command + ([layer] if layer else []))


def _read(path: Path, kind: str, given: Path) -> Source:
    if kind not in _READ:
        raise ValueError(
            f"expected GeoJSON, {', '.join(_READ)} or one of these in a zip file; {given.name} is "
            f"{kind or 'something else'}. Convert it: {convert_command(given)}"
        )
    try:
        import pyogrio  # noqa: PLC0415 - an optional extra, and large
    except ImportError as error:
        raise ValueError(
            f"{given.name} is {kind}, which needs pyogrio: pip install 's2mirror[areas]'; "
            f"or convert it: {convert_command(given)}"
        ) from error
    if kind == "KML" and b"<!ENTITY" in path.read_bytes():
        raise ValueError(f"expected KML without entities; got {given.name}")
    errors = pyogrio.errors
    try:
        layers = _with_polygons(pyogrio.list_layers(path).tolist())
        if len(layers) > 1 and kind != "KML":
            raise ValueError(_several(layers, given))
        found = [pyogrio.raw.read(path, layer=name, columns=[]) for name in layers]
        parts = [part for _, _, wkb, _ in found for part in from_wkb(wkb) if part is not None]
    except (
        errors.DataSourceError,
        errors.DataLayerError,
        errors.FieldError,
        ShapelyError,
    ) as error:
        raise ValueError(
            f"{given.name} is {kind} that cannot be read: {error}. Repair or convert it: "
            f"{convert_command(given)}"
        ) from error
    return Source(parts, "EPSG:4326" if kind == "KML" else found[0][0]["crs"] if found else None)


def _with_polygons(layers: list[list[str | None]]) -> list[str]:
    """Return the names of the layers that may contain polygons; of all layers if none may."""
    spatial = [(str(name), kind) for name, kind in layers if kind is not None]
    likely = [name for name, kind in spatial if not ("Point" in kind or "String" in kind)]
    return likely or [name for name, _ in spatial]


def _several(layers: list[str], given: Path) -> str:
    first = layers[0]
    return (
        f"expected one layer with polygons; {given.name} has {', '.join(layers)}. Convert one of "
        f"them: {convert_command(given, first)}"
    )


@contextmanager
def _extracted(path: Path) -> Iterator[Path]:
    """Extract the one geometry file of a zip file into a temporary folder."""
    try:
        with ZipFile(path) as archive, TemporaryDirectory(prefix="s2mirror-area-") as folder:
            chosen = _chosen(archive, path.name)
            target = Path(folder, "area" + Path(chosen.filename).suffix.lower())
            for member, suffix in _members(archive, chosen):
                target.with_suffix(suffix).write_bytes(archive.read(member))
            yield target
    except (BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path.name} cannot be unpacked: {error}") from error


def _chosen(archive: ZipFile, name: str) -> ZipInfo:
    members = [info for info in archive.infolist() if not info.is_dir()]
    if (total := sum(info.file_size for info in members)) > MAX_BYTES:
        raise ValueError(_too_large(f"the content of {name}", total))
    found = [info for info in members if info.filename.lower().endswith(_IN_ZIP)]
    found = [info for info in found if not info.filename.startswith("__MACOSX/")]
    if len(found) != 1:
        names = ", ".join(sorted(info.filename for info in found or members)[:10])
        raise ValueError(
            f"expected one of {', '.join(_IN_ZIP)} in {name}; it has {names or 'none'}"
        )
    return found[0]


def _members(archive: ZipFile, chosen: ZipInfo) -> Iterator[tuple[ZipInfo, str]]:
    """Yield the members of one geometry file, each with its suffix."""
    stem = str(PurePosixPath(chosen.filename).with_suffix(""))
    for info in archive.infolist():
        suffix = info.filename[len(stem) :].lower()
        wanted = info is chosen or suffix in _BESIDE_SHP
        if wanted and info.filename.startswith(stem):
            yield info, suffix


def _divided(parts: list[BaseGeometry]) -> list[BaseGeometry]:
    boxes = [part.bounds for part in parts if not part.is_empty]
    if not boxes:
        return parts
    wests, souths, easts, norths = zip(*boxes, strict=True)
    extent = max(max(easts) - min(wests), max(norths) - min(souths))
    return list(segmentize(parts, extent / _PIECES)) if extent > 0 else parts


def _too_large(what: str, size_bytes: int) -> str:
    return (
        f"expected at most {MAX_BYTES // 1_000_000} MB of geometry; {what} is "
        f"{size_bytes / 1_000_000:.0f} MB. Simplify it, or keep only the outer boundary"
    )
