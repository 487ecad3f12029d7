import ctypes
import os
import signal
import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from daemon_kit import RecordingNotifier, Running, at_work, problems
from kit import BAND_BYTES, DRIP, Kit, tiny, wait_until

from s2mirror.adapters.ledger.state_values import HEALTH
from s2mirror.sandbox import Answer, Exchange, Fault
from s2mirror.service.wiring import Mirror, utc_now
from s2mirror.service.workers import Intervals

pytestmark = pytest.mark.long

ONE_SEARCH = """
[[area]]
name = "zurich"
tiles = ["32TMT"]
start = 2020-01-01
"""


DAY = timedelta(days=1)


def searches(kit: Kit) -> list[Exchange]:
    return kit.sandbox.stac_proxy.traffic.matching("/search")


def test_polls_of_one_search_never_overlap(daemon: Running, kit: Kit) -> None:
    kit.areas = ONE_SEARCH
    kit.sandbox.stac_proxy.inject(Fault(path="/search", delay_seconds=2.5, times=None))
    daemon.start()
    wait_until(lambda: len(searches(kit)) >= 5, "five polls")
    daemon.stop()
    gaps = [after.started - before.started for before, after in pairwise(searches(kit))]
    assert all(gap >= 2.5 for gap in gaps), "never two at once"


def test_one_poll_replaces_all_that_a_suspend_missed(daemon: Running, kit: Kit) -> None:
    kit.areas = ONE_SEARCH
    daemon.start()
    wait_until(lambda: len(searches(kit)) >= 2, "two polls")
    daemon.send(signal.SIGSTOP)
    time.sleep(5)
    woken = time.monotonic()
    daemon.send(signal.SIGCONT)

    def polls_since() -> int:
        return sum(found.started > woken for found in searches(kit))

    wait_until(polls_since, "a poll to catch up")
    time.sleep(0.6)
    polls = polls_since()
    # In addition to those that are due: one to catch up, and one that was in progress.
    assert polls < time.monotonic() - woken + 3, "five were missed"
    kit.sandbox.publish(tiny())
    daemon.wait_until_held(tiny().id)
    daemon.stop()


def listed(mirror: Mirror) -> int:
    """Return the number of searches that were listed completely."""
    return sum(cursor.listed_at is not None for cursor in mirror.ledger.cursors.all())


@pytest.mark.parametrize("days", [-1, 1])
def test_clock_jump_starts_a_poll_at_once(kit: Kit, days: int) -> None:
    kit.areas = ONE_SEARCH
    kit.sections["catalog"] = 'interval = "6 h"'
    step = [timedelta()]
    mirror = replace(kit.mirror(), now=lambda: utc_now() + step[0])
    with at_work(mirror, Intervals(tick_seconds=0.05)):
        wait_until(lambda: listed(mirror) == len(mirror.searches), "the first poll")
        before = len(searches(kit))
        time.sleep(0.5)
        assert len(searches(kit)) == before
        step[0] = timedelta(days=days)
        wait_until(lambda: len(searches(kit)) > before, "a poll")


def test_clock_jump_removes_nothing_at_once(kit: Kit) -> None:
    kit.areas = ONE_SEARCH
    kit.sections["prune"] = 'after = "9 d"\ntrash_keep = "1 d"'
    done, new = (tiny(sensed_at=utc_now().replace(microsecond=0) - DAY * n) for n in (2, 3))
    kit.sandbox.publish([done, new])
    kit.cycle()
    assert kit.call("mark", "processed", done.id) == 0
    step = [timedelta()]
    mirror = replace(kit.mirror(), now=lambda: utc_now() + step[0])
    with at_work(mirror, Intervals(tick_seconds=0.05)):
        wait_until(lambda: len(searches(kit)) >= 2, "a poll")
        before = len(searches(kit))
        step[0] = timedelta(days=400)
        wait_until(lambda: len(searches(kit)) > before, "the poll after the jump")
        wait_until_reported_after(mirror, utc_now() + timedelta(days=399))
        assert [text for text in problems(mirror) if "400 days ahead of the STAC catalog" in text]
        assert kit.states() == {done.id: "processed", new.id: "archived"}


def wait_until_reported_after(mirror: Mirror, instant: datetime) -> None:
    def reported() -> bool:
        found = mirror.ledger.state.get(HEALTH)
        return found is not None and found.at > instant

    wait_until(reported, "a report")


