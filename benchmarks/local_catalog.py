"""Measure the local catalog: a publication, GeoParquet, and a query from Python.

Run it by ``make bench ARGS=catalog``. SQLite multiplies the rows of a few dozen products of
several tiles and days; each has the files, digests, properties and history of a whole L2A product.
"""

import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from s2mirror import Mirror
from s2mirror.adapters.archive import Archive, ItemPath, StaticCatalog, item_path_of
from s2mirror.adapters.geoparquet import write_geoparquet
from s2mirror.adapters.ledger import ArchiveQuery, Ledger, open_ledger
from s2mirror.adapters.ledger.changes import LOCAL_CATALOG, ChangeKind
from s2mirror.adapters.ledger.row_checksums import reseal
from s2mirror.adapters.stac_catalog import parse_page
from s2mirror.lifecycle import Event
from s2mirror.model import Digest, Product, Transition, VerifiedFile
from s2mirror.sandbox import ProductSpec, SandboxProduct, make_product
from s2mirror.stac import collection_link
from s2mirror.steps.local_catalog import LocalCatalogUpdater

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PUBLICATIONS = 60
SIZES = (1_000, 100_000)
QUERIES = 15
TILES = 500
"""Number of tiles; each has a product every five days."""
CONFIGURATION = """
[archive]
root = "archive"
[ledger]
path = "ledger.sqlite"
[[area]]
name = "here"
bbox = [8, 47, 9, 48]
start = 2015-01-01
"""


def main() -> None:
    """Run one part by name, or all."""
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    if part == "fill":
        fill(Path(sys.argv[2]), held=int(sys.argv[3]), gone=int(sys.argv[4]))
    elif part == "publish":
        publish(Path(sys.argv[2]), int(sys.argv[3]))
    elif part == "geoparquet":
        geoparquet(Path(sys.argv[2]))
    elif part == "items":
        items(Path(sys.argv[2]))
    else:
        for size in SIZES:
            with tempfile.TemporaryDirectory() as folder:
                child("fill", folder, str(size), "0")
                child("publish", folder, str(size))
                if size == SIZES[-1]:
                    child("geoparquet", folder)
        with tempfile.TemporaryDirectory() as folder:
            child("fill", folder, "100000", "900000")
            child("items", folder)


def child(*arguments: str) -> None:
    """Run one part in a separate process."""
    subprocess.run([sys.executable, __file__, *arguments], check=True)


def product_of(made: SandboxProduct) -> Product:
    """Return a generated product as parsed from its item."""
    page = {"features": [dict(made.item)]}
    return parse_page(page, collection=made.collection, bucket="eodata").products[0]


def hold(ledger: Ledger, made: SandboxProduct) -> Product:
    """Record a product as held in the ledger, without its files."""
    product = product_of(made)
    ledger.products.record([product], {product.id: ("here",)}, priorities={}, now=NOW)
    ledger.items.keep({product.id: made.item["properties"]})
    files = [_verified(path, content) for path, content in made.files.items() if path[-1] != "/"]
    for event in (Event.ENQUEUE, Event.CLAIM, Event.VERIFY):
        entry = ledger.products.get(product.id)
        ledger.products.advance(entry, Transition(event=event), now=NOW)
    ledger.file_lists.put_staged(product.id, files)
    ledger.file_lists.publish(product.id)
    entry = ledger.products.get(product.id)
    path = product.s3_prefix.rstrip("/")
    ledger.products.advance(entry, Transition(event=Event.PUBLISH, path=path), now=NOW)
    return product


def _verified(path: str, content: bytes) -> VerifiedFile:
    """Return a file with unique digest and ETag, so that they do not compress."""
    content_id = path.encode() + content
    digest = Digest(algorithm="sha3_256", hexdigest=hashlib.sha3_256(content_id).hexdigest())
    etag = hashlib.md5(content_id, usedforsecurity=False).hexdigest()
    return VerifiedFile(path=path, size_bytes=len(content), etag=etag, digest=digest)


