"""Measure listing a thousand real-size items: the mirror, pystac-client, eodag, side by side.

Run it by ``make bench ARGS=search``. Every client is a separate process and lists the same items
of the same sandbox. CPU is that of the client from the first request to the last item, without its
imports. Bytes are those of the catalog's responses on the wire.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s2mirror.sandbox import Sandbox


HERE = Path(__file__).parent
ITEMS = 1000
ROUNDS = 3
NOW = datetime(2026, 5, 27, 10, 20, 31, tzinfo=UTC)
BBOX = [8.0, 47.2, 8.3, 47.5]


def main() -> None:
    """Print the figures of every client, or run the named client."""
    if len(sys.argv) > 1:
        CLIENTS[sys.argv[1]]()
        return
    from s2mirror.sandbox import (  # noqa: PLC0415 - each client loads its own libraries only
        ProductSpec,
        Sandbox,
        make_product,
    )

    with tempfile.TemporaryDirectory() as name, Sandbox(Path(name)) as sandbox:
        sandbox.stac_proxy.rate_limit.requests = None
        days = (NOW - timedelta(days=day) for day in range(ITEMS))
        products = (make_product(ProductSpec(sensed_at=day, scale=0.0001)) for day in days)
        sandbox.catalogue.put(sandbox.stac.served(product.item) for product in products)
        found: dict[str, list[dict[str, float]]] = {client: [] for client in CLIENTS}
        for _ in range(ROUNDS):
            for client in CLIENTS:
                found[client].append(ask(client, sandbox))
    for client, rounds in found.items():
        middle = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        print(
            f"{client}: {middle['items']:.0f} items, {middle['cpu']:.2f} s CPU, "
            f"{middle['wall']:.2f} s wall, {middle['requests']:.0f} requests, "
            f"{middle['bytes'] / 1e6:.2f} MB received, peak {middle['peak']:.0f} MB"
        )


def ask(client: str, sandbox: "Sandbox") -> dict[str, float]:
    """Run one client; return its figures, with the requests and bytes of the catalog."""
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ,
            "HOME": home,
            "STAC_URL": sandbox.stac_url,
            "REQUESTS_CA_BUNDLE": str(sandbox.ca_file),
        }
        traffic = sandbox.stac_proxy.traffic
        before = traffic.matching("/")
        done = subprocess.run(
            [sys.executable, __file__, client],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        asked = traffic.matching("/")[len(before) :]
    counted: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return counted | {"requests": len(asked), "bytes": sum(one.sent_bytes for one in asked)}


def counted(work: Callable[[], int]) -> None:
    """Print the cost of *work*, which returns a number of items."""
    cpu, wall = time.process_time(), time.monotonic()
    items = work()
    figures = {
        "items": items,
        "cpu": time.process_time() - cpu,
        "wall": time.monotonic() - wall,
        "peak": peak_megabytes(),
    }
    print(json.dumps(figures))


def peak_megabytes() -> float:
    """Return the peak memory of this process.

    getrusage is not usable: its value includes the peak of the parent process.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000


def mirror() -> None:
    """List, compare and record all items, as the first poll of an area does."""
    from s2mirror.config import parse_settings  # noqa: PLC0415 - as above
    from s2mirror.service.wiring import open_mirror  # noqa: PLC0415 - as above
    from s2mirror.stop import StopFlag  # noqa: PLC0415 - as above

    folder = Path(os.environ["HOME"])
    document = {
        "archive": {"root": str(folder / "archive"), "reserve": "1 MB"},
        "catalog": {"url": os.environ["STAC_URL"], "requests_per_second": 1000},
        "network": {"ca_file": os.environ["REQUESTS_CA_BUNDLE"]},
        "area": [{"name": "here", "bbox": BBOX, "start": "2015-06-23"}],
    }
    loaded = parse_settings(document, source=folder / "s2mirror.toml", environment={})
    opened = open_mirror(loaded.settings, create=True)
    poller = opened.poller()
    counted(lambda: sum(len(poller.poll(s, StopFlag()).new_ids) for s in opened.searches))


def pystac() -> None:
    """List all items with pystac-client into a set of IDs."""
    from pystac_client import Client  # noqa: PLC0415 - as above

    def work() -> int:
        client = Client.open(os.environ["STAC_URL"])
        search = client.search(collections=["sentinel-2-l2a"], bbox=BBOX, limit=200)
        return len({item.id for item in search.items()})

    counted(work)


def eodag() -> None:
    """List all items with eodag's search over all pages."""
    from eodag import EODataAccessGateway  # noqa: PLC0415 - as above

    gateway = EODataAccessGateway()
    options = {"type": "StacSearch", "need_auth": False}
    gateway.add_provider("sandbox", os.environ["STAC_URL"] + "search", search=options)
    corners = dict(zip(("lonmin", "latmin", "lonmax", "latmax"), BBOX, strict=True))

    def work() -> int:
        return len(
            gateway.search_all(
                provider="sandbox",
                collection="sentinel-2-l2a",
                geom=corners,
                start="2015-06-23",
                end="2026-12-31",
            )
        )

    counted(work)


CLIENTS = {"mirror": mirror, "pystac": pystac, "eodag": eodag}


if __name__ == "__main__":
    main()
