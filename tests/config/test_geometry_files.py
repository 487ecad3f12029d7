import json
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any, Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import geopandas
import pytest
from config_builders import ARCHIVE, faults, load
from shapely import Point, Polygon
from shapely.geometry import box, mapping

from s2mirror.config import Area, Loaded
from s2mirror.crs import wgs84_note

PLACE: Final = box(9, 47, 10, 48)
TO_DEGREES: Final = "ogr2ogr -f GeoJSON -t_srs EPSG:4326"
ETRS89: Final = "ETRS89 is used as WGS 84, from which it differs by up to 1 m"
NAD83: Final = "NAD83 is used as WGS 84, from which it differs by up to 2 m"


def toml(name: str) -> str:
    return f'{ARCHIVE}[[area]]\nname = "a"\nstart = 2026-01-01\ngeojson = "{name}"\n'


def loaded(folder: Path, name: str) -> Loaded:
    return load(folder, toml(name))


def area_of(folder: Path, name: str) -> Area:
    return loaded(folder, name).settings.area[0]


def fault(folder: Path, name: str) -> str:
    (found,) = faults(folder, toml(name))
    return found.removeprefix("s2mirror.toml: area[0].geojson: ")


def frame(crs: str | None = "EPSG:4326", *shapes: Any) -> geopandas.GeoDataFrame:  # noqa: ANN401
    return geopandas.GeoDataFrame(geometry=list(shapes or [PLACE]), crs=crs)


def zipped_shapefile(folder: Path, found: geopandas.GeoDataFrame) -> Path:
    (folder / "shapes").mkdir()
    found.to_file(folder / "shapes/area.shp")
    return Path(shutil.make_archive(str(folder / "area"), "zip", folder / "shapes"))


@pytest.mark.parametrize(("name", "driver"), [("a.gpkg", "GPKG"), ("a.kml", "KML")])
def test_geopackage_and_kml_are_read(tmp_path: Path, name: str, driver: str) -> None:
    frame().to_file(tmp_path / name, driver=driver)
    assert area_of(tmp_path, name).geometry.equals(PLACE)
    assert loaded(tmp_path, name).notes == ()


def test_zipped_shapefile_is_read(tmp_path: Path) -> None:
    zipped_shapefile(tmp_path, frame())
    assert area_of(tmp_path, "area.zip").geometry.equals(PLACE)


def test_kind_shows_in_first_bytes_too(tmp_path: Path) -> None:
    frame().to_file(tmp_path / "a.gpkg", driver="GPKG")
    (tmp_path / "a.gpkg").rename(tmp_path / "area.geojson")
    assert area_of(tmp_path, "area.geojson").geometry.equals(PLACE)


def test_heights_in_kml_are_dropped(tmp_path: Path) -> None:
    ring = "9,47,400 10,47,400 10,48,410 9,47,400"
    text = (
        '<kml xmlns="http://www.opengis.net/kml/2.2"><Document><Folder><name>one</name><Placemark>'
        "<Polygon><outerBoundaryIs><LinearRing>"
        f"<coordinates>{ring}</coordinates></LinearRing></outerBoundaryIs></Polygon>"
        "</Placemark></Folder></Document></kml>"
    )
    (tmp_path / "a.kml").write_text(text)
    found = area_of(tmp_path, "a.kml").geometry
    assert found.equals(Polygon([(9, 47), (10, 47), (10, 48)]))
    assert not found.has_z


def test_file_without_system_is_used_with_note(tmp_path: Path) -> None:
    zipped_shapefile(tmp_path, frame(None))
    (note,) = loaded(tmp_path, "area.zip").notes
    assert note == (
        "area[0].geojson: the file names no coordinate system; "
        "its numbers are used as WGS 84 degrees"
    )


