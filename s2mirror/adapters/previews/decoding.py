"""Checks whether an image shows anything: an empty preview is not stored."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, Final

import numpy as np

from s2mirror.errors import PreviewError
from s2mirror.preview_model import FORMATS

SIGNATURES: Final = {"png": (b"\x89PNG\r\n\x1a\n",), "jpeg": (b"\xff\xd8\xff",)} | {
    "tiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
}
_MAX_PIXEL_BYTES: Final = 256 * 1024**2
_CHANNELS: Final = {0: 1, 2: 3, 4: 2, 6: 4}
"""Of PNG's colour types; a palette (3) has no channels of its own."""
_WITH_ALPHA: Final = (4, 6)


def is_image(content: bytes, form: str) -> bool:
    """Return whether *content* has the signature of that format."""
    return content.startswith(SIGNATURES[form])


def require_decoder(form: str) -> None:
    """Raise PreviewError if no library is installed that can decode that format."""
    if form != "png" and find_spec("rasterio") is None:
        raise PreviewError(
            f"rendering a preview as {form} needs rasterio, to check whether it is empty; "
            'nothing was requested. Run: pip install "s2mirror[preview]", or use the format "png"'
        )


def is_empty(content: bytes, form: str) -> bool:
    """Return whether an image shows nothing: all transparent, or all black.

    Raises ValueError if *content* is not an image of that format.
    """
    if not is_image(content, form):
        raise ValueError(f"it is no {form}")
    return _is_empty_png(content) if form == "png" else _is_empty_raster(content, form)


def _is_empty_png(content: bytes) -> bool:
    """Check the filtered bytes only: every filter keeps zeros as zeros, channel by channel."""
    header, packed = b"", []
    for kind, body in _chunks(content):
        if kind == b"IHDR":
            header = body
        elif kind == b"IDAT":
            packed.append(body)
    try:
        width, height, depth, colours, *_, interlaced = struct.unpack(">IIBBBBB", header)
    except struct.error as error:
        raise ValueError("a PNG without a header") from error
    channels = _CHANNELS.get(colours)
    if channels is None or interlaced:
        return False
    stride = 1 + (width * channels * depth + 7) // 8
    rows = _unpacked(b"".join(packed), height * stride).reshape(height, stride)[:, 1:]
    step = channels * depth // 8
    if colours in _WITH_ALPHA:
        rows = rows.reshape(height, width, step)[:, :, -(depth // 8) :]
    return not rows.any()


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURES["png"][0])
    while at + 8 <= len(content):
        size, kind = struct.unpack(">I4s", content[at : at + 8])
        yield kind, content[at + 8 : at + 8 + size]
        if kind == b"IEND":
            return
        at += 12 + size
    raise ValueError("a PNG that is cut short")


def _unpacked(packed: bytes, size_bytes: int) -> Any:  # noqa: ANN401 - an array of bytes
    """Return exactly *size_bytes*, never more: a small file may expand to a very large one."""
    if size_bytes > _MAX_PIXEL_BYTES:
        raise ValueError(f"a PNG of {size_bytes} B of pixels")
    try:
        raw = zlib.decompressobj().decompress(packed, size_bytes)
    except zlib.error as error:
        raise ValueError(f"a PNG that cannot be unpacked: {error}") from error
    if len(raw) != size_bytes:
        raise ValueError("a PNG with too few pixels")
    return np.frombuffer(raw, np.uint8)


def _is_empty_raster(content: bytes, form: str) -> bool:
    from rasterio.errors import (  # noqa: PLC0415 - an optional extra
        NotGeoreferencedWarning,
        RasterioError,
    )
    from rasterio.io import MemoryFile  # noqa: PLC0415 - an optional extra

    warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)  # a JPEG never is
    try:
        with MemoryFile(content, ext=FORMATS[form].suffix) as file, file.open() as image:
            if image.width * image.height * image.count > _MAX_PIXEL_BYTES:
                raise ValueError(f"an image of {image.width} by {image.height} pixels")
            pixels = image.read()
    except RasterioError as error:
        raise ValueError(f"it cannot be read: {error}") from error
    has_alpha = image.count in (2, 4)
    return not (pixels[-1] if has_alpha else pixels).any()
