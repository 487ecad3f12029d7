"""Checks whether an image is the requested one, and shows anything: an empty preview is not stored.

The size that an image announces is compared with the requested one before anything is decoded, and
decoded parts are bounded: a small file may announce, or expand to, any number of pixels.
"""

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
_MAX_BYTES_PER_PIXEL: Final = 16
"""Four bands of 32 bits."""
_MAX_BLOCK_BYTES: Final = 32 * 1024**2
"""Of the parts in which a TIFF is stored; each is decoded at once."""
_CACHE_BYTES: Final = 16 * 1024**2
_DEPTHS: Final = (1, 2, 4, 8, 16)
_DRIVERS: Final = {"jpeg": "JPEG", "tiff": "GTiff"}
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


def is_empty(content: bytes, form: str, size: tuple[int, int]) -> bool:
    """Return whether an image of the requested *size* shows nothing: transparent or black.

    Raises ValueError if *content* is not an image of that format and of that width and height.
    """
    if not is_image(content, form):
        raise ValueError(f"it is no {form}")
    return _is_empty_png(content, size) if form == "png" else _is_empty_raster(content, form, size)


def _check_size(width: int, height: int, size: tuple[int, int]) -> None:
    if (width, height) != size or min(size) < 1:
        raise ValueError(
            f"it has {width} by {height} pixels; {size[0]} by {size[1]} were requested"
        )


def _is_empty_png(content: bytes, size: tuple[int, int]) -> bool:
    """Check the filtered bytes only: every filter keeps zeros as zeros, channel by channel."""
    header, packed = b"", []
    for kind, body in _chunks(content):
        if kind == b"IHDR":
            header = header or body
        elif kind == b"IDAT":
            packed.append(body)
    try:
        width, height, depth, colours, *_, interlaced = struct.unpack(">IIBBBBB", header)
    except struct.error as error:
        raise ValueError("a PNG without a header") from error
    _check_size(width, height, size)
    channels = _CHANNELS.get(colours)
    if channels is None or interlaced:
        return False
    if depth not in _DEPTHS:
        raise ValueError(f"a PNG of {depth} bits per sample")
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
    try:
        raw = zlib.decompressobj().decompress(packed, size_bytes)
    except zlib.error as error:
        raise ValueError(f"a PNG that cannot be unpacked: {error}") from error
    if len(raw) != size_bytes:
        raise ValueError("a PNG with too few pixels")
    return np.frombuffer(raw, np.uint8)


def _is_empty_raster(content: bytes, form: str, size: tuple[int, int]) -> bool:
    from rasterio import Env  # noqa: PLC0415 - an optional extra
    from rasterio.errors import (  # noqa: PLC0415 - an optional extra
        NotGeoreferencedWarning,
        RasterioError,
    )
    from rasterio.io import MemoryFile  # noqa: PLC0415 - an optional extra

    warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)  # a JPEG never is
    try:
        with (
            Env(GDAL_CACHEMAX=_CACHE_BYTES),
            MemoryFile(content, ext=FORMATS[form].suffix) as file,
            file.open(driver=_DRIVERS[form]) as image,
        ):
            _check_raster(image, size)
            return not any(part.any() for part in _visible_parts(image))
    except RasterioError as error:
        raise ValueError(f"it cannot be read: {error}") from error


def _check_raster(image: Any, size: tuple[int, int]) -> None:  # noqa: ANN401 - the library has no types
    """Raise ValueError for an image of another size, or one that takes much memory to decode."""
    _check_size(image.width, image.height, size)
    sample_bytes = max(np.dtype(name).itemsize for name in image.dtypes)
    block_bytes = max(rows * columns for rows, columns in image.block_shapes) * sample_bytes
    if image.count * sample_bytes > _MAX_BYTES_PER_PIXEL:
        raise ValueError(f"it has {image.count} bands of {sample_bytes} B")
    if block_bytes * image.count > _MAX_BLOCK_BYTES:
        raise ValueError(f"it is stored in parts of {block_bytes * image.count} B")


def _visible_parts(image: Any) -> Iterator[Any]:  # noqa: ANN401 - see above
    """Yield the pixels that decide whether *image* is empty, part by part: alpha, if it exists."""
    has_alpha = image.count in (2, 4)
    bands = [image.count] if has_alpha else list(image.indexes)
    for _, window in image.block_windows(1):
        yield image.read(bands, window=window)
