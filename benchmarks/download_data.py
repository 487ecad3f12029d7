"""The products that are downloaded: real sizes, names and manifests, made-up bytes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from download_account import BUCKET

from s2mirror.sandbox import ProductSpec, make_product

_SENSED_AT = datetime(2026, 5, 27, 10, 20, 31, tzinfo=UTC)


def spec(number: int, scale: float = 1.0) -> ProductSpec:
    """Return the product of that number."""
    return ProductSpec(sensed_at=_SENSED_AT - timedelta(days=number), scale=scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Products as files below ``folder/eodata``."""

    folder: Path
    count: int
    size_bytes: int
    """Of one product."""

    def scope(self, count: int) -> str:
        """Return the key prefix of the first product, or of all."""
        return spec(0).prefix if count == 1 else "Sentinel-2/"

    def prefixes(self, count: int) -> list[str]:
        """Return the key prefixes of the first products, one by one."""
        return [spec(number).prefix for number in range(count)]

    def objects(self, count: int) -> Iterator[tuple[str, bytes]]:
        """Yield key and content of every object of the first products."""
        for number in range(count):
            home = self.folder / BUCKET / spec(number).prefix
            for file in (path for path in sorted(home.rglob("*")) if path.is_file()):
                yield file.relative_to(self.folder / BUCKET).as_posix(), file.read_bytes()


def make_data(folder: Path, count: int, scale: float) -> Data:
    """Write the products."""
    size_bytes = 0
    for number in range(count):
        product = make_product(spec(number, scale))
        size_bytes = product.size_bytes
        for key, content in product.keys.items():
            path = folder / BUCKET / key
            path.parent.mkdir(parents=True, exist_ok=True)
            if not key.endswith("/"):
                path.write_bytes(content)
    return Data(folder=folder, count=count, size_bytes=size_bytes)