MULTIPLY = """
INSERT INTO product
  WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)
SELECT printf('S2C_MSIL2A_20160101T000000_N0512_R065_T32TMT_%015d', n), collection, platform,
       '32T' || char(65 + (n % :tiles) / 26, 65 + (n % :tiles) % 26), baseline,
       relative_orbit,
       strftime('%Y-%m-%dT%H:%M:%S', 1451606400 + (n / :tiles) * 432000 % 300000000, 'unixepoch')
         || '.000000+00:00',
       published_at, generated_at, cloud_cover_percent, size_bytes, s3_prefix, datatake_id,
       datastrip_id, revision, footprint_wkb,
       CASE WHEN n <= :held THEN 'archived' ELSE 'pruned' END, reason, priority, attempts,
       next_attempt_at, changed_at,
       CASE WHEN n <= :held
            THEN printf('Sentinel-2/S2C_MSIL2A_20160101T000000_N0512_R065_T32TMT_%015d.SAFE', n) END
       {more}
  FROM numbers JOIN product ON product.id = json_extract(:firsts, printf('$[%d]', n % :kinds))
"""
COPY = """
INSERT INTO {into}
  FROM product AS p JOIN {table} AS t
    ON t.product_id = json_extract(:firsts, printf('$[%d]', substr(p.id, -15) % :kinds))
 WHERE p.path IS NOT NULL AND p.id NOT IN (SELECT value FROM json_each(:firsts))
"""
COLUMNS = "at, event, from_state, to_state, reason"
COPIES = (
    ("item", "item SELECT p.id, t.properties"),
    ("file_list", "file_list SELECT p.id, t.kind, t.document, t.checksums"),
    (
        "history",
        f"history (product_id, {COLUMNS}) SELECT p.id, t.{COLUMNS.replace(', ', ', t.')}",
    ),
)


def fill(folder: Path, *, held: int, gone: int) -> None:
    """Create a ledger with *held* archived and *gone* pruned products."""
    (folder / "s2mirror.toml").write_text(CONFIGURATION)
    (folder / "archive").mkdir()
    ledger = open_ledger(folder / "ledger.sqlite")
    connection = ledger.connection
    connection.execute("PRAGMA synchronous = OFF")
    firsts = [hold(ledger, make_product(spec)).id for spec in _specs()]
    wanted = "SELECT type, name, sql FROM sqlite_master WHERE type IN ('index', 'trigger')"
    extras = [row for row in connection.query(wanted) if row["sql"]]
    for row in extras:
        connection.execute(f"DROP {row['type']} {row['name']}")
    more = "".join(f", {name}" for name in _later_columns(ledger))
    of = {"firsts": json.dumps(firsts), "kinds": len(firsts)}
    params = {"count": held + gone, "held": held, "tiles": TILES, **of}
    connection.execute(MULTIPLY.format(more=more), params)
    for table, into in COPIES:
        connection.execute(COPY.format(into=into, table=table), of)
    for table in ("product", "file_list"):
        connection.execute(reseal(table))
    for row in extras:
        connection.execute(row["sql"])
    connection.execute("ANALYZE")
    ledger.close()
    size = (folder / "ledger.sqlite").stat().st_size
    print(f"ledger: {held:,} held and {gone:,} gone, {size / 1e9:.2f} GB")


def _specs() -> list[ProductSpec]:
    """Return the products to multiply; no two have the same file names."""
    tiles = ("32TMT", "32TNT", "33UUP", "31UFU", "18NXL", "56HKH", "32TLT", "32TPT")
    days = [NOW - timedelta(days=day, seconds=77 * day) for day in range(1, 5)]
    return [ProductSpec(tile=tile, sensed_at=day, scale=0.0001) for tile in tiles for day in days]