@pytest.mark.parametrize(("crs", "words"), [("EPSG:4258", ETRS89), ("EPSG:4269", NAD83)])
def test_nearly_equal_systems_are_used_with_note(tmp_path: Path, crs: str, words: str) -> None:
    frame(crs).to_file(tmp_path / "a.gpkg", driver="GPKG")
    assert loaded(tmp_path, "a.gpkg").notes == (f"area[0].geojson: {words}",)


@pytest.mark.parametrize("crs", ["EPSG:25832", "EPSG:2056", "EPSG:3857"])
def test_projected_files_are_converted(tmp_path: Path, crs: str) -> None:
    frame().to_crs(crs).to_file(tmp_path / "a.gpkg", driver="GPKG")
    found = area_of(tmp_path, "a.gpkg").geometry
    assert found.symmetric_difference(PLACE).area < 0.02, "its edges are straight on the map"
    corners = found.simplify(0.02).segmentize(5)
    assert corners.hausdorff_distance(PLACE) < 0.02
    assert loaded(tmp_path, "a.gpkg").notes == (
        f"area[0].geojson: its coordinates were converted from {crs} to WGS 84",
    )


def test_projected_geojson_is_converted_longitude_first(tmp_path: Path) -> None:
    document = json.loads(frame().to_crs(25832).to_json())
    document["crs"] = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::25832"}}
    (tmp_path / "a.geojson").write_text(json.dumps(document))
    found = area_of(tmp_path, "a.geojson").geometry
    assert found.bounds == pytest.approx((9, 47, 10, 48), abs=0.01)


def test_without_pyproj_the_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame().to_crs(25832).to_file(tmp_path / "a.gpkg", driver="GPKG")
    monkeypatch.setitem(sys.modules, "pyproj", None)
    assert fault(tmp_path, "a.gpkg") == (
        "expected longitude and latitude in degrees (WGS 84); 'EPSG:25832' is not WGS 84, ETRS89 "
        f"or NAD83 in degrees. Convert it: {TO_DEGREES} a-wgs84.geojson a.gpkg; or install what "
        "converts it: pip install 's2mirror[areas]'"
    )


@pytest.mark.long
def test_unknown_systems_name_the_command(tmp_path: Path) -> None:
    crs = {"type": "name", "properties": {"name": "Marsden squares"}}
    (tmp_path / "a.geojson").write_text(json.dumps({**mapping(PLACE), "crs": crs}))
    words = fault(tmp_path, "a.geojson")
    assert "'Marsden squares' is not WGS 84, ETRS89 or NAD83 in degrees, and cannot be" in words
    assert words.endswith(f"Convert it: {TO_DEGREES} a-wgs84.geojson a.geojson")


def test_other_kinds_name_the_command(tmp_path: Path) -> None:
    (tmp_path / "my area.fgb").write_bytes(b"fgb\x03")
    assert fault(tmp_path, "my area.fgb") == (
        "expected GeoJSON, a GeoPackage, a shapefile, KML or one of these in a zip file; "
        f"my area.fgb is FlatGeobuf. Convert it: {TO_DEGREES} 'my area-wgs84.geojson' "
        "'my area.fgb'"
    )


def test_missing_reader_names_extra_and_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.kml").write_text("<kml/>")
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    assert fault(tmp_path, "a.kml") == (
        "a.kml is KML, which needs pyogrio: pip install 's2mirror[areas]'; "
        f"or convert it: {TO_DEGREES} a-wgs84.geojson a.kml"
    )


def test_several_layers_with_polygons_are_refused(tmp_path: Path) -> None:
    for layer in ("parcels", "roads"):
        frame().to_file(tmp_path / "a.gpkg", driver="GPKG", layer=layer)
    assert fault(tmp_path, "a.gpkg") == (
        "expected one layer with polygons; a.gpkg has parcels, roads. Convert one of them: "
        f"{TO_DEGREES} a-wgs84.geojson a.gpkg parcels"
    )


