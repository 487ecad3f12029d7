"""Measures `s2mirror adopt` beside plain hashing of the same warm files with all cores.

``make bench ARGS="adopt"`` adopts 10,000 small products (of six files) and twenty products with
files of real sizes, in place, and prints the ratio to ``xargs -P`` with md5sum or, for SHA3-256,
``openssl dgst``. ``make bench ARGS="adopt 100 2"`` takes other numbers.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from s2mirror.checksum import new_hasher
from s2mirror.cli.main import main
from s2mirror.sandbox import ProductSpec
from s2mirror.sandbox.layout import Paths, manifest_members
from s2mirror.sandbox.manifest_xml import write_manifest
from s2mirror.sandbox.products import footprint_of, make_files

CORES = os.cpu_count() or 1
FIRST = datetime(2018, 1, 1, 10, 20, 31, tzinfo=UTC)
CONFIG = """
[archive]
root = "archive"
reserve = "1 MB"
[[area]]
name = "area"
bbox = [8, 47, 9, 48]
start = 2016-01-01
"""
HASH = {
    "MD5": ["md5sum"],
    "SHA3-256": ["openssl", "dgst", "-sha3-256"],
}


def small(number: int, checksum: str) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a product of six files: 14 kB."""
    at = FIRST + timedelta(hours=number)
    spec = ProductSpec(sensed_at=at, checksum=checksum, scale=0.0005)
    wanted = ("MTD_MSIL2A.xml", "MTD_TL.xml", "_B02_60m.jp2", "_B03_60m.jp2", "_B04_60m.jp2")
    members = [m for m in manifest_members("L2A", Paths.of(spec)) if m.path.endswith(wanted)]
    files = make_files(members, spec)
    files["manifest.safe"] = write_manifest(spec, members, files, footprint_of(spec))
    yield from ((f"{spec.id}.SAFE/{path}", content) for path, content in files.items())


def large(number: int, checksum: str, scale: float = 0.25) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a whole product, at a quarter of real sizes: about 300 MB."""
    at = FIRST + timedelta(hours=number)
    spec = ProductSpec(sensed_at=at, checksum=checksum, scale=scale)
    members = manifest_members("L2A", Paths.of(spec))
    files = make_files(members, spec)
    files["manifest.safe"] = write_manifest(spec, members, files, footprint_of(replace(spec)))
    yield from ((f"{spec.id}.SAFE/{path}", content) for path, content in files.items())


def lay_out(archive: Path, files: Iterator[tuple[str, bytes]]) -> tuple[int, int]:
    """Write the files of a product; return their number and bytes."""
    count = size_bytes = 0
    for path, content in files:
        target = archive / "old" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        count, size_bytes = count + 1, size_bytes + len(content)
    return count, size_bytes


def hashed(archive: Path, checksum: str) -> float:
    """Return the seconds that plain hashing of all files takes, on all cores."""
    begun = time.monotonic()
    with subprocess.Popen(
        ["find", str(archive / "old"), "-type", "f", "-print0"], stdout=subprocess.PIPE
    ) as found:
        command = ["xargs", "-0", "-n", "16", "-P", str(CORES), *HASH[checksum]]
        subprocess.run(command, stdin=found.stdout, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - begun


def adopted(folder: Path) -> float:
    """Return the seconds that the command takes."""
    begun = time.monotonic()
    code = main(
        ["adopt", str(folder / "archive"), "--offline", "--json", "--config", "s2mirror.toml"]
    )
    if code:
        raise SystemExit(f"adopt ended with {code}")
    return time.monotonic() - begun


def measure(title: str, make: object, products: int, checksum: str) -> None:
    """Print one row: the seconds of both, and their ratio."""
    with TemporaryDirectory(prefix="s2mirror-adopt-") as name:
        folder = Path(name)
        (folder / "s2mirror.toml").write_text(CONFIG, encoding="utf-8")
        os.chdir(folder)
        sizes = [lay_out(folder / "archive", make(n, checksum)) for n in range(products)]  # type: ignore[operator]
        os.sync()
        plain = min(hashed(folder / "archive", checksum) for _ in range(2))
        output, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115, PTH123
        seconds = adopted(folder)
        sys.stdout = output
        os.chdir("/")
        files, size_bytes = (sum(column) for column in zip(*sizes, strict=True))
        print(
            f"| {title}, {checksum} | {products} | {files} | {size_bytes / 1e9:.2f} GB "
            f"| {plain:.1f} s | {seconds:.1f} s | {seconds / plain:.2f} |",
            flush=True,
        )


def run(small_products: int = 10_000, large_products: int = 20) -> None:
    """Print a table."""
    new_hasher("sha3_256")
    print("| products | number | files | bytes | plain hashing | adopt | ratio |")
    print("|---|---|---|---|---|---|---|")
    for checksum in HASH:
        measure("quarter size", large, large_products, checksum)
    measure("small", small, small_products, "SHA3-256")


if __name__ == "__main__":
    run(*map(int, sys.argv[1:3]))
