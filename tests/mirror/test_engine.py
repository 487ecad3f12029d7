"""The mirror's use of its few connections, counted by the store."""

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from kit import Kit, key_of, size_of, small, tiny

from s2mirror.errors import Stopped
from s2mirror.sandbox import Exchange, Fault
from s2mirror.sandbox.assets import with_manifest_checksum
from s2mirror.service.wiring import utc_now
from s2mirror.steps.connections import Connections, Priority
from s2mirror.stop import StopFlag

MIB = 1024 * 1024
LISTING = "list-type=2"


def first(exchanges: list[Exchange], text: str) -> Exchange:
    return next(found for found in exchanges if text in found.path)


def spent_bytes(kit: Kit) -> int:
    """Return the bytes that the ledger counts against the account's quota."""
    return kit.mirror().ledger.transferred_bytes(timedelta(days=1), now=utc_now())


def sent_bytes(kit: Kit) -> int:
    """Return the bytes of files that the store has sent."""
    return sum(found.sent_bytes for found in kit.downloads())


def bands_there(kit: Kit) -> dict[str, int]:
    """Return the staged bytes of each band, complete or not, by the end of its key."""
    staging = kit.archive / ".s2mirror/staging"
    found = {
        path.relative_to(staging).as_posix().replace(".part/", ".SAFE/"): size_of(path)
        for path in staging.rglob("*.jp2")
    }
    return {key: size_bytes for key, size_bytes in found.items() if size_bytes}


def eventually(holds: Callable[[], bool], *, seconds: float = 120) -> bool:
    give_up_at = time.monotonic() + seconds
    while not holds() and time.monotonic() < give_up_at:
        time.sleep(0.02)
    return holds()


@pytest.mark.long
def test_product_costs_one_listing_and_file_requests(
    kit: Kit,
) -> None:
    kit.sections = {"store": "connections = 3", "download": "parallel_products = 3"}
    products = [small(27), *(tiny(day) for day in (21, 22, 23))]
    kit.sandbox.publish(products)
    kit.sandbox.s3_proxy.reset()
    assert kit.cycle().exit_code == 0
    traffic = kit.sandbox.s3_proxy.traffic
    files = sum(not path.endswith("/") for product in products for path in product.files)
    assert traffic.count(LISTING, "GET") == len(products)
    assert len(traffic.exchanges) == traffic.count("", "GET") == files + len(products)
    assert traffic.opened_connections <= 3
    assert spent_bytes(kit) == sent_bytes(kit)


def test_listings_precede_waiting_files() -> None:
    connections, busy, done = Connections(1), threading.Event(), []
    waiting = [connections.submit(Priority.FILE, busy.wait)]
    for priority, name in (
        (Priority.FILE, "large"),
        (Priority.FILE, "small"),
        (Priority.AHEAD, "next listing"),
    ):
        waiting.append(connections.submit(priority, partial(done.append, name)))
    busy.set()
    for future in waiting:
        future.result(30)
    connections.close()
    assert done == ["next listing", "large", "small"]


def test_closed_connections_stop_waiting_work() -> None:
    connections, busy = Connections(1), threading.Event()
    under_way = connections.submit(Priority.FILE, lambda: busy.wait(30))
    waits = connections.submit(Priority.FILE, lambda: None)
    while not under_way.running():
        time.sleep(0.01)
    connections.close()
    for refused in (waits, connections.submit(Priority.AHEAD, lambda: None)):
        assert isinstance(refused.exception(0), Stopped)
    busy.set()
    assert under_way.result(30)


@pytest.mark.long
def test_large_files_are_first(kit: Kit) -> None:
    kit.sections = {"store": "connections = 1"}
    product = small()
    kit.sandbox.publish(product)
    assert kit.cycle().exit_code == 0
    sizes = {f"{product.prefix}{path}": len(found) for path, found in product.files.items()}
    asked = [sizes[found.path.removeprefix("/eodata/")] for found in kit.downloads()]
    assert asked[1:] == sorted(asked[1:], reverse=True)


