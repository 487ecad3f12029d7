"""The account's quota: counted, kept below its limit, and shared fairly."""

import json
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import overwrite
from kit import SENSED_AT, ZURICH, Kit
from kit import tiny as made
from volumes import bytes_of, honest, limit

from s2mirror.sandbox import Fault, SandboxProduct
from s2mirror.service.cycle import prepare
from s2mirror.service.wiring import utc_now
from s2mirror.steps.enqueue import QUEUE_LENGTH
from s2mirror.stop import StopFlag

DAYS = (21, 23, 25, 27)
BERN = """
[[area]]
name = "bern"
tiles = ["32TLT"]
start = 2020-01-01
"""


def tiny(day: int = 27, **changes: Any) -> SandboxProduct:  # noqa: ANN401 - ProductSpec's fields
    """Return a product with its true size in the catalog."""
    return honest(made(day, **changes))


def fresh(hours_ago: float = 30, **changes: Any) -> SandboxProduct:  # noqa: ANN401 - likewise
    moment = (utc_now() - timedelta(hours=hours_ago)).replace(microsecond=0)
    return tiny(sensed_at=moment, **changes)


@pytest.mark.long
def test_used_up_quota_is_no_fault(
    kit: Kit,
) -> None:
    products = [tiny(day) for day in DAYS]
    kit.sandbox.publish(products)
    limit(kit, 2 * max(map(bytes_of, products)))
    result = kit.cycle()
    assert sorted(result.archived) == sorted(p.id for p in products[2:]), "the newest two"
    assert result.remaining
    assert result.exit_code == 0
    assert result.downloads is not None
    assert "of the account's quota" in result.downloads.deferred[products[0].id]
    assert "more is available from about" in result.downloads.deferred[products[0].id]
    assert kit.cycle(kit.later(days=29)).remaining
    assert kit.cycle(kit.later(days=31)).exit_code == 0
    kit.assert_current(*products)


@pytest.mark.long
def test_quota_reserve_serves_fresh_images_only(kit: Kit) -> None:
    old, new = tiny(27), fresh()
    kit.sandbox.publish([old, new])
    limit(kit, 2 * bytes_of(new) + 100, reserve_percent=100)
    result = kit.cycle()
    assert result.archived == [new.id]
    assert result.remaining
    assert result.exit_code == 0
    limit(kit, 2 * bytes_of(old) + bytes_of(new))
    assert kit.cycle().exit_code == 0
    kit.assert_current(old, new)


@pytest.mark.long
def test_failed_product_is_not_a_quota_deferral(kit: Kit) -> None:
    kit.sandbox.publish([tiny(27), tiny(25)])
    limit(kit, bytes_of(tiny(27)))
    kit.cycle()
    mirror = kit.mirror()
    assert mirror.ledger.products.claim(mirror.now()) is None, "it is not even in the queue"
    overwrite(mirror.ledger, "state = 'failed', reason = 'x'", "state = 'archived'")
    assert kit.cycle().exit_code == 1


@pytest.mark.long
def test_status_and_plan_show_the_remaining_quota(
    kit: Kit, capsys: pytest.CaptureFixture[str]
) -> None:
    kit.sandbox.publish([tiny(27), tiny(25)])
    limit(kit, bytes_of(tiny(27)) + 500, reserve_percent=1)
    kit.cycle()
    capsys.readouterr()
    assert kit.call("status") == 0
    printed = capsys.readouterr().out
    assert "left for the backfill" in printed
    assert "deferred  1 product; the first: needs" in printed
    kit.call("plan", "--json")
    plan = json.loads(capsys.readouterr().out)
    assert "of the account's quota" in plan["deferred"][tiny(25).id]


@pytest.mark.long
def test_small_area_is_served_beside_a_large_one(kit: Kit) -> None:
    kit.areas = ZURICH + BERN
    kit.sections["download"] = "parallel_products = 1"
    many = [tiny(day) for day in range(5, 29)]
    few = [tiny(day, tile="32TLT", sensed_at=SENSED_AT.replace(month=3, day=day)) for day in DAYS]
    kit.sandbox.publish([*many, *few])
    result = kit.cycle()
    assert {p.id for p in few} <= set(result.archived[: 2 * len(few) + 1])
    kit.assert_current(*many, *few)


@pytest.mark.long
def test_new_priority_applies_to_waiting_products(kit: Kit) -> None:
    kit.areas = ZURICH + BERN
    kit.sections["download"] = "parallel_products = 1"
    kit.sandbox.publish([tiny(27), tiny(21, tile="32TLT")])
    limit(kit, 0)
    assert kit.cycle().remaining
    kit.areas = ZURICH + BERN + BERN.replace('"bern"', '"flood"') + "priority = 5\n"
    del kit.sections["quota"]
    assert kit.cycle().archived == [tiny(21, tile="32TLT").id, tiny(27).id]


