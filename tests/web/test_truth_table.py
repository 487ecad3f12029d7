"""No report of the mirror says that all is well when it is not, and none complains without cause.

Every row is a world; every column is a report of it: ``status``, ``health``, ``sync``, readiness,
the metric, an alert.
"""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from web_kit import page_of
from world_kit import (
    ARCHIVED,
    BUSY,
    CLAIMED,
    DAY,
    ENQUEUED,
    FAILED,
    GIVES_UP,
    HOUR,
    MINUTE,
    PROCESSED,
    QUARANTINED,
    World,
    damage,
    store_text,
    world_in,
)

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import state_values
from s2mirror.adapters.ledger.records import ThrottlingRecord
from s2mirror.adapters.ledger.state_values import ConfigurationFaultRecord, TargetRecord
from s2mirror.adapters.ledger.totals import PROCESS_RUNS
from s2mirror.cli.main import main
from s2mirror.errors import LedgerError
from s2mirror.model import Rejected
from s2mirror.planning.alerts import AlertKind, AlertPolicy, AlertState, plan_alerts
from s2mirror.planning.findings import Severity, rank
from s2mirror.preview_model import Outcome, Preview
from s2mirror.service.cycle_result import CycleResult
from s2mirror.service.judgement import judge
from s2mirror.service.metrics import render_metrics

WorldStep = Callable[[World], object]
AT_ONCE: Final = AlertPolicy(
    kinds=frozenset(AlertKind),
    delay=timedelta(),
    interval=timedelta(),
    image_interval=timedelta(),
)


def quiet(world: World) -> None:
    """Have the daemon work; nothing is due."""
    world.list()
    world.run()


def cron(world: World) -> None:
    """Have a ``sync`` command end six hours ago."""
    world.list(ago=6 * HOUR)
    world.cycle()


def archive_gone(world: World) -> None:
    quiet(world)
    shutil.rmtree(world.archive)


def disk_not_mounted(world: World) -> None:
    quiet(world)
    (world.archive / ".s2mirror" / "archive.json").unlink()


def other_archive(world: World) -> None:
    disk_not_mounted(world)
    Archive(world.archive).create()


def disk_full(world: World) -> None:
    quiet(world)
    free = shutil.disk_usage(world.archive).free
    world.config = world.config.replace('"1 MB"', f'"{free * 2} B"')


def slow_down_in_queue(world: World) -> None:
    quiet(world)
    for _ in range(3):
        world.fail(world.product(*ENQUEUED, ago=25 * MINUTE), attempts=0, reason=BUSY)


def slow_down_in_worker(world: World) -> None:
    quiet(world)
    world.product(*CLAIMED, ago=25 * MINUTE)


def slow_down_under_cron(world: World) -> None:
    cron(world)
    world.fail(world.product(*ENQUEUED, ago=6.5 * HOUR), attempts=0, reason=BUSY)


def one_product_stuck(world: World) -> None:
    quiet(world)
    world.fail(world.product(*ENQUEUED, ago=4 * DAY), attempts=0, reason="unexpected error")
    world.mirror().ledger.add_transfer(10**9, now=world.now - MINUTE)


def listings_of_last_year(world: World) -> None:
    quiet(world)
    world.list(ago=180 * DAY)


def listing_failed(world: World) -> None:
    quiet(world)
    mirror = world.mirror()
    mirror.ledger.cursors.fail(mirror.searches[0].key, "503", now=world.now - HOUR)


def never_listed(world: World) -> None:
    mirror = world.mirror()
    in_use = {search.key: 900 for search in mirror.searches}
    mirror.ledger.state.set(state_values.SEARCHES_IN_USE, in_use)
    world.run(began=3 * HOUR)


def sweep_overdue(world: World) -> None:
    quiet(world)
    world.list(swept=40 * DAY)


def once_done(world: World) -> None:
    """Have the processing entry be done for a product that was pruned since."""
    world.mirror().ledger.totals.count(PROCESS_RUNS, "chain done")


def hook_fails_for_all(world: World) -> None:
    quiet(world)
    once_done(world)
    for _ in range(3):
        world.fail_run(world.product(*ARCHIVED))


def hook_gave_up(world: World) -> None:
    quiet(world)
    once_done(world)
    world.fail_run(world.product(*ARCHIVED), failures=GIVES_UP)


def hook_never_succeeded(world: World) -> None:
    quiet(world)
    world.fail_run(world.product(*ARCHIVED))


def previews_fail(world: World) -> None:
    quiet(world)
    world.trouble(state_values.PREVIEWS_TROUBLE, "the service answered 503")


