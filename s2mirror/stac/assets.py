"""The assets of a product: which files, under which keys, with which fields.

Keys, titles and roles are those of CDSE's items, so that programs for those can read these.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from s2mirror.radiometry import Conversion
from s2mirror.tiles import WIDTH_METRES

_METADATA: Final = MappingProxyType(
    {
        "manifest.safe": "safe_manifest",
        "INSPIRE.xml": "inspire_metadata",
        "MTD_MSIL1C.xml": "product_metadata",
        "MTD_MSIL2A.xml": "product_metadata",
        "MTD_TL.xml": "granule_metadata",
        "MTD_DS.xml": "datastrip_metadata",
    }
)
_MASKS: Final = MappingProxyType({"MSK_CLDPRB": "CLD", "MSK_SNWPRB": "SNW"})
_SIZES: Final = MappingProxyType({10: 10_980, 20: 5_490, 60: 1_830})
_BANDS: Final[Mapping[str, tuple[str, str, float, int]]] = MappingProxyType(
    {
        "B01": ("Coastal aerosol (band 1)", "coastal", 0.443, 60),
        "B02": ("Blue (band 2)", "blue", 0.493, 10),
        "B03": ("Green (band 3)", "green", 0.56, 10),
        "B04": ("Red (band 4)", "red", 0.665, 10),
        "B05": ("Red edge 1 (band 5)", "rededge071", 0.704, 20),
        "B06": ("Red edge 2 (band 6)", "rededge075", 0.741, 20),
        "B07": ("Red edge 3 (band 7)", "rededge078", 0.783, 20),
        "B08": ("NIR 1 (band 8)", "nir", 0.833, 10),
        "B8A": ("NIR 2 (band 8A)", "nir08", 0.865, 20),
        "B09": ("NIR 3 (band 9)", "nir09", 0.945, 60),
        "B10": ("Cirrus (band 10)", "cirrus", 1.377, 60),
        "B11": ("SWIR 1 (band 11)", "swir16", 1.614, 20),
        "B12": ("SWIR 2 (band 12)", "swir22", 2.202, 20),
    }
)
"""Title, common name, centre in micrometres and own resolution in metres of each band."""
_MAPS: Final[Mapping[str, tuple[str, dict[str, Any]]]] = MappingProxyType(
    {
        "AOT": ("Aerosol optical thickness", {}),
        "WVP": ("Water vapour", {}),
        "CLD": ("Cloud probability", {"data_type": "uint8", "unit": "%"}),
        "SNW": ("Snow probability", {"data_type": "uint8", "unit": "%"}),
    }
)
_IMAGE_KEYS: Final = frozenset(
    f"{name}{grid}"
    for name in (*_BANDS, "AOT", "SCL", "TCI", "WVP")
    for grid in ("", "_10m", "_20m", "_60m")
)
_BY_TAIL: Final = {f"{key}.jp2": key for key in _IMAGE_KEYS if key.endswith("m")}
_TAIL_CHARACTERS: Final = len("B02_10m.jp2")
_PICTURES: Final = MappingProxyType(
    {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg"}
    | dict.fromkeys(("tif", "tiff"), "image/tiff; application=geotiff")
)
_SCENE_CLASSES: Final = (
    *("no_data", "saturated_or_defective", "dark_area_pixels", "cloud_shadows", "vegetation"),
    *("not_vegetated", "water", "unclassified", "cloud_medium_probability"),
    *("cloud_high_probability", "thin_cirrus", "snow"),
)


def asset_key(path: str) -> str:
    """Return the key of a file's asset, or ``""`` if the file is not an asset.

    Images are recognized by the end of their names, which all of ESA's naming conventions share.
    """
    if "/IMG_DATA/" in path and (key := _BY_TAIL.get(path[-_TAIL_CHARACTERS:])):
        return key
    if "/IMG_DATA/" in path and path.endswith(".jp2"):
        return _image_key(path)
    return _other_key(path[max(path.rfind("/"), 0) :])


def _image_key(path: str) -> str:
    first, _, last = path[path.rfind("/") + 1 : -len(".jp2")].rpartition("_")
    key = f"{first[first.rfind('_') + 1 :]}_{last}"
    return next((found for found in (key, last) if found in _IMAGE_KEYS), "")


@lru_cache(maxsize=4096)
def _other_key(path: str) -> str:
    """Return the key of a file by the end of its path; files at the top have no slash."""
    if path.endswith("-ql.jpg"):
        return "" if path.startswith("/") else "thumbnail"
    name = path.removeprefix("/")
    if not name.endswith(".jp2"):
        return _METADATA.get(name, "")
    first, _, last = name[: -len(".jp2")].rpartition("_")
    if mask := _MASKS.get(first):
        return f"{mask}_{last}"
    return "PVI" if last == "PVI" else ""


@lru_cache(maxsize=8)
def asset_keys(collection: str) -> tuple[str, ...]:
    """Return the keys that a collection's items may have, sorted."""
    others = {"PVI", "thumbnail", *_METADATA.values()}
    if collection.endswith("l1c"):
        return tuple(sorted((*_BANDS, "TCI", *others)))
    bands = (f"{name}_{gsd}m" for name, (*_, own) in _BANDS.items() for gsd in _SIZES if gsd >= own)
    maps = (f"{name}_{gsd}m" for name in ("AOT", "SCL", "TCI", "WVP") for gsd in _SIZES)
    masks = (f"{name}_{gsd}m" for name in ("CLD", "SNW") for gsd in (20, 60))
    # L2A has B01 at 20 m too, resampled from 60 m.
    return tuple(sorted({*bands, *maps, *masks, "B01_20m", *others}))


