"""Measure discovery: parsing, diffing against ledgers of many sizes, and the cost of a quiet poll.

Run it by ``make bench ARGS=discovery``. Every figure is the CPU time of this process (user and
system) unless stated otherwise; memory is the peak of a separate process.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from s2mirror.adapters.ledger import open_ledger
from s2mirror.adapters.ledger.row_checksums import reseal
from s2mirror.adapters.stac_catalog import parse_page
from s2mirror.area import WatchArea
from s2mirror.geometry import from_bbox, pack, unpack
from s2mirror.model import Product
from s2mirror.planning.scope import Scope, diff_page
from s2mirror.sandbox import ProductSpec, make_item, make_product

START = datetime(2016, 1, 1, tzinfo=UTC)
LISTING = 10_000
PAGE = 200
SIZES = (10_000, 1_000_000, 10_000_000)


def main() -> None:
    """Run one part by name, or all."""
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    if part == "diff":
        diff(Path(sys.argv[2]), int(sys.argv[3]))
    elif part == "fill":
        fill(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        parse()
        scope()
        sizes = [int(text) for text in sys.argv[1:]] or SIZES
        with tempfile.TemporaryDirectory() as folder:
            for size in sizes:
                path = Path(folder) / f"ledger-{size}.sqlite"
                child("fill", path, size)
                for _ in range(3):
                    child("diff", path, size)
                path.unlink()


def child(part: str, path: Path, size: int) -> None:
    """Run one part in a separate process."""
    subprocess.run([sys.executable, __file__, part, str(path), str(size)], check=True)


def parse() -> None:
    """Print the number of real-size items that a core parses in a minute."""
    item = dict(make_product(ProductSpec()).item)
    text = json.dumps({"type": "FeatureCollection", "features": [item] * PAGE, "links": []})
    pages = 10
    started = time.process_time()
    for _ in range(pages):
        page = parse_page(json.loads(text), collection="sentinel-2-l2a", bucket="eodata")
        assert len(page.products) == PAGE  # noqa: S101 - the figure requires that all were parsed
    seconds = time.process_time() - started
    per_minute = pages * PAGE / seconds * 60
    print(f"parse: {len(text) // PAGE / 1000:.0f} kB an item, {per_minute:,.0f} items a minute")


def scope() -> None:
    """Print the time to match items with overlapping areas."""
    for count in (1, 500):
        matcher = Scope([area(number, step_degrees=0.0001) for number in range(count)])
        for text, shift_degrees in (("of one tile", 0.0), ("all different", 0.00001)):
            listed = [
                replace(found, footprint_wkb=pack(shifted(found, number * shift_degrees)))
                for number, found in enumerate(products(0, 1000))
            ]
            started = time.process_time()
            wanted = sum(len(matcher.wanting(product)) for product in listed)
            milliseconds = 1000 * (time.process_time() - started)
            print(
                f"match: 1,000 footprints, {text}, {count} areas, {wanted:,} matches: "
                f"{milliseconds:.0f} ms CPU"
            )


def shifted(product: Product, degrees: float) -> BaseGeometry:
    """Return a product's footprint, shifted east by *degrees*."""
    return translate(unpack(product.footprint_wkb), xoff=degrees)


def pattern() -> Product:
    """Return the product from which the others are derived."""
    item = dict(make_item(ProductSpec()).item)
    features = {"features": [item]}
    return parse_page(features, collection="sentinel-2-l2a", bucket="eodata").products[0]


def product_id(number: int) -> str:
    """Return the ID of a number; IDs sort like the numbers."""
    return f"S2C_MSIL2A_20160101T000000_N0512_R065_T32TMT_{number:015d}"


def products(first: int, count: int) -> list[Product]:
    """Return *count* products numbered from *first*."""
    base = pattern()
    found = []
    for number in range(first, first + count):
        sensed_at = START + timedelta(seconds=number * 30)
        published_at = sensed_at + timedelta(hours=5)
        found.append(
            replace(base, id=product_id(number), sensed_at=sensed_at, published_at=published_at)
        )
    return found