@pytest.mark.long
def test_received_bytes_are_counted_during_a_download(kit: Kit) -> None:
    product = tiny(band_bytes=6 * MIB)
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(path="B02_10m", bytes_per_second=MIB // 16))
    mirror, stop = kit.mirror(), StopFlag()

    def work() -> None:
        with pytest.raises(Stopped):
            kit.cycle(mirror, stop)

    sync = threading.Thread(target=work)
    sync.start()
    try:
        assert eventually(lambda: spent_bytes(kit) > 6 * MIB)
        assert first(kit.downloads(), "B02_10m").ended is None
    finally:
        stop.set()
        sync.join()
    assert kit.sandbox.s3_proxy.traffic.wait_until_idle(), "a connection was left open"


@pytest.mark.long
def test_slow_product_is_delayed_and_keeps_bytes(kit: Kit) -> None:
    slow, good = tiny(27, band_bytes=2 * MIB), tiny(25)
    kit.sections = {
        # Long enough for a response that is only delayed.
        "store": 'min_rate = "1 MB"\nmin_rate_period = "4 s"',
        "download": 'tries_per_file = 2\nbackoff = "1 h"',
    }
    kit.sandbox.publish([slow, good])
    drip = Fault(path=f"{slow.id}.*B02_10m", bytes_per_second=50_000, times=None)
    kit.sandbox.s3_proxy.inject(drip)
    assert kit.cycle().remaining
    assert kit.states() == {slow.id: "queued", good.id: "archived"}
    entry = kit.entry(slow)
    assert "store.min_rate is 1000000 B/s" in entry.reason
    assert entry.attempts == 1
    kit.sandbox.s3_proxy.reset()
    assert kit.cycle(kit.later()).exit_code == 0
    assert first(kit.downloads(), "B02_10m").range.startswith("bytes=")
    kit.assert_same_bytes(slow)
    kit.assert_current(slow, good)


@pytest.mark.long
def test_kill_repeats_no_byte_and_loses_no_count(
    kit: Kit,
) -> None:
    products = [tiny(day, band_bytes=8 * MIB) for day in (27, 25)]
    kit.sandbox.publish(products)
    drip = Fault(path="_10m.jp2", bytes_per_second=MIB // 4, times=None)
    kit.sandbox.s3_proxy.inject(drip)
    with kit.start("sync") as sync:
        try:
            assert eventually(lambda: len(bands_there(kit)) == 4)
            assert eventually(lambda: max(bands_there(kit).values()) > MIB)
            assert eventually(lambda: spent_bytes(kit) > 0)
        finally:
            sync.send_signal(signal.SIGKILL)
    assert kit.sandbox.s3_proxy.traffic.wait_until_idle()
    there, seen = bands_there(kit), len(kit.sandbox.s3_proxy.traffic.exchanges)
    kit.sandbox.s3_proxy.faults.clear()
    assert kit.cycle().exit_code == 0
    asked = {key_of(found): found for found in kit.downloads(seen)}
    for key, there_bytes in there.items():
        (found,) = (found for name, found in asked.items() if name.endswith(key))
        assert found.range == f"bytes={there_bytes}-"
        assert found.sent_bytes == 8 * MIB - there_bytes
    kit.assert_current(*products)


@pytest.mark.long
def test_store_behind_the_catalog_delays_the_product(kit: Kit) -> None:
    old, new = tiny(20), tiny(20, seed=1)
    kit.sandbox.publish(replace(new, files=old.files))
    assert kit.cycle().remaining
    assert kit.entry(new).reason.startswith("catalog and store disagree: ")
    kit.sandbox.replace(new)
    assert kit.cycle(kit.later()).exit_code == 0
    kit.assert_same_bytes(new)
    kit.assert_current(new)


@pytest.mark.long
def test_wrong_catalog_checksum_costs_no_product(kit: Kit) -> None:
    product = tiny(20)
    kit.sandbox.publish(
        replace(product, item=with_manifest_checksum(product.item, b"another manifest"))
    )
    waiting = [kit.cycle(kit.later(days=1 + attempt)).remaining for attempt in range(4)]
    assert waiting == [1, 1, 1, 0]
    kit.assert_current(product)
