"""A daemon with a download quota that is smaller than the catalog."""

from datetime import timedelta

import pytest
from daemon_kit import Running
from kit import Kit, tiny, wait_until
from volumes import bytes_of, honest, limit

from s2mirror.service.wiring import utc_now
from s2mirror.times import format_utc

pytestmark = pytest.mark.long

NOTE = (
    "the account's download quota for the backfill is used up (quota.per_30_days); "
    "downloads resume from about"
)


def received_bytes(kit: Kit) -> int:
    return sum(exchange.sent_bytes for exchange in kit.downloads())


def held_ids(kit: Kit) -> set[str]:
    return {name for name, state in kit.states().items() if state == "archived"}


def age_transfers(kit: Kit, days: int) -> None:
    """Make all received bytes older by *days*, also if the hour changes during the test."""
    ledger = kit.mirror().ledger
    for hour, _ in ledger.transfers(timedelta(days=1), now=utc_now()):
        words = {"hour": format_utc(hour), "earlier": format_utc(hour - timedelta(days=days))}
        ledger.connection.execute("UPDATE transfer SET hour = :earlier WHERE hour = :hour", words)
    ledger.close()


def test_daemon_defers_products_until_quota_is_available(daemon: Running, kit: Kit) -> None:
    old = [honest(tiny(day)) for day in (21, 23, 25, 27)]
    now = utc_now().replace(microsecond=0)
    new = honest(tiny(sensed_at=now - timedelta(hours=30)))
    size_bytes = max(map(bytes_of, [*old, new]))
    limit(kit, 7 * size_bytes // 2, reserve_percent=36)
    kit.sections["download"] += "\nparallel_products = 1"
    kit.sandbox.publish(old)
    daemon.start()
    newest = {product.id for product in old[2:]}
    wait_until(lambda: held_ids(kit) == newest, "as many as the account allows")
    wait_until(lambda: daemon.log("products.deferred"), "a log line")
    assert "of the account's quota" in daemon.log("products.deferred")[0]["reason"]
    kit.sandbox.publish(new)
    wait_until(lambda: held_ids(kit) == newest | {new.id}, "the newest, from the reserve")
    assert received_bytes(kit) <= 7 * size_bytes // 2

    health = kit.json("health")
    assert (health["ok"], health["problems"]) == (True, [])
    assert [note.partition(" 20")[0] for note in health["notes"]] == [NOTE]
    status = kit.json("status")
    assert status["quota"]["left_for_backfill_bytes"] < size_bytes
    assert [group["products"] for group in status["deferrals"]] == [2]
    assert "(quota.per_30_days); more is available from about" in status["deferrals"][0]["reason"]
    forecast = kit.json("forecast")["forecast"]
    assert sum(area["products"] for area in forecast["areas"]) == 2
    assert forecast["done_at"] > (now + timedelta(days=29)).isoformat()

    age_transfers(kit, 31)
    daemon.wait_until_held(*(product.id for product in [*old, new]))
    daemon.wait_until_healthy()
    daemon.stop()
    kit.assert_current(*old, new)
