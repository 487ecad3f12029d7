"""Mirrors in several conditions, for the page to show. Their ledgers are written directly."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from builders import NOW, overwrite, product
from web_kit import CONFIG, make_mirror

from s2mirror.adapters.ledger import ProductQuery
from s2mirror.adapters.lock import InstanceLock
from s2mirror.model import Product
from s2mirror.service.health import Problems
from s2mirror.service.wiring import Mirror
from s2mirror.web.world_map import corners

ALPS = ["31TGM", "32TLR", "32TLS", "32TLT", "32TMS", "32TMT", "32TNS", "32TNT", "32TPS", "32TPT"]
REASON = (
    "IMG_DATA/R10m/T32TMT_20260527T102031_B04_10m.jp2: SHA3-256 is 9f2c…, expected 41d7… "
    "<b>by the manifest</b>"
)


def configuration(areas: dict[str, str], more: str = "") -> str:
    """Return a configuration with areas given by a TOML line each."""
    head = CONFIG.partition("[[area]]")[0]
    tables = (f'[[area]]\nname = "{n}"\n{line}\nstart = 2026-01-01\n' for n, line in areas.items())
    return head + more + "".join(tables)


def passes(tiles: Sequence[str], days: int, every: int = 5) -> Iterator[Product]:
    """Yield a product of each tile for every pass over it within the last days."""
    for place, tile in enumerate(tiles):
        for day in range(place % every, days, every):
            sensed = NOW - timedelta(days=day, hours=1.6)
            name = f"S2C_MSIL2A_{sensed:%Y%m%dT%H%M%S}_N0512_R065_T{tile}_{sensed:%Y%m%dT%H%M%S}"
            yield product(name, tile=tile, sensed_at=sensed, size_bytes=812_000_000 + day * 10**6)


def record(mirror: Mirror, areas: dict[str, list[Product]]) -> None:
    """Record products as archived, each with its folder."""
    for area, found in areas.items():
        mirror.ledger.products.record(found, {p.id: [area] for p in found}, priorities={}, now=NOW)
    held = {"state": "archived"}
    overwrite(
        mirror.ledger,
        "state = :state, path = 'Sentinel-2/MSI/L2A/2026/06/01/' || id || '.SAFE'",
        **held,
    )


def put(mirror: Mirror, state: str, where: str, reason: str = "") -> None:
    """Give products another state, outside of the archive."""
    changes = "state = :state, reason = :reason, path = NULL, attempts = 3"
    overwrite(mirror.ledger, changes, where, state=state, reason=reason)


def empty(folder: Path) -> Mirror:
    """Return a mirror before its first run."""
    return make_mirror(folder)


def busy(folder: Path) -> Mirror:
    """Return a mirror that works: downloads, a queue, pruned products."""
    areas = {
        "lake-geneva": 'tiles = ["31TGM", "32TLR", "32TLS", "32TLT"]',
        "central-alps": 'tiles = ["32TMS", "32TMT", "32TNS", "32TNT"]',
        "tyrol": 'tiles = ["32TPS", "32TPT"]',
    }
    mirror = make_mirror(folder, configuration(areas))
    groups = {"lake-geneva": ALPS[:4], "central-alps": ALPS[4:8], "tyrol": ALPS[8:]}
    record(mirror, {name: [*passes(tiles, 59)] for name, tiles in groups.items()})
    put(mirror, "pruned", "sensed_at < '2026-04-20'", "prune.after is over")
    put(mirror, "queued", "tile IN ('32TMT', '32TNT', '31TGM') AND sensed_at > '2026-05-26'")
    put(mirror, "discovered", "tile = '32TPS' AND sensed_at > '2026-05-20'")
    overwrite(mirror.ledger, "state = 'downloading'", "tile = '32TMT' AND state = 'queued'")
    for hour in range(200):
        mirror.ledger.add_transfer(9_000_000_000, now=NOW - timedelta(hours=hour))
    Problems(mirror.ledger, mirror.now).write()
    for entry in mirror.ledger.products.listed(ProductQuery(state="downloading", limit=9)):
        part = mirror.archive.stage(entry.product.id).folder
        part.mkdir(parents=True)
        (part / "MTD_MSIL2A.xml").write_bytes(b"x" * 300_000)
    return mirror


def broken(folder: Path) -> Mirror:
    """Return a mirror with several kinds of trouble, some in hostile words."""
    mirror = busy(folder)
    put(mirror, "quarantined", "tile = '32TNS' AND sensed_at > '2026-05-10'", REASON)
    put(mirror, "failed", "tile = '32TLR' AND sensed_at > '2026-05-20'", "404 from the store")
    problems = (
        "the store refuses the key pair; create a new one at the key manager",
        "<script>alert(1)</script> is what the catalog answered",
    )
    for number, text in enumerate(problems):
        Problems(mirror.ledger, mirror.now).set(f"job-{number}", text)
    for search in mirror.searches:
        mirror.ledger.cursors.fail(search.key, "503 from the catalog", now=NOW)
    (mirror.archive.root / ".s2mirror" / "archive.json").unlink()
    return mirror


def many(folder: Path, areas: int = 300, days: int = 59) -> Mirror:
    """Return a mirror of many areas all over the world, of four tiles each."""
    names = (
        f"{zone:02}{band}{column}{row}"
        for zone in range(1, 61)
        for band, rows in (("J", "KLMN"), ("N", "BCDE"), ("T", "LMNP"), ("U", "UV"))
        for column in {1: "CDE", 2: "LMN", 0: "UVW"}[zone % 3]
        for row in rows
    )
    known = [name for name in names if corners(name)]
    tiles = [known[n * len(known) // (4 * areas)] for n in range(4 * areas)]
    groups = {f"area-{n:03}": tiles[4 * n : 4 * n + 4] for n in range(areas)}
    lines = {name: f"tiles = {found!r}".replace("'", '"') for name, found in groups.items()}
    mirror = make_mirror(folder, configuration(lines))
    record(mirror, {name: [*passes(found, days)] for name, found in groups.items()})
    put(mirror, "queued", "tile LIKE '2%' AND sensed_at > '2026-05-29'")
    put(mirror, "failed", "tile LIKE '31T%' AND sensed_at > '2026-05-28'", "404 from the store")
    Problems(mirror.ledger, mirror.now).write()
    return mirror


WORLDS: dict[str, Callable[[Path], Mirror]] = {
    "empty": empty,
    "busy": busy,
    "broken": broken,
    "many": many,
}


def running(mirror: Mirror) -> Any:  # noqa: ANN401 - a context manager
    """Return the lock that a running daemon would hold."""
    return InstanceLock(mirror.settings.ledger.path)
