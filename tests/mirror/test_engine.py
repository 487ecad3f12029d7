"""How the mirror uses its few connections: seen from the store's side, and counted there."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from kit import Kit, small, tiny

from s2mirror.errors import Stopped
from s2mirror.sandbox import Exchange, Fault
from s2mirror.service.wiring import utc_now
from s2mirror.steps.connections import Connections, Turn
from s2mirror.stop import StopFlag

MIB = 1024 * 1024
LISTING = "list-type=2"


def first(exchanges: list[Exchange], text: str) -> Exchange:
    return next(found for found in exchanges if text in found.path)


def spent_bytes(kit: Kit) -> int:
    """Return what the ledger counts against the account's volume."""
    return kit.mirror().ledger.transferred_bytes(timedelta(days=1), now=utc_now())


def eventually(holds: Callable[[], bool], *, seconds: float = 30) -> bool:
    give_up_at = time.monotonic() + seconds
    while not holds() and time.monotonic() < give_up_at:
        time.sleep(0.02)
    return holds()


def test_a_product_costs_one_request_per_file_and_one_listing_and_no_connection_too_many(
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
    assert spent_bytes(kit) == sum(found.sent_bytes for found in kit.downloads())


def test_what_opens_up_more_work_goes_before_the_files_that_wait() -> None:
    connections, busy, done = Connections(1), threading.Event(), []
    waiting = [connections.submit(Turn.FILE, busy.wait)]
    for turn, name in ((Turn.FILE, "large"), (Turn.FILE, "small"), (Turn.AHEAD, "next listing")):
        waiting.append(connections.submit(turn, partial(done.append, name)))
    busy.set()
    for future in waiting:
        future.result(30)
    connections.close()
    assert done == ["next listing", "large", "small"]


def test_what_waits_when_the_mirror_leaves_is_stopped_and_not_lost() -> None:
    connections, busy = Connections(1), threading.Event()
    under_way = connections.submit(Turn.FILE, lambda: busy.wait(30))
    waits = connections.submit(Turn.FILE, lambda: None)
    while not under_way.running():
        time.sleep(0.01)
    connections.close()
    for refused in (waits, connections.submit(Turn.AHEAD, lambda: None)):
        assert isinstance(refused.exception(0), Stopped)
    busy.set()
    assert under_way.result(30)


def test_large_files_go_first(kit: Kit) -> None:
    kit.sections = {"store": "connections = 1"}
    product = small()
    kit.sandbox.publish(product)
    assert kit.cycle().exit_code == 0
    sizes = {f"{product.prefix}{path}": len(found) for path, found in product.files.items()}
    asked = [sizes[found.path.removeprefix("/eodata/")] for found in kit.downloads()]
    assert asked[1:] == sorted(asked[1:], reverse=True)


def test_received_bytes_are_in_the_ledger_while_a_file_is_still_under_way(kit: Kit) -> None:
    product = tiny(band_bytes=6 * MIB)
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(path="B02_10m", bytes_per_second=MIB // 4))
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


def test_a_product_that_drips_for_ever_is_put_off_and_keeps_its_bytes(kit: Kit) -> None:
    slow, good = tiny(27, band_bytes=MIB), tiny(25)
    kit.sections = {
        "store": 'slowest = "1 MB"\nslow_for = "0.2 s"',
        "download": 'tries_per_file = 2\nbackoff = "1 h"',
    }
    kit.sandbox.publish([slow, good])
    drip = Fault(path=f"{slow.id}.*B02_10m", bytes_per_second=50_000, times=None)
    kit.sandbox.s3_proxy.inject(drip)
    assert kit.cycle().exit_code == 1
    assert kit.states() == {slow.id: "queued", good.id: "archived"}
    entry = kit.entry(slow)
    assert "store.slowest is 1000000 B/s" in entry.reason
    assert entry.attempts == 1
    kit.sandbox.s3_proxy.reset()
    assert kit.cycle(kit.later()).exit_code == 0
    assert first(kit.downloads(), "B02_10m").range.startswith("bytes=")
    kit.assert_same_bytes(slow)
    kit.assert_current(slow, good)