def test_layers_without_polygons_are_left_out(tmp_path: Path) -> None:
    frame("EPSG:4326", Point(0, 0)).to_file(tmp_path / "a.gpkg", driver="GPKG", layer="wells")
    frame().to_file(tmp_path / "a.gpkg", driver="GPKG", layer="parcels")
    assert area_of(tmp_path, "a.gpkg").geometry.equals(PLACE)


def test_all_folders_of_kml_are_read(tmp_path: Path) -> None:
    ring = "<coordinates>{0},47 {1},47 {1},48 {0},47</coordinates>"
    folders = "".join(
        f"<Folder><name>{west}</name><Placemark><Polygon><outerBoundaryIs><LinearRing>"
        f"{ring.format(west, west + 1)}</LinearRing></outerBoundaryIs></Polygon></Placemark>"
        "</Folder>"
        for west in (9, 20)
    )
    (tmp_path / "a.kml").write_text(
        f'<kml xmlns="http://www.opengis.net/kml/2.2"><Document>{folders}</Document></kml>'
    )
    assert area_of(tmp_path, "a.kml").geometry.bounds == (9, 47, 21, 48)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.gpkg", b"", "expected a GeoPackage; the content of a.gpkg is something else"),
        ("a.gpkg", b"no", "expected a GeoPackage; the content of a.gpkg is something else"),
        ("a.gpkg", b"<OGRVRTDataSource/>", "a.gpkg is XML"),
        ("a.gpkg", b"SQLite format 3\x00", "a.gpkg is a GeoPackage that cannot be read"),
        ("a.shp", b"\x00\x00\x27\x0a", "a.shp is a shapefile that cannot be read"),
        ("a.kml", b"<kml><Document>", "a.kml is KML that cannot be read"),
        ("a.kml", b'<!DOCTYPE k [<!ENTITY a "b">]><kml>&a;</kml>', "expected KML without entities"),
        ("a.zip", b"PK\x03\x04", "a.zip cannot be unpacked: File is not a zip file"),
    ],
)
def test_damaged_and_disguised_files_are_faults(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert words in fault(tmp_path, name)


def test_zip_with_two_files_is_refused(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("one.kml", "<kml/>")
        archive.writestr("two.kml", "<kml/>")
    assert fault(tmp_path, "a.zip") == (
        "expected one of .shp, .kml, .gpkg in a.zip; it has one.kml, two.kml"
    )


def test_zip_in_a_zip_is_refused(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("one.kml", b"PK\x03\x04")
    assert "a.zip is a zip file. Convert it" in fault(tmp_path, "a.zip")


def test_zipped_kml_is_read(tmp_path: Path) -> None:
    frame().to_file(tmp_path / "doc.kml", driver="KML")
    with ZipFile(tmp_path / "a.kmz", "w") as archive:
        archive.write(tmp_path / "doc.kml", "doc.kml")
        archive.writestr("files/photo.png", b"")
    assert area_of(tmp_path, "a.kmz").geometry.equals(PLACE)


def test_zip_bomb_is_refused_unread(tmp_path: Path) -> None:
    with (
        ZipFile(tmp_path / "a.zip", "w", ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.kml", "w") as member,
    ):
        for _ in range(101):
            member.write(bytes(1_000_000))
    assert (tmp_path / "a.zip").stat().st_size < 1_000_000
    assert fault(tmp_path, "a.zip").startswith(
        "expected at most 100 MB of geometry; the content of a.zip is 101 MB"
    )


@pytest.mark.parametrize("name", ["a.geojson", "a.gpkg"])
def test_huge_files_are_refused_unread(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(200_000_000_000)
    assert fault(tmp_path, name).startswith(
        f"expected at most 100 MB of geometry; {name} is 200000 MB"
    )


def test_pipes_are_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.geojson")
    assert fault(tmp_path, "a.geojson") == (
        "expected a file; got a.geojson, which is a device or a pipe"
    )


def test_links_in_a_zip_are_not_followed(tmp_path: Path) -> None:
    frame().to_file(tmp_path / "outside.kml", driver="KML")
    link = ZipInfo("a.kml")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, str(tmp_path / "outside.kml"))
    assert "expected KML; the content of area.kml is something else" in fault(tmp_path, "a.zip")


def test_points_alone_enclose_no_area(tmp_path: Path) -> None:
    frame("EPSG:4326", Point(9, 47)).to_file(tmp_path / "a.gpkg", driver="GPKG")
    assert "holds only Point without area" in fault(tmp_path, "a.gpkg")


WGS84_NAMES: Final = (
    *("EPSG:4326", "epsg:4326", "EPSG::4326", "EPSG:8.9:4326", "EPSG:4979", "WGS84", "WGS 84"),
    *("CRS84", "OGC:CRS84", "urn:ogc:def:crs:OGC::CRS84", "urn:ogc:def:crs:OGC:1.3:CRS84"),
    *("urn:ogc:def:crs:OGC::CRS84h", "urn:ogc:def:crs:EPSG::4326", "WGS_1984"),
    *("4326", "EPSG 4326", "WGS 84 (G2139)", "GCS_WGS_1984", "WGS84(DD)", "epsg:4329"),
    *("urn:ogc:def:crs:EPSG:8.9:4326", "http://www.opengis.net/def/crs/EPSG/0/4326"),
    *(
        "http://www.opengis.net/def/crs/OGC/1.3/CRS84",
        "https://www.opengis.net/def/crs/OGC/0/CRS84h",
    ),
    *("http://www.opengis.net/gml/srs/epsg.xml#4326", "http://spatialreference.org/ref/epsg/4326/"),
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]]]',
    'GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984"]]',
)


@pytest.mark.parametrize("name", WGS84_NAMES)
def test_wgs84_has_many_names(tmp_path: Path, name: str) -> None:
    assert wgs84_note(name) == ""
    document = {**mapping(PLACE), "crs": {"type": "name", "properties": {"name": name}}}
    (tmp_path / "a.geojson").write_text(json.dumps(document))
    assert area_of(tmp_path, "a.geojson").geometry.equals(PLACE)


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("urn:ogc:def:crs:EPSG::4258", ETRS89),
        ("http://www.opengis.net/def/crs/EPSG/0/4258", ETRS89),
        ("EPSG:4269", NAD83),
        ("urn:ogc:def:crs:OGC:1.3:CRS83", NAD83),
        ("EPSG:6318", NAD83),
        ("EPSG:9067", ETRS89),
        ("ETRF2000", ETRS89),
        ("NAD83(2011)", NAD83),
        ('GEOGCS["GCS_ETRS_1989",DATUM["D_ETRS_1989"]]', ETRS89),
        ('GEOGCS["GCS_North_American_1983",DATUM["D_North_American_1983"]]', NAD83),
    ],
)
def test_etrs89_and_nad83_are_taken_with_note(name: str, note: str) -> None:
    assert wgs84_note(name) == note


@pytest.mark.parametrize(
    "name",
    [
        *("EPSG:25832", "EPSG:3857", "EPSG:14326", "EPSG:43260", "EPSG:32632", "EPSG:4326+5773"),
        *(
            "",
            "14326",
            "EPSG:",
            "CRS84X",
            "WGS 84 / UTM zone 32N",
            "NAD27",
            'PROJCS["WGS 84 / UTM zone 32N",GEOGCS["WGS 84"]]',
        ),
        "urn:ogc:def:crs:OGC:1.3:CRS27",
    ],
)
def test_other_systems_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not WGS 84, ETRS89 or NAD83"):
        wgs84_note(name)


@pytest.mark.parametrize("crs", [{"type": "EPSG", "properties": {"code": 4326}}, None, "EPSG:4326"])
def test_old_forms_of_crs_are_read(tmp_path: Path, crs: object) -> None:
    (tmp_path / "a.geojson").write_text(json.dumps({**mapping(PLACE), "crs": crs}))
    assert area_of(tmp_path, "a.geojson").geometry.equals(PLACE)