def test_downloads_resume_when_the_key_is_valid_again(kit: Kit) -> None:
    kit.sandbox.publish(tiny())
    kit.sandbox.s3_proxy.inject(Fault(answer=Answer(status=401), times=None))
    mirror = kit.mirror()
    with at_work(mirror, Intervals(pause_seconds=0.3, idle_seconds=0.1)):
        wait_until(lambda: "the key pair is wrong" in str(problems(mirror)), "a problem")
        kit.sandbox.s3_proxy.faults.clear()
        wait_until(lambda: kit.states() == {tiny().id: "archived"}, "archived")
        wait_until(lambda: not problems(mirror), "all well")
    kit.assert_current(tiny())


def test_downloads_resume_when_the_archive_is_mounted_again(kit: Kit) -> None:
    kit.sections["prune"] = 'interval = "1 s"'
    mirror = kit.mirror()
    with at_work(mirror, Intervals(pause_seconds=0.3, idle_seconds=0.1)):
        wait_until(lambda: mirror.ledger.state.get(HEALTH), "the first report")
        kit.archive.rename(kit.folder / "away")
        kit.sandbox.publish(tiny())
        wait_until(lambda: "is its disk mounted?" in str(problems(mirror)), "a problem")
        health = kit.json("health")
        assert not health["ok"]
        assert any("is its disk mounted?" in text for text in health["problems"])
        (kit.folder / "away").rename(kit.archive)
        wait_until(lambda: kit.states() == {tiny().id: "archived"}, "archived")
        wait_until(lambda: not problems(mirror), "all well")
    kit.assert_current(tiny())


def test_watchdog_is_notified_during_a_slow_download(daemon: Running, kit: Kit) -> None:
    kit.sandbox.publish(tiny(band_bytes=BAND_BYTES))
    kit.sandbox.s3_proxy.inject(DRIP)
    daemon.start()
    wait_until(kit.bands_begun, "partial bytes")
    notified = daemon.sent.count("WATCHDOG=1")
    wait_until(lambda: daemon.sent.count("WATCHDOG=1") >= notified + 6, "the watchdog is notified")
    wait_until(lambda: any("downloads in progress" in words for words in daemon.sent), "a word")
    assert kit.states() == {tiny().id: "downloading"}
    daemon.stop()


def test_watchdog_is_not_notified_when_a_download_hangs(kit: Kit) -> None:
    kit.sandbox.publish(tiny())
    kit.sandbox.s3_proxy.inject(Fault(path="_B02_", silent=True))
    mirror, recording = kit.mirror(), RecordingNotifier()
    intervals = Intervals(stall_seconds=1.0, shutdown_seconds=0.5)
    staged = kit.archive / ".s2mirror" / "staging" / f"{tiny().id}.SAFE"
    with at_work(mirror, intervals, recording):
        wait_until(lambda: kit.sandbox.s3_proxy.traffic.count("_B02_"), "the silent request")
        wait_until(lambda: files_below(staged) == len(tiny().files) - 1, "all the other files")
        wait_until(lambda: recording.notified_at, "it was notified")
        wait_until(lambda: not recording.notified_since(time.monotonic() - 2), "nothing more moves")
        silent_from = time.monotonic()
        time.sleep(1.0)
        assert recording.notified_since(silent_from) == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_watchdog_is_not_notified_without_a_worker_thread(kit: Kit) -> None:
    mirror, recording = kit.mirror(), RecordingNotifier()
    # The thread of an abandoned download may remain from a test before.
    others = threading.enumerate()
    with at_work(mirror, Intervals(idle_seconds=0.1), recording):
        wait_until(lambda: recording.notified_at, "it was notified")
        started = [thread for thread in threading.enumerate() if thread not in others]
        worker = next(thread for thread in started if thread.name == "fetch-0")
        wait_until(lambda: is_ended(worker), "the end of the thread")
        wait_until(lambda: "threads have ended" in str(problems(mirror)), "a problem")
        silent_from = time.monotonic()
        time.sleep(0.5)
        assert recording.notified_since(silent_from) == 0


def is_ended(thread: threading.Thread) -> bool:
    """Raise SystemExit in *thread* while it lives: one may be lost in a callback or a finalizer."""
    identity, error = ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(identity, error)
    return not thread.is_alive()


def files_below(folder: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(folder))


def test_polling_does_not_increase_memory(daemon: Running, kit: Kit) -> None:
    products = [tiny(day) for day in range(1, 29)]
    kit.sandbox.publish(products)
    daemon.start()
    daemon.wait_until_held(*(product.id for product in products))
    wait_until(lambda: not kit.mirror().ledger.previews.due_count(), "all previews")

    def memory_after(polls: int) -> int:
        until = daemon.polls() + polls
        wait_until(lambda: daemon.polls() >= until, f"{polls} polls", seconds=900)
        return resident_kilobytes(daemon.process.pid)

    before, after = memory_after(20), memory_after(120)
    assert after - before < 4000, f"{before} kB before, {after} kB after"
    daemon.stop()


def resident_kilobytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
