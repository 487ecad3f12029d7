"""Encodes pixels as PNG, JPEG or GeoTIFF."""

import io
import struct
import zlib
from typing import Any, Final

import numpy as np
from PIL import Image

from s2mirror.crs import WGS84
from s2mirror.sandbox.scene import Grid

_MODES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_TYPES: Final = {"UINT8": "uint8", "UINT16": "uint16", "FLOAT32": "float32"}
_COLOURS: Final = 3
_Tag = tuple[int, str, tuple[float, ...]]
_TIFF_CODES: Final = {"H": 3, "I": 4, "d": 12}


def numbers(pixels: Grid, sample_type: str) -> Any:  # noqa: ANN401 - an array of that type
    """Return pixels as numbers of a sample type; AUTO scales 0 … 1 to 0 … 255."""
    if sample_type == "FLOAT32":
        return pixels.astype("float32")
    name = _TYPES.get(sample_type, "uint8")
    stretched = pixels * 255 if sample_type == "AUTO" else pixels
    return np.clip(np.round(stretched), 0, np.iinfo(name).max).astype(name)


def png(pixels: Any) -> bytes:  # noqa: ANN401 - an array of bytes
    """Return a PNG of 1 to 4 bands."""
    return _encoded(pixels, "PNG")


def jpeg(pixels: Any, quality: int) -> bytes:  # noqa: ANN401 - an array of bytes
    """Return a JPEG of 1 or 3 bands."""
    return _encoded(pixels, "JPEG", quality=quality)


def _encoded(pixels: Any, form: str, **options: Any) -> bytes:  # noqa: ANN401 - as Pillow expects them
    bands = pixels.shape[2]
    image = Image.fromarray(pixels[:, :, 0] if bands == 1 else pixels, _MODES[bands])
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def geotiff(pixels: Any, bbox: tuple[float, ...], crs: str) -> bytes:  # noqa: ANN401 - an array
    """Return a GeoTIFF of any bands and type, with one deflated strip."""
    height, width, bands = pixels.shape
    west, south, east, north = bbox
    strip = zlib.compress(
        np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("<")).tobytes()
    )
    bits = pixels.dtype.itemsize * 8
    tags: list[_Tag] = [
        (256, "I", (width,)),
        (257, "I", (height,)),
        (258, "H", (bits,) * bands),
        (259, "H", (8,)),
        (262, "H", (2 if bands >= _COLOURS else 1,)),
        (273, "I", (0,)),
        (277, "H", (bands,)),
        (278, "I", (height,)),
        (279, "I", (len(strip),)),
        (284, "H", (1,)),
        *_extra_samples(bands),
        (339, "H", (3 if pixels.dtype.kind == "f" else 1,) * bands),
        (33550, "d", ((east - west) / width, (north - south) / height, 0)),
        (33922, "d", (0, 0, 0, west, north, 0)),
        (34735, "H", _geo_keys(crs)),
    ]
    return _tiff(tags, strip)


def geo_tags(west: float, north: float, pixel_metres: float, crs: str) -> bytes:
    """Return a GeoTIFF of one pixel, which states the place and the pixel size of another image."""
    place: list[_Tag] = [
        (256, "I", (1,)),
        (257, "I", (1,)),
        (258, "H", (8,)),
        (259, "H", (1,)),
        (262, "H", (1,)),
        (273, "I", (0,)),
        (277, "H", (1,)),
        (278, "I", (1,)),
        (279, "I", (1,)),
        (33550, "d", (pixel_metres, pixel_metres, 0)),
        (33922, "d", (0, 0, 0, west, north, 0)),
        (34735, "H", _geo_keys(crs)),
    ]
    return _tiff(place, b"\0")


def _extra_samples(bands: int) -> list[_Tag]:
    """Return the tag of the bands after grey or colours; a single one is alpha."""
    extra = bands - (_COLOURS if bands >= _COLOURS else 1)
    return [(338, "H", (2 if extra == 1 else 0,) * extra)] if extra else []


def _geo_keys(crs: str) -> tuple[int, ...]:
    """Return the keys of the coordinate system; pixels are areas, in degrees or metres."""
    is_degrees = crs == WGS84
    kind, key = (2, 2048) if is_degrees else (1, 3072)
    code = int(crs.partition(":")[2])
    return (1, 1, 0, 3, 1024, 0, 1, kind, 1025, 0, 1, 1, key, 0, 1, code)


def _tiff(tags: list[_Tag], strip: bytes) -> bytes:
    """Return a little-endian TIFF: header, strip, long values, then the directory."""
    body = struct.pack("<2sHI", b"II", 42, 0) + strip + b"\0" * (len(strip) % 2)
    entries = b""
    for tag, kind, values in tags:
        given = (8,) if tag == 273 else values  # noqa: PLR2004 - the offset of the strip
        packed = struct.pack(f"<{len(given)}{kind}", *given)
        if len(packed) > 4:  # noqa: PLR2004 - an entry has four bytes
            body, packed = body + packed + b"\0" * (len(packed) % 2), struct.pack("<I", len(body))
        entries += struct.pack("<HHI", tag, _TIFF_CODES[kind], len(given)) + packed.ljust(4, b"\0")
    head = struct.pack("<2sHI", b"II", 42, len(body))
    return head + body[8:] + struct.pack("<H", len(tags)) + entries + b"\0" * 4
