"""The rate of requests to the catalog's host, which refuses above five per second."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from daemon_kit import at_work
from kit import Kit, wait_until

from s2mirror.sandbox import Fault, ProductSpec, SandboxProduct, make_item
from s2mirror.sandbox.faults import Firewall
from s2mirror.sandbox.sandbox import CATALOG_REQUESTS_PER_SECOND
from s2mirror.service.wiring import Mirror
from s2mirror.service.workers import Intervals
from s2mirror.stop import StopFlag

SEARCHES = 12
SEARCH = "/v1/search"
AREAS = "".join(
    f'[[area]]\nname = "area-{number}"\nbbox = [8.45, 47.2, 8.85, 47.4]\n'
    f'collections = ["sentinel-2-l2a"]\nstart = 2026-01-01\ninterval = "{number + 1} h"\n'
    for number in range(SEARCHES)
)
"""Areas with different intervals have separate searches."""


@pytest.fixture
def product(kit: Kit) -> SandboxProduct:
    """Publish a product that twelve searches find, at the usual rate, behind the firewall."""
    product = make_item(ProductSpec())
    kit.sandbox.publish(product)
    kit.areas, kit.requests_per_second = AREAS, 4
    kit.sandbox.stac_proxy.rate_limit.requests = CATALOG_REQUESTS_PER_SECOND
    return product


def statuses(kit: Kit) -> list[int]:
    return [exchange.status for exchange in kit.sandbox.stac_proxy.traffic.matching()]


def poll_together(mirror: Mirror) -> None:
    """Start every search at the same time, and wait until all are listed."""
    assert len(mirror.searches) == SEARCHES
    with ThreadPoolExecutor(SEARCHES) as pool:
        polls = [pool.submit(mirror.poller().poll, s, StopFlag()) for s in mirror.searches]
    assert [poll.result().listed_count for poll in polls] == [1] * SEARCHES


@pytest.mark.long
def test_searches_of_all_processes_are_never_refused(kit: Kit, product: SandboxProduct) -> None:
    assert product.id
    mirror = kit.mirror()
    with ThreadPoolExecutor(2) as commands:
        checks = [commands.submit(kit.run, "check") for _ in range(2)]
        poll_together(mirror)
    assert "catalog" in checks[0].result().stdout
    assert set(statuses(kit)) == {200}
    assert len(statuses(kit)) > SEARCHES + 2


@pytest.mark.long
def test_refusal_delays_every_search_of_the_host(kit: Kit, product: SandboxProduct) -> None:
    assert product.id
    kit.sandbox.stac_proxy.inject(Fault(path="/search", skip=4, answer=Firewall().refusal()))
    poll_together(kit.mirror())
    assert sorted(statuses(kit)) == [200] * SEARCHES + [429]
    starts = [exchange.started for exchange in kit.sandbox.stac_proxy.traffic.matching()]
    assert max(after - before for before, after in pairwise(starts)) >= 1.5


@pytest.mark.long
def test_daemon_spreads_its_first_polls(kit: Kit, product: SandboxProduct) -> None:
    assert product.id
    kit.sandbox.stac_proxy.rate_limit.requests, kit.requests_per_second = None, 20
    traffic = kit.sandbox.stac_proxy.traffic
    with at_work(kit.mirror(), Intervals()):
        wait_until(lambda: traffic.count("/search") == SEARCHES, "every search has begun")
    starts = [exchange.started for exchange in traffic.matching("/search")]
    assert starts[-1] - starts[0] >= (SEARCHES - 1) * 3 / 20
