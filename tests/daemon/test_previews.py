"""The daemon renders previews beside its work, which does not wait for them."""

import pytest
from daemon_kit import Running
from kit import Kit, tiny, wait_until

from s2mirror.sandbox import Fault, ProductSpec, make_item

pytestmark = pytest.mark.long
DRAWN = 'source = "process"\nwidth = 90'


def made(kit: Kit) -> int:
    return len(list((kit.archive / "previews").rglob("*.png")))


def test_daemon_renders_previews_with_one_token(daemon: Running, kit: Kit) -> None:
    kit.sections["preview"] = DRAWN
    products = [tiny(), tiny(day=22)]
    kit.sandbox.publish(products)
    daemon.start()
    daemon.wait_until_held(*(each.id for each in products))
    wait_until(lambda: made(kit) == 2, "two previews")
    assert len(kit.sandbox.identity.issued) == 1
    daemon.stop()


def test_revoked_client_makes_health_red(daemon: Running, kit: Kit) -> None:
    kit.sections["preview"] = DRAWN
    kit.sandbox.identity.revoked = True
    first, second = tiny(day=22), tiny()
    kit.sandbox.publish(first)
    daemon.start()
    daemon.wait_until_unhealthy("was revoked")
    kit.sandbox.publish(second)
    daemon.wait_until_held(first.id, second.id)
    wait_until(lambda: daemon.log("previews.paused"), "the log tells of the client")
    assert made(kit) == 0
    daemon.stop()


def test_used_up_preview_limit_leaves_health_green(daemon: Running, kit: Kit) -> None:
    kit.sections["preview"] = DRAWN + "\nmonthly_units = 0"
    kit.sandbox.publish(tiny())
    daemon.start()
    daemon.wait_until_held(tiny().id)
    wait_until(lambda: daemon.log("previews.paused"), "the log tells of the allowance")
    wait_until(lambda: daemon.health()[0] == 0, "health is green")
    assert kit.sandbox.process_proxy.traffic.count() == 0
    daemon.stop()


def test_silent_preview_service_delays_neither_products_nor_stop(daemon: Running, kit: Kit) -> None:
    kit.sections["preview"] = DRAWN
    kit.sandbox.process_proxy.inject(Fault(silent=True, times=None))
    first, second = tiny(day=22), tiny()
    kit.sandbox.publish(first)
    daemon.start()
    wait_until(kit.sandbox.process_proxy.traffic.count, "a preview is asked for")
    kit.sandbox.publish([second, make_item(ProductSpec(tile="33UUP"))])
    daemon.wait_until_held(first.id, second.id)
    assert daemon.stop() < 20
