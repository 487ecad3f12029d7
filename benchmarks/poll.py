"""Measure a poll without new products, with one area and with five hundred.

Run it by ``make bench ARGS=poll``. CPU is that of the polling thread only; the catalog is the
sandbox's, in the same process. The comparison is a user's own program: pystac-client with the same
query, and a set of known IDs.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pystac_client import Client
from pystac_client.stac_api_io import StacApiIO

from s2mirror.config import parse_settings
from s2mirror.sandbox import ProductSpec, Sandbox, make_product
from s2mirror.service.wiring import Mirror, open_mirror
from s2mirror.stop import StopFlag

ROUNDS = 15
ITEMS = 40
NOW = datetime(2026, 5, 27, 10, 20, 31, tzinfo=UTC)


def main() -> None:
    """Print the figures of s2mirror and of the comparison."""
    with tempfile.TemporaryDirectory() as name, Sandbox(Path(name)) as sandbox:
        sandbox.stac_proxy.rate_limit.requests = None
        days = (NOW - timedelta(days=day) for day in range(ITEMS))
        sandbox.publish([make_product(ProductSpec(sensed_at=day, scale=0.00001)) for day in days])
        for areas in (1, 500):
            ours(Path(name) / str(areas), sandbox, areas)
        theirs(sandbox)


def ours(folder: Path, sandbox: Sandbox, areas: int) -> None:
    """Print the cost of a poll without new products in s2mirror."""
    folder.mkdir()
    mirror = mirror_with(folder, sandbox, areas)
    poller, searches, stop = mirror.poller(), mirror.searches, StopFlag()
    first = [len(poller.poll(search, stop).new_ids) for search in searches]
    sandbox.requests.clear()
    cpu, wall = measured(lambda: [poller.poll(search, stop) for search in searches])
    requests = len(sandbox.requests) / (ROUNDS + 1)
    print(
        f"mirror, {areas} areas, {sum(first)} known: {cpu:.1f} ms CPU, {wall:.1f} ms wall, "
        f"{requests:.0f} request a poll"
    )


def theirs(sandbox: Sandbox) -> None:
    """Print the cost of the same search with pystac-client and a set of known IDs."""
    stac_io = StacApiIO()
    stac_io.session.verify = str(sandbox.ca_file)
    stac_io.session.trust_env = False
    adapter_send = stac_io.session.send

    def send(request: Any, **options: Any) -> Any:  # noqa: ANN401 - types of requests
        return adapter_send(request, **{**options, "verify": str(sandbox.ca_file)})

    stac_io.session.send = send  # type: ignore[method-assign]
    client = Client.open(sandbox.stac_url, stac_io=stac_io)
    known: set[str] = set()

    def poll() -> None:
        search = client.search(
            collections=["sentinel-2-l2a"],
            bbox=[8.0, 47.2, 8.3, 47.5],
            filter={
                "op": ">=",
                "args": [{"property": "published"}, {"timestamp": "2026-05-25T14:20:31Z"}],
            },
            filter_lang="cql2-json",
            limit=200,
        )
        for item in search.items():
            known.add(item.id)

    cpu, wall = measured(poll)
    print(f"pystac-client and a set: {cpu:.1f} ms CPU, {wall:.1f} ms wall (connection kept)")


def mirror_with(folder: Path, sandbox: Sandbox, areas: int) -> Mirror:
    """Return a mirror with many areas side by side."""
    document = {
        "archive": {"root": str(folder / "archive"), "reserve": "1 MB"},
        "catalog": {"url": sandbox.stac_url, "requests_per_second": 1000},
        "network": {"ca_file": str(sandbox.ca_file)},
        "area": [
            {
                "name": f"area-{number}",
                "bbox": [8.0 + number / 1000, 47.2, 8.3 + number / 1000, 47.5],
                "start": "2026-01-01",
            }
            for number in range(areas)
        ],
    }
    loaded = parse_settings(document, source=folder / "s2mirror.toml", environment={})
    return open_mirror(loaded.settings, create=True)


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Return the median CPU and wall milliseconds of *work*, after one round to warm up."""
    work()
    cpu, wall = [], []
    for _ in range(ROUNDS):
        started, clock = time.thread_time(), time.monotonic()
        work()
        cpu.append(1000 * (time.thread_time() - started))
        wall.append(1000 * (time.monotonic() - clock))
    return statistics.median(cpu), statistics.median(wall)


if __name__ == "__main__":
    main()
