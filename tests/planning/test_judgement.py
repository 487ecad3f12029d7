"""The rules of the judgement: what is a finding, and how bad it is."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from builders import NOW

from s2mirror.planning import facts
from s2mirror.planning.facts import (
    BackupFacts,
    CertificateFacts,
    CycleFacts,
    DaemonFacts,
    DiskFacts,
    Facts,
    ForceFacts,
    KeyFacts,
    ProcessFacts,
    ProductFacts,
    QueueFacts,
    SearchFacts,
    Trouble,
)
from s2mirror.planning.findings import Severity
from s2mirror.planning.judgement import judge
from s2mirror.planning.scrub import ScrubFacts
from s2mirror.planning.silence import PassSeries, SilenceFacts
from s2mirror.planning.store_backoff import Backoff

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
SEARCH = SearchFacts(
    name="l2a", interval=15 * MINUTE, listed_at=NOW - 10 * MINUTE, swept_at=NOW - 3 * DAY
)
DAEMON = DaemonFacts(began_at=NOW - 3 * DAY, reported_at=NOW - timedelta(seconds=10))
GOOD = Facts(
    now=NOW,
    running_pid=7,
    daemon=DAEMON,
    searches=(SEARCH,),
    good_at=NOW - MINUTE,
    progress_at=NOW - DAY,
)
"""A quiet day: the daemon works, and nothing is due."""
CYCLE = CycleFacts(began_at=NOW - 7 * HOUR, ended_at=NOW - 6 * HOUR)
CRON = replace(GOOD, running_pid=None, daemon=None, cycle=CYCLE, good_at=NOW - 6 * HOUR)
"""A user of cron, between two runs."""
STUCK = QueueFacts(products=24, since=NOW - 30 * MINUTE, reason="SlowDown", blameless=True)

PASSES = PassSeries(
    area="alps",
    collection="sentinel-2-l2a",
    relative_orbit=65,
    sensed_at=[NOW - n * DAY for n in (22, 17, 12, 7)],
    latitude=48,
)
OTHER_ORBIT = replace(PASSES, relative_orbit=22, sensed_at=[NOW - DAY])
SILENT = SilenceFacts(passes=(PASSES,), listed_at={("sentinel-2-l2a", "alps"): NOW})
REFUSING = Backoff(
    refused_count=2, since=NOW, at=NOW, until=NOW + MINUTE, reason="SlowDown", logged_at=NOW
)


def with_entry(**values: Any) -> Facts:  # noqa: ANN401 - ProcessFacts' fields
    """Return the facts of a quiet day with one processing entry."""
    return replace(GOOD, processing=(ProcessFacts(entry="chain", **values),))


N, W, F = Severity.NOTICE, Severity.WARNING, Severity.FAILURE
SCRUB = ScrubFacts(every=30 * DAY, works=True, oldest_at=NOW - 20 * DAY)
CASES: tuple[tuple[str, Severity, Facts], ...] = (
    ("ledger.unusable", F, Facts(now=NOW, ledger_problem="malformed")),
    ("ledger.damaged", F, replace(GOOD, backups=BackupFacts(damage="malformed"))),
    (
        "ledger.backup_old",
        W,
        replace(
            GOOD,
            backups=BackupFacts(wanted=True, made_at=NOW - timedelta(days=4)),
            daemon=DaemonFacts(began_at=NOW - timedelta(days=9), reported_at=NOW),
        ),
    ),
    ("archive.unavailable", F, replace(GOOD, archive_problem="is its disk mounted?")),
    ("archive.layout", N, replace(GOOD, elsewhere=2)),
    ("archive.damaged", W, replace(GOOD, scrub=replace(SCRUB, damaged=(("S2A", "bad"),)))),
    ("scrub.stopped", F, replace(GOOD, scrub=replace(SCRUB, stopped="many are damaged"))),
    ("scrub.behind", W, replace(GOOD, scrub=replace(SCRUB, oldest_at=NOW - 61 * DAY))),
    (
        "archive.read_only",
        F,
        replace(GOOD, disk=DiskFacts(free_bytes=9, reserve_bytes=1, read_only=True)),
    ),
    ("disk.full", W, replace(GOOD, disk=DiskFacts(free_bytes=1, reserve_bytes=2))),
    (
        "disk.full",
        W,
        replace(GOOD, disk=DiskFacts(free_bytes=9, reserve_bytes=2, inodes_left=False)),
    ),
    ("disk.full", W, replace(GOOD, disk=DiskFacts(free_bytes=9, reserve_bytes=2, too_large=1))),
    ("clock.doubt", W, replace(GOOD, clock_doubt="400 days ahead")),
    ("products.failed", W, replace(GOOD, failed=ProductFacts(products=1))),
    ("products.quarantined", W, replace(GOOD, quarantined=ProductFacts(products=2, newest_at=NOW))),
    ("items.unusable", W, replace(GOOD, unusable=ProductFacts(products=1, reason="no tile"))),
    (
        "certificate.incomplete",
        W,
        replace(
            GOOD,
            certificates={"alps": CertificateFacts(checked_at=NOW, missing=1, complete=False)},
        ),
    ),
    (
        "force_queue.unusable",
        W,
        replace(GOOD, force=ForceFacts(trouble=Trouble(text="x", since=NOW))),
    ),
    ("force_queue.failed", W, replace(GOOD, force=ForceFacts(failed=2, failed_id="S2A"))),
    ("force_queue.bad_lines", N, replace(GOOD, force=ForceFacts(bad_lines=2, first_bad=1))),
    ("process.failing", W, with_entry(failing=2, most_failures=1)),
    ("process.failing", W, with_entry(failing=1, most_failures=2)),
    ("process.failing", W, with_entry(failing=1, most_failures=1, ever_done=False)),
    ("process.failing", N, with_entry(failing=1, most_failures=1)),
    ("process.stalled", W, with_entry(waiting=3, waiting_since=NOW - HOUR)),
    (
        "process.stalled",
        W,
        with_entry(waiting=3, waiting_since=NOW - DAY, ended_at=NOW - HOUR),
    ),
    ("previews.failed", N, replace(GOOD, failed_previews=ProductFacts(products=2, reason="odd"))),
    ("previews.failed", W, replace(GOOD, failed_previews=ProductFacts(products=3, reason="odd"))),
    ("previews.failing", W, replace(GOOD, previews=Trouble(text="answered 503"))),
    ("prune.braked", W, replace(GOOD, brake=Trouble(text="51 products"))),
    ("prune.not_enough", W, replace(GOOD, prune_short=Trouble(text="9 GB more"))),
    ("quota.used", N, replace(GOOD, quota="used up")),
    ("keys.expired", F, replace(GOOD, keys=(KeyFacts(number=1, text="over", days=-1),))),
    (
        "keys.expired",
        N,
        replace(GOOD, keys=(KeyFacts(number=1, text="over", days=-1),), key_pairs=2),
    ),
    ("keys.expire_soon", W, replace(GOOD, keys=(KeyFacts(number=1, text="soon", days=7),))),
    ("keys.expire_soon", N, replace(GOOD, keys=(KeyFacts(number=1, text="soon", days=8),))),
    ("daemon.never_ran", F, Facts(now=NOW)),
    ("daemon.stopped", F, replace(GOOD, running_pid=None)),
    ("daemon.stopped", N, replace(CRON, daemon=replace(DAEMON, reported_at=NOW - DAY))),
    ("daemon.silent", F, replace(GOOD, daemon=replace(DAEMON, reported_at=NOW - 3 * MINUTE))),
    (
        "daemon.problem",
        F,
        replace(GOOD, daemon=replace(DAEMON, troubles=(Trouble(text="no key", source="fetch"),))),
    ),
    (
        "daemon.problem",
        W,
        replace(GOOD, daemon=replace(DAEMON, troubles=(Trouble(text="lost", source="log"),))),
    ),
    ("cycle.failed", F, replace(CRON, cycle_trouble=Trouble(text="the key pair is wrong"))),
    ("cycle.too_old", F, replace(GOOD, max_age=2 * DAY, good_at=NOW - 3 * DAY)),
    ("cycle.too_old", F, replace(GOOD, max_age=2 * DAY, good_at=None)),
    (
        "cycle.too_old",
        F,
        replace(
            CRON,
            cycle=CycleFacts(began_at=NOW - 3 * DAY, ended_at=NOW - 3 * DAY),
            good_at=NOW - 3 * DAY,
        ),
    ),
    ("search.failed", W, replace(GOOD, searches=(replace(SEARCH, error="answered 503"),))),
    (
        "search.too_old",
        F,
        replace(GOOD, searches=(replace(SEARCH, listed_at=NOW - 180 * DAY),)),
    ),
    ("search.too_old", W, replace(GOOD, searches=(replace(SEARCH, listed_at=None),))),
    ("sweep.overdue", W, replace(GOOD, searches=(replace(SEARCH, swept_at=NOW - 16 * DAY),))),
    ("downloads.no_progress", F, replace(GOOD, queue=STUCK)),
    (
        "downloads.no_progress",
        F,
        replace(CRON, queue=replace(STUCK, since=NOW - 7 * HOUR)),
    ),
    (
        "products.stuck",
        W,
        replace(
            GOOD,
            queue=replace(STUCK, tried_since=NOW - 4 * DAY, since=NOW - 4 * DAY),
            progress_at=NOW - MINUTE,
        ),
    ),
    ("deletions.unreadable", N, replace(GOOD, deletions=Trouble(text="answered 503"))),
    (
        "deletions.unreadable",
        W,
        replace(GOOD, deletions=Trouble(text="answered 503"), deletions_kept=False),
    ),
    ("store.failover", N, replace(GOOD, failover=Trouble(text="second", since=NOW - HOUR))),
    ("store.failover", W, replace(GOOD, failover=Trouble(text="second", since=NOW - 2 * DAY))),
    ("area.silent", W, replace(GOOD, silence=SILENT)),
    (
        "area.silent",
        N,
        replace(GOOD, silence=replace(SILENT, passes=(*SILENT.passes, OTHER_ORBIT))),
    ),
    ("store.throttled", N, replace(GOOD, backoff=REFUSING)),
    ("store.throttled", W, replace(GOOD, backoff=replace(REFUSING, since=NOW - HOUR))),
    ("account.throttled", W, replace(GOOD, throttled="1.0 MB/s")),
    ("alerts.failed", W, replace(GOOD, alerts=(Trouble(text="503", source="ping_url"),))),
    ("configuration.refused", F, replace(GOOD, refused_configuration=Trouble(text="unknown key"))),
)
HEALTHY: dict[str, Facts] = {
    "quiet": GOOD,
    "first run just started": Facts(now=NOW, running_pid=7),
    "first listing under way": replace(
        GOOD,
        daemon=replace(DAEMON, began_at=NOW - MINUTE),
        searches=(replace(SEARCH, listed_at=None),),
    ),
    "downloads under way": replace(GOOD, queue=STUCK, progress_at=NOW - MINUTE),
    "just enqueued": replace(GOOD, queue=replace(STUCK, since=NOW - MINUTE)),
    "started after a pause of a day": replace(
        GOOD,
        queue=replace(STUCK, since=NOW - 2 * DAY),
        progress_at=NOW - DAY - MINUTE,
        daemon=replace(DAEMON, began_at=NOW - MINUTE, paused=DAY - MINUTE),
    ),
    "cron between runs": CRON,
    "cron with one retry": replace(
        CRON, queue=QueueFacts(products=1, since=CYCLE.began_at + MINUTE, reason="503")
    ),
    "a run has just ended": with_entry(waiting=3, waiting_since=NOW - DAY, ended_at=NOW),
    "a run of a day": with_entry(waiting=3, waiting_since=NOW - 2 * DAY, running=1),
    "no product to process": with_entry(),
    "max age kept": replace(CRON, max_age=DAY),
    "key of a month": replace(GOOD, keys=(KeyFacts(number=1, text="soon", days=20),)),
}


def found(case: Facts) -> dict[str, Severity]:
    return {finding.code: finding.severity for finding in judge(case).findings}


@pytest.mark.parametrize(("code", "severity", "case"), CASES, ids=[c for c, _, _ in CASES])
def test_trouble_has_one_finding(code: str, severity: Severity, case: Facts) -> None:
    assert found(case) == {code: severity}
    assert judge(case).ok is (severity is Severity.NOTICE)


@pytest.mark.parametrize("case", HEALTHY.values(), ids=HEALTHY)
def test_healthy_mirror_has_no_warning(case: Facts) -> None:
    assert judge(case).ok, judge(case).findings


def test_watchdog_restart_does_not_hide_standstill() -> None:
    restarted = replace(DAEMON, began_at=NOW - MINUTE, paused=timedelta(seconds=20))
    assert "downloads.no_progress" in found(replace(GOOD, queue=STUCK, daemon=restarted))


def test_trouble_of_two_jobs_is_one_failure() -> None:
    troubles = tuple(Trouble(text="no disk", source=source) for source in ("keys", "fetch", "poll"))
    findings = judge(replace(GOOD, daemon=replace(DAEMON, troubles=troubles))).findings
    assert [(each.text, each.severity) for each in findings] == [("no disk", F)]


def test_every_code_has_case_and_row() -> None:
    """The table of docs/findings.md, the rules and the cases here have the same codes."""
    sources = Path(facts.__file__ or "").parent.glob("*.py")
    text = "".join(source.read_text(encoding="utf-8") for source in sources)
    in_code = set(re.findall(r'code="([a-z_.]+)"', text))
    table = (Path(__file__).parents[2] / "docs" / "findings.md").read_text(encoding="utf-8")
    assert {code for code, _, _ in CASES} == in_code
    assert set(re.findall(r"^\| `([a-z_.]+)` \|", table, flags=re.MULTILINE)) == in_code


def test_defaults_are_those_of_a_mirror_in_order() -> None:
    assert not judge(Facts(now=NOW, running_pid=1)).findings
    assert facts.Facts(now=NOW).max_age is None