def test_timetable_pause_starts_no_download(kit: Kit) -> None:
    kit.sections["download"] = 'timetable = ["00:00-24:00 pause"]'
    kit.sandbox.publish(tiny())
    assert kit.cycle().remaining
    assert kit.downloads() == []
    kit.sections["download"] = ""
    assert kit.cycle().exit_code == 0
    kit.assert_current(tiny())


@pytest.mark.long
def test_kill_loses_no_counted_byte(kit: Kit) -> None:
    product = tiny(band_bytes=3_000_000)
    kit.sandbox.publish(product)
    kit.sections["store"] = 'read_timeout = "1 h"'
    kit.sandbox.s3_proxy.inject(Fault(path="B03_10m", silent=True))
    first = kit.start("sync")
    try:
        # Once it is complete on disk, no byte of it is in a buffer that dies with the process.
        while not list((kit.archive / ".s2mirror/staging").rglob("*.SAFE/**/*B02*.jp2")):
            assert first.poll() is None
            time.sleep(0.02)
    finally:
        first.kill()
        first.communicate()
    kit.cycle()
    mirror = kit.mirror()
    spent = mirror.ledger.transferred_bytes(timedelta(days=1), now=mirror.now())
    sent = sum(exchange.sent_bytes for exchange in kit.downloads())
    assert spent >= sent >= bytes_of(product)


@pytest.mark.long
def test_kill_counts_no_byte_that_never_came(kit: Kit) -> None:
    """After every kill, the ledger adds what is staged and not counted, and no guess beyond it."""
    product = tiny(band_bytes=3_000_000)
    kit.sandbox.publish(product)
    mirror, ledger = kit.mirror(), kit.mirror().ledger
    for search in mirror.searches:
        mirror.poller().poll(search, StopFlag())
    mirror.enqueuer().enqueue(["zurich"], now=mirror.now())
    stage = mirror.archive.stage(product.id)
    for kill in range(60):
        assert ledger.products.claim(mirror.now())
        ledger.begin_transfer(product.id, stage.size_bytes())
        with stage.part(f"band-{kill}") as part:
            part.append(b"x" * 5000)
        ledger.add_transfer_of(product.id, 3000, now=mirror.now())
        prepare(mirror)  # the start of the next process
    told = ledger.transferred_bytes(timedelta(days=1), now=mirror.now())
    connections = mirror.settings.store.connections
    assert 60 * 5000 <= told <= 60 * (5000 + connections * 256 * 1024)


@pytest.mark.long
def test_forecast_shows_waiting_products_and_assumptions(
    kit: Kit, capsys: pytest.CaptureFixture[str]
) -> None:
    kit.areas = ZURICH + BERN
    kit.sandbox.publish([tiny(27), tiny(25), tiny(25, tile="32TLT")])
    limit(kit, bytes_of(tiny(27)))
    assert kit.cycle().remaining
    capsys.readouterr()
    assert kit.call("forecast", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    waiting = {area["name"]: area["products"] for area in printed["forecast"]["areas"]}
    assert sum(waiting.values()) == 2
    assert printed["median_bytes"] == bytes_of(tiny(27))
    assert printed["measured"] is True
    assert printed["forecast"]["quota_full_at"] is not None
    assert printed["forecast"]["done_at"] > printed["forecast"]["quota_full_at"]
    assert kit.call("forecast") == 0
    text = capsys.readouterr().out
    assert "backfill  ends about" in text
    assert "assumption: the rate is that of the busier hours of the last 7 days" in text


@pytest.mark.long
def test_queue_of_bad_products_blocks_no_good_one(
    kit: Kit,
) -> None:
    kit.sandbox.publish(tiny(1))
    limit(kit, 0)
    kit.cycle()
    good = kit.entry(tiny(1)).product
    bad = [
        replace(good, id=f"bad-{n}", sensed_at=good.sensed_at + timedelta(minutes=n + 1))
        for n in range(QUEUE_LENGTH + 60)
    ]
    del kit.sections["quota"]
    mirror = kit.mirror()
    wanted = {product.id: ["zurich"] for product in bad}
    mirror.ledger.products.record(bad, wanted, priorities={}, now=mirror.now())
    first = mirror.enqueuer().enqueue(["zurich"], now=mirror.now())
    assert good.id not in {entry.product.id for entry in first.new}
    later = "2999-01-01T00:00:00.000000+00:00"
    overwrite(mirror.ledger, "next_attempt_at = :later", "state = 'queued'", later=later)
    second = mirror.enqueuer().enqueue(["zurich"], now=mirror.now())
    assert good.id in {entry.product.id for entry in second.new}
