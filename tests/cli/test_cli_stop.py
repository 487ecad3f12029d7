import signal
import time
from subprocess import Popen

import pytest
from cli_kit import Terminal
from kit import Kit, size_of, tiny

from s2mirror.cli.codes import STOPPED
from s2mirror.sandbox import Fault

pytestmark = pytest.mark.long

BAND_BYTES = 1_500_000


def started_in_mid_download(kit: Kit, fault: Fault) -> Popen[str]:
    """Return a sync that has some bytes of a band and waits for more."""
    kit.sandbox.publish(tiny(band_bytes=BAND_BYTES))
    kit.sandbox.s3_proxy.inject(fault)
    process = kit.start("sync")
    wait_for_partial(kit)
    return process


def wait_for_partial(kit: Kit) -> None:
    give_up_at = time.monotonic() + 60
    while not partial_files(kit):
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def partial_files(kit: Kit) -> dict[str, int]:
    parts = (kit.archive / ".s2mirror" / "staging").glob("*.part/**/*.jp2")
    return {path.name: size_bytes for path in parts if (size_bytes := size_of(path))}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_sync_in_seconds_and_keeps_the_bytes(
    kit: Kit, number: signal.Signals
) -> None:
    drip = Fault(path="_B0[23]_", bytes_per_second=300_000, times=None)
    process = started_in_mid_download(kit, drip)
    begun = time.monotonic()
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert time.monotonic() - begun < 20
    assert process.returncode == STOPPED
    assert said.count("stopped") == 1
    assert "Traceback" not in said
    kept = partial_files(kit)
    kept_bytes = sum(kept.values())
    assert 0 < kept_bytes < 2 * BAND_BYTES
    kit.sandbox.s3_proxy.reset()
    assert kit.json("sync")["received_bytes"] < 2 * BAND_BYTES - kept_bytes + 20_000
    again = kit.sandbox.s3_proxy.traffic.matching("_B0[23]_")
    ranges = {exchange.path.rpartition("/")[2]: exchange.range for exchange in again}
    assert all(ranges[name] == f"bytes={size_bytes}-" for name, size_bytes in kept.items()), ranges
    kit.assert_invariants()


def test_a_silent_store_does_not_keep_a_sync_from_ending(kit: Kit) -> None:
    kit.sandbox.publish(tiny(band_bytes=BAND_BYTES))
    kit.sandbox.s3_proxy.inject(Fault(path="_B02_", silent=True))
    process = kit.start("sync")
    kit.sandbox.s3_proxy.traffic.wait_until_idle(0.1)
    while not kit.sandbox.s3_proxy.traffic.count("_B02_"):
        time.sleep(0.05)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert time.monotonic() - begun < 20
    assert process.returncode == STOPPED
    assert "what was fetched so far is kept" in said
    kit.sandbox.s3_proxy.reset()
    assert kit.run("sync").returncode == 0
    kit.assert_invariants()


def test_a_second_signal_ends_it_at_once(kit: Kit) -> None:
    kit.sandbox.publish(tiny(band_bytes=BAND_BYTES))
    kit.sandbox.s3_proxy.inject(Fault(path="_B02_", silent=True))
    process = kit.start("sync")
    while not kit.sandbox.s3_proxy.traffic.count("_B02_"):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert time.monotonic() - begun < 5
    assert process.returncode == STOPPED


def test_a_terminal_shows_bars_and_gets_its_cursor_back(kit: Kit) -> None:
    kit.sandbox.publish([tiny(25, band_bytes=400_000), tiny(27, band_bytes=400_000)])
    kit.sandbox.s3_proxy.inject(Fault(path="_B02_", bytes_per_second=300_000, times=None))
    terminal = Terminal(kit.command("sync"), kit.environment())
    terminal.read_until("0 of 2 products")
    terminal.read_until("S2C L2A 32TMT 2026-05-27")
    terminal.read_until("B/s")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.read_to_end() == STOPPED
    assert terminal.shown.rindex("\x1b[?25h") > terminal.shown.rindex("\x1b[?25l")


def test_a_narrow_terminal_shows_bars_on_one_line_each(kit: Kit) -> None:
    kit.sandbox.publish(tiny(27, band_bytes=400_000))
    terminal = Terminal(kit.command("sync"), kit.environment(), columns=72)
    assert terminal.read_to_end() == 0
    lines = [line for line in terminal.shown.split("\n") if "S2C L2A 32TMT" in line]
    assert all("…" not in line for line in lines)
    assert "1 new, 1 archived" in terminal.shown


def test_no_colour_is_shown_to_who_asked_for_none(kit: Kit) -> None:
    terminal = Terminal(kit.command("run"), kit.environment(NO_COLOR="1"))
    terminal.read_until("search.listed")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.read_to_end() == 0
    assert "\x1b[3" not in terminal.shown, "a colour"