@lru_cache(maxsize=1024)
def asset_fields(key: str, conversion: Conversion | None = None) -> Mapping[str, Any]:
    """Return the fields that all assets of a key share, if their numbers convert alike."""
    if key == "thumbnail":
        roles = ["thumbnail", "overview"]
        return {"type": "image/jpeg", "title": "Quicklook", "roles": roles}
    if key == "PVI":
        return {"type": "image/jp2", "title": "Preview image", "roles": ["overview"]}
    if key.endswith(("_metadata", "_manifest")):
        return {"type": "application/xml", "roles": ["metadata"]}
    return {"type": "image/jp2", **_image_fields(key), **_conversion_fields(conversion)}


def _conversion_fields(conversion: Conversion | None) -> dict[str, Any]:
    if conversion is None:
        return {}
    return {"raster:scale": conversion.scale, "raster:offset": conversion.offset}


def preview_fields(path: str, name: str) -> dict[str, Any]:
    """Return the fields of a preview's asset."""
    stem, _, suffix = path.rpartition(".")
    number = stem.partition(f".{name}-")[2]
    title = f"Preview: {name}" + (f", part {number}" if number else "")
    kind = _PICTURES.get(suffix, "application/octet-stream")
    return {"type": kind, "title": title, "roles": ["overview"]}


@lru_cache(maxsize=1024)
def asset_grid(key: str, grid: tuple[int, int, int]) -> Mapping[str, Any]:
    """Return an image's grid fields, from the EPSG code and north-west corner of its tile."""
    step, (epsg, west, north) = _gsd(key), grid
    if key in {"PVI", "thumbnail"} or not step:
        return {}
    return {
        "proj:code": f"EPSG:{epsg}",
        "proj:shape": [_SIZES[step], _SIZES[step]],
        "proj:transform": [step, 0, west, 0, -step, north],
        "proj:bbox": [west, north - WIDTH_METRES, west + WIDTH_METRES, north],
    }


def _gsd(key: str) -> int:
    """Return the pixel size of an image in metres; 0 for other files."""
    name, _, resolution = key.partition("_")
    if resolution.endswith("m") and resolution[:-1].isdigit():
        gsd = int(resolution[:-1])
        return gsd if gsd in _SIZES else 0
    if name == "TCI":
        return 10
    return _BANDS[name][3] if name in _BANDS and not resolution else 0


def _image_fields(key: str) -> dict[str, Any]:
    name, gsd = key.partition("_")[0], _gsd(key)
    fields = {"roles": ["data", f"gsd:{gsd}m"], "gsd": gsd, "nodata": 0, "data_type": "uint16"}
    if name in _BANDS:
        fields |= {
            "title": f"{_BANDS[name][0]} - {gsd}m",
            "roles": ["data", "reflectance", f"gsd:{gsd}m"],
            "bands": [_band(name)],
        }
    elif name == "TCI":
        bands = [_band("B04"), _band("B03"), _band("B02")]
        fields |= {"title": f"True color image - {gsd}m", "bands": bands, "data_type": "uint8"}
        fields["roles"] = ["visual", f"gsd:{gsd}m"]
    elif name == "SCL":
        classes = [{"value": n, "name": name} for n, name in enumerate(_SCENE_CLASSES)]
        fields |= {"title": f"Scene classification map (SCL) - {gsd}m", "data_type": "uint8"}
        fields["classification:classes"] = classes
    else:
        title, more = _MAPS[name]
        fields |= {"title": f"{title} ({name}) - {gsd}m", **more}
        fields["bands"] = [{"name": name, "description": title}]
        if name in {"CLD", "SNW"}:
            del fields["nodata"]
    return fields


def _band(name: str) -> dict[str, Any]:
    title, common, centre, _ = _BANDS[name]
    return {
        "name": name,
        "description": title,
        "eo:common_name": common,
        "eo:center_wavelength": centre,
    }