def _later_columns(ledger: Ledger) -> list[str]:
    """Return the columns of the product table after ``path``."""
    rows = ledger.connection.query("SELECT name FROM pragma_table_info('product') ORDER BY cid")
    names = [row["name"] for row in rows]
    return names[names.index("path") + 1 :]


def publish(folder: Path, size: int) -> None:
    """Print the cost of a publication in a catalog of *size* items."""
    ledger, archive = open_ledger(folder / "ledger.sqlite"), Archive(folder / "archive")
    static_catalog = StaticCatalog(folder / "archive/catalog")
    for entry in ledger.products.in_tree():
        path = _item_path(static_catalog, item_path_of(entry.product))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        (path.parent / "catalog.json").touch()
    static_catalog.put_in_order()
    local_catalog_updater = LocalCatalogUpdater(
        ledger=ledger,
        archive=archive,
        static_catalog=static_catalog,
        bucket="eodata",
        catalog_url="https://x/v1/",
    )
    ledger.changes.subscribe(LOCAL_CATALOG, frozenset(ChangeKind))
    walls, cpus, bare = [], [], []
    for number in range(PUBLICATIONS):
        sensed_at = NOW - timedelta(days=3 * number, minutes=number)
        hold(ledger, make_product(ProductSpec(sensed_at=sensed_at, scale=0.0001)))
        wall, cpu = time.monotonic(), time.process_time()
        local_catalog_updater.catch_up()
        walls.append((time.monotonic() - wall) * 1000)
        cpus.append((time.process_time() - cpu) * 1000)
        bare.append(_sync_milliseconds(folder / "bare"))
    print(
        f"catalog of {size:,} items: a publication takes {statistics.median(walls):.1f} ms wall "
        f"(worst of {PUBLICATIONS}: {max(walls):.1f}), {statistics.median(cpus):.1f} ms CPU; "
        f"to write and sync 40 kB alone takes {statistics.median(bare):.1f} ms here"
    )


def _sync_milliseconds(path: Path) -> float:
    """Return the time to write and sync one file; a publication does so three times."""
    began = time.monotonic()
    with path.open("wb") as file:
        file.write(b"x" * 40_000)
        file.flush()
        os.fsync(file.fileno())
    return (time.monotonic() - began) * 1000


def _item_path(static_catalog: StaticCatalog, item: ItemPath) -> Path:
    return static_catalog.item_folder(item.partition) / f"{item.name}.json"


def geoparquet(folder: Path) -> None:
    """Print the cost of GeoParquet of all items."""
    ledger, path = open_ledger(folder / "ledger.sqlite"), folder / "items.parquet"
    wall, cpu = time.monotonic(), time.process_time()
    summaries = ledger.archived_products.summaries(ArchiveQuery(collections=("sentinel-2-l2a",)))
    links = [collection_link("sentinel-2-l2a", folder, "")]
    with path.open("wb") as file:
        count = write_geoparquet(
            file, "sentinel-2-l2a", summaries, root=folder, bucket="eodata", links=links
        )
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(
        f"GeoParquet of {count:,} items: {wall:.1f} s wall, {cpu:.1f} s CPU, peak {peak:.0f} MB, "
        f"file {path.stat().st_size / 1e6:.0f} MB"
    )


def items(folder: Path) -> None:
    """Print the time of a query for a month of one tile from Python."""
    with Mirror(folder / "s2mirror.toml") as mirror:
        seconds, counts = [], []
        for month in range(1, QUERIES + 1):
            start = f"{2016 + month // 12}-{month % 12 + 1:02d}"
            began = time.monotonic()
            found = list(mirror.items(tile="32TCC", start=f"{start}-01", end=f"{start}-28"))
            seconds.append(time.monotonic() - began)
            counts.append(len(found))
    print(
        f"Mirror.items, a month of one tile of 1,000,000 products: {statistics.median(counts):.0f} "
        f"items in {statistics.median(seconds) * 1000:.0f} ms (first {seconds[0] * 1000:.0f})"
    )


if __name__ == "__main__":
    main()