def previews_failed(world: World) -> None:
    quiet(world)
    for number in range(3):
        failed = Preview(
            subject=f"product-{number}",
            name="quicklook",
            outcome=Outcome.FAILED,
            paths=(),
            reason="it is no JPEG",
            made_at=world.now - HOUR,
            units=0.0,
        )
        world.mirror().ledger.previews.record(failed)


def product_failed(world: World) -> None:
    quiet(world)
    world.product(*FAILED)


def product_quarantined(world: World) -> None:
    quiet(world)
    world.product(*QUARANTINED)


def brake_holds(world: World) -> None:
    quiet(world)
    world.trouble(state_values.BRAKE, "51 products at once")


def clock_in_doubt(world: World) -> None:
    quiet(world)
    world.mirror().ledger.state.set(state_values.CLOCK_DOUBT, "400 days ahead")


def configuration_refused(world: World) -> None:
    quiet(world)
    fault = ConfigurationFaultRecord(at=world.now, text="unknown key", at_reload=True)
    world.mirror().ledger.state.set(state_values.CONFIGURATION_FAULT, fault)


def daemon_stopped(world: World) -> None:
    quiet(world)
    world.stack.pop_all().close()


def daemon_silent(world: World) -> None:
    world.list()
    world.run(reported=10 * MINUTE)


def never_ran(world: World) -> None:
    world.list()


def threads_ended(world: World) -> None:
    quiet(world)
    world.report("stalled", "2 worker threads have ended without a stop; restart s2mirror")


def wrong_key(world: World) -> None:
    quiet(world)
    world.report("fetch", "the key pair is wrong or has expired")


def log_lost(world: World) -> None:
    quiet(world)
    world.report("log", "the log cannot be written")


def account_throttled(world: World) -> None:
    quiet(world)
    record = ThrottlingRecord(at=world.now - MINUTE, note="the account is throttled")
    world.mirror().ledger.state.set(state_values.THROTTLING, record)


def deletions_unreadable_with_trash(world: World) -> None:
    quiet(world)
    world.configure("deleted", 'policy = "trash"')
    world.trouble(state_values.DELETIONS_TROUBLE, "the feed answered 503")


def fallback_in_use(world: World, *, ago: float = 2) -> None:
    quiet(world)
    endpoint = "https://eodata.ams.dataspace.copernicus.eu"
    record = TargetRecord(endpoint=endpoint, key=1, since=world.now - ago * DAY, why="refused")
    world.mirror().ledger.state.set(state_values.STORE_TARGET, record)


def keys_expired(world: World, *, days: int = -2) -> None:
    quiet(world)
    world.configure("store", f"key_expires = {(world.now + days * DAY).date()}")


def keys_expire_tomorrow(world: World) -> None:
    keys_expired(world, days=1)


def area_incomplete(world: World) -> None:
    quiet(world)
    world.certify(missing=1)


def items_unusable(world: World) -> None:
    quiet(world)
    item = Rejected(id="S2C_x", collection="sentinel-2-l2a", reason="it has no tile")
    world.mirror().ledger.cursors.reject([item], now=world.now - HOUR)


def ledger_damaged(world: World) -> None:
    world.list()
    damage(world.ledger_path)


def ledger_missing(world: World) -> None:
    world.ledger_path.unlink()


def fact_damaged(world: World) -> None:
    quiet(world)
    store_text(world, state_values.BRAKE, "[")


def cron_stopped(world: World) -> None:
    world.list(ago=3 * DAY)
    world.cycle(ago=3 * DAY)


def sync_failed(world: World) -> None:
    cron(world)
    world.trouble(state_values.CYCLE_TROUBLE, "the key pair is wrong or has expired")


def first_sync_failed(world: World) -> None:
    world.trouble(state_values.CYCLE_TROUBLE, "the key pair is wrong or has expired")


BROKEN: Final[tuple[WorldStep, ...]] = (
    archive_gone, disk_not_mounted, other_archive, disk_full, slow_down_in_queue,
    slow_down_in_worker, slow_down_under_cron, one_product_stuck, listings_of_last_year,
    listing_failed, never_listed,
    sweep_overdue, hook_fails_for_all, hook_gave_up, hook_never_succeeded, previews_fail,
    previews_failed,
    product_failed, product_quarantined, brake_holds, clock_in_doubt, configuration_refused,
    daemon_stopped, daemon_silent, never_ran, threads_ended, wrong_key, log_lost,
    account_throttled, deletions_unreadable_with_trash, fallback_in_use, keys_expired,
    keys_expire_tomorrow, area_incomplete, items_unusable, ledger_damaged, ledger_missing,
    fact_damaged, cron_stopped, sync_failed, first_sync_failed,
)  # fmt: skip


