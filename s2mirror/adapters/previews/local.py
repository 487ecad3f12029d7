"""The images that products contain: the quicklook, and the true-colour band."""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any, Final

from s2mirror.adapters.previews.decoding import is_image
from s2mirror.crs import check_crs
from s2mirror.errors import ArchiveError, PreviewError
from s2mirror.model import Product
from s2mirror.ports import ProductFiles
from s2mirror.preview_model import FORMATS, Extent, RenderedImage
from s2mirror.tiles import WIDTH_METRES, tile_grid

_QUICKLOOK_PIXELS: Final = 343
"""It covers the whole tile at 320 m per pixel."""
_MAX_QUICKLOOK_BYTES: Final = 16 * 1024**2
_TCI: Final = ("GRANULE/*/IMG_DATA/R10m/*_TCI_10m.jp2", "GRANULE/*/IMG_DATA/*_TCI.jp2")
_JPEG_2000: Final = {"driver": "JP2OpenJPEG"}
_DRIVERS: Final = {"png": "PNG", "jpeg": "JPEG", "tiff": "GTiff"}


class ProductImageReader:
    """The product images port. It costs no processing units."""

    def quicklook(self, files: ProductFiles, product: Product) -> RenderedImage:
        """Return the small JPEG of a product."""
        name = f"{product.id}-ql.jpg"
        try:
            with files.open(name) as file:
                content = file.read(_MAX_QUICKLOOK_BYTES + 1)
        except OSError as error:
            raise PreviewError(
                f"reading {name} of {product.id}: {error.strerror}; "
                'the product has no quicklook. Set preview.source to "tci" or "process"'
            ) from error
        except ArchiveError as error:
            raise PreviewError(f"reading {name} of {product.id}: {error}") from error
        if len(content) > _MAX_QUICKLOOK_BYTES or not is_image(content, "jpeg"):
            raise PreviewError(
                f"reading {name} of {product.id}: it is not a JPEG of at most 16 MiB"
            )
        return RenderedImage(content=content, form="jpeg", extent=_tile_extent(product))

    def tci(
        self, files: ProductFiles, product: Product, *, longest_pixels: int, form: str
    ) -> RenderedImage:
        """Return the true-colour band of a product, at a reduced size.

        JPEG 2000 contains the image at half, a quarter … of its size too: only the needed
        resolution is decoded.
        """
        rasterio = _rasterio()
        try:
            name = _tci_path(files.paths())
            # GDAL opens files by path only. The path of a descriptor leads to the file that was
            # opened, whatever is at the product's path meanwhile.
            with (
                files.open(name) as file,
                rasterio.open(f"/dev/fd/{file.fileno()}", **_JPEG_2000) as band,
            ):
                crs = check_crs(f"EPSG:{band.crs.to_epsg()}")
                scale = max(band.width, band.height, longest_pixels) / longest_pixels
                width, height = round(band.width / scale), round(band.height / scale)
                pixels = band.read((1, 2, 3), out_shape=(3, height, width))
                extent = Extent(crs=crs, bbox=tuple(band.bounds), width=width, height=height)
            return RenderedImage(
                content=_encoded(rasterio, pixels, extent, form),
                form=form,
                extent=extent,
                is_empty=not pixels.any(),
            )
        except (rasterio.errors.RasterioError, AttributeError, ValueError, OSError) as error:
            raise PreviewError(
                f"reading the true-colour band of {product.id} at a reduced size: {error}"
            ) from error
        except ArchiveError as error:
            raise PreviewError(f"reading the true-colour band of {product.id}: {error}") from error


def _tci_path(paths: Iterable[str]) -> str:
    """Return the path of the true-colour band; raise PreviewError without one."""
    found = sorted(paths)
    for pattern in _TCI:
        for path in found:
            if PurePosixPath(path).match(pattern):
                return path
    raise PreviewError("the product has no true-colour band (TCI); no preview was made")


def _rasterio() -> Any:  # noqa: ANN401 - the library has no types
    try:
        import rasterio  # noqa: PLC0415 - an optional extra
        import rasterio.errors  # noqa: PLC0415 - likewise
        import rasterio.io  # noqa: PLC0415 - likewise
        import rasterio.transform  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise PreviewError(
            'reading the true-colour band needs rasterio; run: pip install "s2mirror[preview]"'
            ', or set preview.source to "quicklook"'
        ) from error
    return rasterio


def _encoded(rasterio: Any, pixels: Any, extent: Extent, form: str) -> bytes:  # noqa: ANN401 - see above
    transform = rasterio.transform.from_bounds(*extent.bbox, extent.width, extent.height)
    profile: dict[str, Any] = {
        "driver": _DRIVERS[form],
        "width": extent.width,
        "height": extent.height,
        "count": 3,
        "dtype": "uint8",
        "crs": extent.crs,
        "transform": transform,
    }
    if form == "tiff":
        profile |= {"compress": "deflate", "photometric": "rgb"}
    with rasterio.io.MemoryFile(ext=FORMATS[form].suffix) as file:
        with file.open(**profile) as image:
            image.write(pixels)
        return bytes(file.read())


def _tile_extent(product: Product) -> Extent:
    epsg, west, north = tile_grid(product.tile)
    return Extent(
        crs=f"EPSG:{epsg}",
        bbox=(west, north - WIDTH_METRES, west + WIDTH_METRES, north),
        width=_QUICKLOOK_PIXELS,
        height=_QUICKLOOK_PIXELS,
    )
