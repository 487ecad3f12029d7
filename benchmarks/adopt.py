"""Measures `s2mirror adopt` beside plain hashing of the same warm files with all cores.

``make bench ARGS="adopt"`` adopts 10,000 small products (of six files) and twenty products with
files of real sizes, in place, and prints the ratio to ``xargs -P`` with md5sum or, for SHA3-256,
``openssl dgst``. ``make bench ARGS="adopt 100 2"`` takes other numbers.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from tempfile import TemporaryDirectory

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
Maker = Callable[[int, str], Iterator[tuple[str, bytes]]]
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
    files["manifest.safe"] = write_manifest(spec, members, files, footprint_of(spec))
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


def seconds_of(run: Callable[[], object]) -> tuple[float, float]:
    """Return wall-clock and CPU seconds of the commands that *run* starts."""
    before, begun = getrusage(RUSAGE_CHILDREN), time.monotonic()
    run()
    after = getrusage(RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - begun, cpu


def hash_plainly(archive: Path, checksum: str) -> None:
    """Hash all files by a plain tool, on all cores."""
    with subprocess.Popen(
        ["find", str(archive / "old"), "-type", "f", "-print0"], stdout=subprocess.PIPE
    ) as found:
        command = ["xargs", "-0", "-n", "16", "-P", str(CORES), *HASH[checksum]]
        subprocess.run(command, stdin=found.stdout, stdout=subprocess.DEVNULL, check=True)


def adopt(archive: Path) -> None:
    """Run the command."""
    words = ["-m", "s2mirror", "adopt", str(archive), "--offline", "--config", "s2mirror.toml"]
    subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)


def measure(title: str, make: Maker, products: int, checksum: str) -> None:
    """Print one row: the seconds of both, and the ratio of their CPU time."""
    with TemporaryDirectory(prefix="s2mirror-adopt-") as name:
        folder = Path(name)
        archive = folder / "archive"
        (folder / "s2mirror.toml").write_text(CONFIG, encoding="utf-8")
        os.chdir(folder)
        sizes = [lay_out(archive, make(number, checksum)) for number in range(products)]
        os.sync()
        hash_plainly(archive, checksum)  # warms the files
        plain, plain_cpu = seconds_of(partial(hash_plainly, archive, checksum))
        wall, cpu = seconds_of(partial(adopt, archive))
        os.chdir("/")
        files, size_bytes = (sum(column) for column in zip(*sizes, strict=True))
        print(
            f"| {title}, {checksum} | {products} | {files} | {size_bytes / 1e9:.2f} GB "
            f"| {plain:.1f} s | {plain_cpu:.1f} s | {wall:.1f} s | {cpu:.1f} s "
            f"| {cpu / plain_cpu:.2f} |",
            flush=True,
        )


def run(small_products: int = 10_000, large_products: int = 20) -> None:
    """Print a table."""
    print("| products | number | files | bytes | plain wall | CPU | adopt wall | CPU | CPU ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for checksum in HASH:
        measure("quarter size", large, large_products, checksum)
    measure("small", small, small_products, "SHA3-256")


if __name__ == "__main__":
    run(*map(int, sys.argv[1:3]))