def first_run(world: World) -> None:
    world.lock()


def quota_used(world: World) -> None:
    quiet(world)
    world.configure("quota", 'per_30_days = "1 GB"')
    ledger = world.mirror().ledger
    ledger.add_transfer(10**9, now=world.now - 2 * DAY)
    world.product(ago=30 * DAY)
    world.product(*ENQUEUED, ago=30 * DAY)


def downloads_under_way(world: World) -> None:
    quiet(world)
    world.product(*CLAIMED, ago=2 * HOUR)
    world.mirror().ledger.add_transfer(10**9, now=world.now - MINUTE)


def retry_after_first_failure(world: World) -> None:
    quiet(world)
    world.fail(world.product(*ENQUEUED, ago=10 * MINUTE))


def later_attempt_is_not_due(world: World) -> None:
    quiet(world)
    world.fail(world.product(*ENQUEUED, ago=5 * HOUR), attempts=3, wait=HOUR)


def hook_runs(world: World) -> None:
    quiet(world)
    for _ in range(3):
        world.product(*ARCHIVED)


def hook_failed_once(world: World) -> None:
    quiet(world)
    once_done(world)
    world.fail_run(world.product(*ARCHIVED))


def fallback_since_an_hour(world: World) -> None:
    fallback_in_use(world, ago=1 / 24)


def night_timetable(world: World) -> None:
    quiet(world)
    begin, end = ((world.now + shift).strftime("%H:%M") for shift in (-HOUR, HOUR))
    world.configure("download", f'timetable = ["{begin}-{end} pause"]')
    world.product(*ENQUEUED, ago=9 * HOUR)


def timetable_just_over(world: World) -> None:
    quiet(world)
    begin, end = ((world.now + shift).strftime("%H:%M") for shift in (-9 * HOUR, -5 * MINUTE))
    world.configure("download", f'timetable = ["{begin}-{end} pause"]')
    world.product(*ENQUEUED, ago=9 * HOUR)


def deletions_unreadable(world: World) -> None:
    quiet(world)
    world.trouble(state_values.DELETIONS_TROUBLE, "the feed answered 503")


def key_of_a_month(world: World) -> None:
    keys_expired(world, days=20)


def quiet_week(world: World) -> None:
    quiet(world)
    world.product(*PROCESSED, ago=8 * DAY)
    world.mirror().ledger.add_transfer(10**9, now=world.now - 8 * DAY)


HEALTHY: Final[tuple[WorldStep, ...]] = (
    quiet, cron, first_run, quota_used, downloads_under_way, retry_after_first_failure,
    later_attempt_is_not_due, hook_runs,
    hook_failed_once, fallback_since_an_hour, night_timetable, timetable_just_over,
    deletions_unreadable, key_of_a_month, quiet_week,
)  # fmt: skip


def name_of(step: WorldStep) -> str:
    return getattr(step, "__name__", "")


def reports_of(world: World, capsys: pytest.CaptureFixture[str]) -> dict[str, bool]:
    """Return what each report of a world says: whether all is well."""
    path = str(world.path)
    found = {"status": main(["status", "--config", path]) == 0}
    capsys.readouterr()
    found["health"] = main(["health", "--json", "--config", path]) == 0
    found["the text of health"] = json.loads(capsys.readouterr().out)["ok"]
    with suppress(LedgerError):  # these two have an open ledger
        mirror = world.mirror()
        metrics = render_metrics(mirror.settings, mirror.ledger, now=world.now).decode()
        found["metrics"] = "\ns2mirror_healthy 1.0\n" in metrics
        with page_of(mirror) as browser:
            found["readiness"] = browser.get("/readyz").status == 200
        # A cycle that could do all its work, so that only the judgement after it decides.
        judged = judge(mirror.settings, mirror.ledger, now=world.now)
        found["sync"] = CycleResult(judgement=judged).exit_code == 0
        # A notice, such as of a key that expires within weeks, is a message but no complaint.
        _, messages = plan_alerts(AlertState(), judged, AT_ONCE)
        found["alert"] = not any(rank(one.severity) >= rank(Severity.WARNING) for one in messages)
    return found


@pytest.mark.long
@pytest.mark.parametrize("step", BROKEN, ids=name_of)
def test_no_report_calls_broken_mirror_well(
    step: WorldStep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with world_in(tmp_path) as world:
        step(world)
        assert set(reports_of(world, capsys).values()) == {False}


@pytest.mark.long
@pytest.mark.parametrize("step", HEALTHY, ids=name_of)
def test_no_report_complains_of_healthy_mirror(
    step: WorldStep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with world_in(tmp_path) as world:
        step(world)
        assert set(reports_of(world, capsys).values()) == {True}