FILL_PRODUCTS = """
INSERT INTO product
  WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :size)
SELECT printf('S2C_MSIL2A_20160101T000000_N0512_R065_T32TMT_%015d', n), collection, platform, tile,
       baseline, relative_orbit,
       strftime('%Y-%m-%dT%H:%M:%S', 1451606400 + n * 30, 'unixepoch') || '.000000+00:00',
       strftime('%Y-%m-%dT%H:%M:%S', 1451624400 + n * 30, 'unixepoch') || '.000000+00:00',
       generated_at, cloud_cover_percent, size_bytes, s3_prefix, datatake_id, datastrip_id,
       revision, footprint_wkb, 'pruned', reason, priority, attempts, next_attempt_at, changed_at,
       NULL, checksums
  FROM numbers, product WHERE product.id = :first
"""
SEAL = reseal("product")
SEAL_MEMBERS = reseal("membership")
FILL_MEMBERS = """
INSERT INTO membership SELECT 'area', id, x'' FROM product WHERE id <> :first ORDER BY id
"""
FILL_TALLY = """
INSERT INTO tally SELECT area, 'pruned', :size - 1, (:size - 1) * coalesce(size_bytes, 0)
  FROM (SELECT '' AS area UNION ALL SELECT 'area'), product WHERE product.id = :first
"""


def fill(path: Path, size: int) -> None:
    """Create a ledger of *size* products, of which all but one are pruned.

    SQLite multiplies the rows, and indexes and triggers are created afterwards: single inserts
    of ten million rows would take hours.
    """
    ledger = open_ledger(path)
    connection = ledger.connection
    connection.execute("PRAGMA synchronous = OFF")
    found = products(0, 1)
    ledger.products.record(found, {found[0].id: ("area",)}, priorities={}, now=START)
    started = time.monotonic()
    wanted = "SELECT type, name, sql FROM sqlite_master WHERE type IN ('index', 'trigger')"
    extras = [row for row in connection.query(wanted) if row["sql"]]
    for row in extras:
        connection.execute(f"DROP {row['type']} {row['name']}")
    params = {"size": size, "first": found[0].id}
    for sql in (FILL_PRODUCTS, SEAL, FILL_MEMBERS, SEAL_MEMBERS, FILL_TALLY):
        named = {name: value for name, value in params.items() if f":{name}" in sql}
        connection.execute(sql, named)
    for row in extras:
        connection.execute(row["sql"])
    connection.execute("ANALYZE")
    ledger.close()
    seconds = time.monotonic() - started
    print(f"ledger of {size:,}: {path.stat().st_size / 1e9:.2f} GB, made in {seconds:.0f} s")


def diff(path: Path, size: int) -> None:
    """Print the cost of a diff of 10,000 listed items, half of them known."""
    ledger = open_ledger(path)
    listing = [
        replace(found, footprint_wkb=pack(shifted(found, number * 0.00001)))
        for number, found in enumerate(products(size - LISTING // 2, LISTING))
    ]
    scope = Scope([area(n) for n in range(1)])
    started, wall = time.process_time(), time.monotonic()
    new = 0
    for first in range(0, LISTING, PAGE):
        page = listing[first : first + PAGE]
        known = ledger.products.known(product.id for product in page)
        new += len(diff_page(page, known, scope).new)
    cpu, seconds = time.process_time() - started, time.monotonic() - wall
    started = time.monotonic()
    assert sum(count for count, _ in ledger.products.counts().values()) == size  # noqa: S101 - see above
    status_seconds = time.monotonic() - started
    started = time.monotonic()
    ledger.products.claim(datetime.now(UTC))
    ledger.products.waiting(["area"], 500)
    claim_seconds = time.monotonic() - started
    peak = peak_megabytes()
    print(
        f"ledger of {size:,}: diff of {LISTING:,} items {seconds:.2f} s wall, {cpu:.2f} s CPU, "
        f"{new:,} new; counts {status_seconds * 1000:.1f} ms; "
        f"claim and plan {claim_seconds * 1000:.1f} ms; peak {peak:.0f} MB"
    )


def peak_megabytes() -> float:
    """Return the peak memory of this process.

    getrusage is not usable: its value includes the peak of the parent process.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000


def area(number: int, step_degrees: float = 0.01) -> WatchArea:
    """Return one of many areas side by side."""
    west = 8.0 + number * step_degrees
    return WatchArea(
        name=f"area-{number}",
        geometry=from_bbox(west, 47.2, west + 0.3, 47.5),
        collections=("sentinel-2-l2a",),
        start_at=START,
    )


if __name__ == "__main__":
    main()
