import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from subprocess import Popen

import pytest
from cli_kit import Terminal
from kit import BAND_BYTES, DRIP, PATIENCE_SECONDS, Kit, OnFirstByte, tiny, wait_until

from s2mirror.cli.main import STOPPED
from s2mirror.errors import Stopped
from s2mirror.sandbox import Fault
from s2mirror.stop import StopFlag

pytestmark = pytest.mark.long


@contextmanager
def syncing(kit: Kit, fault: Fault, until: Callable[[], object]) -> Iterator[Popen[str]]:
    """Run a sync of one product until *until* is true; kill it at the end in any case."""
    kit.sandbox.publish(tiny(band_bytes=BAND_BYTES))
    kit.sandbox.s3_proxy.inject(fault)
    with kit.start("sync") as process:

        def has_reached_it() -> object:
            assert process.poll() is None, "the sync has ended"
            return until()

        try:
            wait_until(has_reached_it, "the sync has reached the point to stop at")
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_sync_and_keeps_the_bytes(kit: Kit, number: signal.Signals) -> None:
    with syncing(kit, DRIP, kit.bands_begun) as process:
        begun = time.monotonic()
        process.send_signal(number)
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert time.monotonic() - begun < 20
    assert process.returncode == STOPPED
    assert "stopped" in said
    assert said.count("stopped on request") <= 1
    assert "Traceback" not in said
    kept = kit.bands_begun()
    kept_bytes = sum(kept.values())
    assert 0 < kept_bytes < 2 * BAND_BYTES
    kit.sandbox.s3_proxy.reset()
    assert kit.json("sync")["received_bytes"] < 2 * BAND_BYTES - kept_bytes + 20_000
    again = kit.sandbox.s3_proxy.traffic.matching("_B0[23]_")
    ranges = {exchange.path.rpartition("/")[2]: exchange.range for exchange in again}
    assert all(ranges[name] == f"bytes={size_bytes}-" for name, size_bytes in kept.items()), ranges
    kit.assert_invariants()


def test_silent_store_does_not_prevent_the_stop(kit: Kit) -> None:
    with syncing(
        kit, Fault(path="_B02_", silent=True), lambda: is_requested(kit, "_B02_")
    ) as process:
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert time.monotonic() - begun < 20
    assert process.returncode == STOPPED
    assert "what was downloaded so far is kept" in said
    kit.sandbox.s3_proxy.reset()
    assert kit.run("sync").returncode == 0
    kit.assert_invariants()


def test_no_request_follows_a_stop(kit: Kit) -> None:
    kit.sandbox.publish(tiny())
    kit.sandbox.s3_proxy.inject(Fault(path="manifest", cut_after_bytes=100, times=None))
    stop = StopFlag()
    with pytest.raises(Stopped):
        kit.cycle(stop=stop, progress=OnFirstByte(stop.set))
    assert len(kit.downloads()) == 1


def is_requested(kit: Kit, path: str) -> bool:
    return kit.sandbox.s3_proxy.traffic.count(path) > 0


def test_second_signal_ends_sync_at_once(kit: Kit) -> None:
    with syncing(
        kit, Fault(path="_B02_", silent=True), lambda: is_requested(kit, "_B02_")
    ) as process:
        # Two different signals: the same one, sent twice, may be delivered once.
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == STOPPED
    assert "stopped" not in said, "it waited for the silent store"


SIGNAL_TO_A_WORKER = """
import os, signal, threading, time
from s2mirror.cli.signals import stopped_by_signals
def work():
    time.sleep(0.3)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    print(stop.wait(15), flush=True)
    os._exit(0)
with stopped_by_signals() as stop:
    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
"""


def test_signal_to_any_thread_stops_the_command() -> None:
    command = [sys.executable, "-c", SIGNAL_TO_A_WORKER]
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout == b"True\n"


def test_terminal_shows_bars_and_regains_its_cursor(kit: Kit) -> None:
    kit.sandbox.publish([tiny(25, band_bytes=BAND_BYTES), tiny(27, band_bytes=BAND_BYTES)])
    kit.sandbox.s3_proxy.inject(DRIP)
    terminal = Terminal(kit.command("sync"), kit.environment())
    terminal.read_until("0 of 2 products")
    terminal.read_until("S2C L2A 32TMT 2026-05-27")
    terminal.read_until("B/s")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.read_to_end() == STOPPED
    assert terminal.shown.rindex("\x1b[?25h") > terminal.shown.rindex("\x1b[?25l")


def test_narrow_terminal_shows_one_line_per_bar(kit: Kit) -> None:
    kit.sandbox.publish(tiny(27, band_bytes=400_000))
    terminal = Terminal(kit.command("sync"), kit.environment(), columns=72)
    assert terminal.read_to_end() == 0
    lines = [line for line in terminal.shown.split("\n") if "S2C L2A 32TMT" in line]
    assert all("…" not in line for line in lines)
    assert "1 new, 1 archived" in terminal.shown


def test_no_color_prints_no_color(kit: Kit) -> None:
    terminal = Terminal(kit.command("run"), kit.environment(NO_COLOR="1"))
    terminal.read_until("mirror.started")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.read_to_end() == 0
    assert "\x1b[3" not in terminal.shown, "a color sequence"
