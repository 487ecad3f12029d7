import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon_kit import Running, at_work
from kit import BAND_BYTES, DRIP, PATIENCE_SECONDS, Kit, tiny, wait_until

from s2mirror.sandbox import Answer, Fault
from s2mirror.service.workers import Intervals

pytestmark = pytest.mark.long


def test_daemon_reports_ready_and_downloads_later_products(daemon: Running, kit: Kit) -> None:
    first, later = tiny(25), tiny(27)
    kit.sandbox.publish(first)
    daemon.start()
    assert daemon.log("mirror.started")
    daemon.wait_until_held(first.id)
    kit.sandbox.publish(later)
    daemon.wait_until_held(first.id, later.id)
    daemon.wait_until_healthy()
    assert daemon.stop() < 20
    assert not daemon.log("job.failed") + daemon.log("job.crashed")
    kit.assert_current(first, later)


def test_stop_takes_seconds_and_keeps_partial_bytes(daemon: Running, kit: Kit) -> None:
    product = tiny(band_bytes=BAND_BYTES)
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(DRIP)
    daemon.start()
    wait_until(kit.bands_begun, "partial bytes")
    assert daemon.stop() < 20
    wait_until(lambda: "STOPPING=1" in daemon.sent, "systemd hears of the stop")
    assert daemon.log("mirror.stopped")
    kept = kit.bands_begun()
    assert kept

    kit.sandbox.s3_proxy.reset()
    complete = complete_files(kit)
    daemon.start()
    daemon.wait_until_held(product.id)
    daemon.stop()
    again = kit.sandbox.s3_proxy.traffic.matching(r"\.jp2|\.xml|\.jpg")
    assert not {exchange.path.rpartition("/")[2] for exchange in again} & complete
    bands = {e.path.rpartition("/")[2]: e for e in again if "_B0" in e.path}
    for name, size_bytes in kept.items():
        assert bands[name].range == f"bytes={size_bytes}-"
        assert bands[name].sent_bytes == BAND_BYTES - size_bytes
    kit.assert_current(product)


def complete_files(kit: Kit) -> set[str]:
    staging = kit.archive / ".s2mirror" / "staging"
    return {path.name for path in staging.glob("*.SAFE/**/*") if path.is_file()} - {"manifest.safe"}


def test_silent_store_does_not_delay_the_stop(daemon: Running, kit: Kit) -> None:
    kit.sandbox.publish(tiny())
    kit.sandbox.s3_proxy.inject(Fault(path="_B02_", silent=True))
    daemon.start()
    wait_until(lambda: kit.sandbox.s3_proxy.traffic.count("_B02_"), "the silent request")
    assert daemon.stop() < 20
    kit.sandbox.s3_proxy.reset()
    assert kit.run("sync").returncode == 0
    kit.assert_current(tiny())


def test_silent_catalog_does_not_delay_the_stop(daemon: Running, kit: Kit) -> None:
    kit.sandbox.stac_proxy.inject(Fault(silent=True, times=None))
    daemon.start()
    wait_until(daemon.polls, "the silent request")
    assert daemon.stop() < 20


def test_killed_daemon_releases_its_lock(daemon: Running, kit: Kit) -> None:
    product = tiny(band_bytes=BAND_BYTES)
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(DRIP)
    daemon.start()
    wait_until(kit.bands_begun, "partial bytes")
    daemon.process.kill()
    daemon.process.wait()
    kit.sandbox.s3_proxy.reset()
    daemon.start()
    daemon.wait_until_held(product.id)
    daemon.stop()
    kit.assert_current(product)


def test_second_daemon_is_refused_with_the_pid(daemon: Running, kit: Kit) -> None:
    daemon.start()
    second = kit.run("run")
    assert second.returncode == 4
    assert f"another s2mirror (process {daemon.process.pid})" in second.stderr
    daemon.stop()
    assert kit.run("sync").returncode == 0


def test_running_daemon_prunes_what_is_marked_processed(daemon: Running, kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"\ninterval = "1 s"'
    product = tiny()
    kit.sandbox.publish(product)
    daemon.start()
    daemon.wait_until_held(product.id)
    assert kit.run("mark", "processed", product.id).returncode == 0
    wait_until(lambda: kit.states() == {product.id: "pruned"}, "pruned")
    assert kit.run("requeue", product.id).returncode == 0
    daemon.wait_until_held(product.id)
    daemon.stop()
    kit.assert_current(product)


def test_hook_runs_soon_after_publication(daemon: Running, kit: Kit) -> None:
    kit.sections["process"] = f'command = ["/bin/cp", "-r", "{{path}}", "{kit.folder}/done"]'
    product = tiny()
    kit.sandbox.publish(product)
    daemon.start()
    wait_until(lambda: kit.states() == {product.id: "processed"}, "processed")
    assert (kit.folder / "done" / "manifest.safe").is_file()
    daemon.stop()


def test_stop_ends_a_running_hook(daemon: Running, kit: Kit) -> None:
    hook = stubborn_hook(kit)
    product = tiny()
    kit.sandbox.publish(product)
    daemon.start()
    wait_until(hook, "the hook")
    assert daemon.stop() < 20
    wait_until(lambda: is_gone(hook()), "the hook is gone")
    assert kit.states() == {product.id: "archived"}
    assert kit.json("show", product.id)["attempts"] == 0, "the stop was not the hook's fault"


@pytest.mark.parametrize("delay_seconds", [0.0, 0.2, 0.5, 0.8, 1.1])
def test_early_stop_ends_the_daemon_without_traceback(
    daemon: Running, delay_seconds: float
) -> None:
    daemon.start(wait=False)
    wait_until(lambda: handles_sigterm(daemon.process.pid), "a handler for SIGTERM")
    time.sleep(delay_seconds)
    assert daemon.stop() < 20
    assert "Traceback" not in daemon.log_text()


def test_hook_does_not_outlive_the_daemon(kit: Kit) -> None:
    hook = stubborn_hook(kit)
    kit.sandbox.publish(tiny())
    with at_work(kit.mirror(), Intervals(shutdown_seconds=0.5, idle_seconds=0.1)):
        wait_until(hook, "the hook")
    assert is_gone(hook())


def stubborn_hook(kit: Kit) -> Callable[[], int]:
    """Configure a hook that ignores SIGTERM; the result returns its PID once it runs."""
    file = kit.folder / "hook.pid"
    script = f"trap '' TERM; echo $$ > {file}; while true; do sleep 0.1; done"
    kit.sections["process"] = f'command = ["/bin/sh", "-c", "{script}"]'
    return lambda: int(file.read_text() or 0) if file.exists() else 0


def is_gone(pid: int) -> bool:
    """Return whether a process has ended, also if it was not waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def handles_sigterm(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line for line in lines if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


LOOK_AT_FIRST_LIBRARY = """
import os, runpy, signal, sys
known = {*sys.stdlib_module_names, "s2mirror"}
def look(event, words):
    if event == "import" and words[0].partition(".")[0] not in known:
        print(words[0], callable(signal.getsignal(signal.SIGTERM)), flush=True)
        os._exit(0)
sys.addaudithook(look)
runpy.run_module("s2mirror", run_name="__main__", alter_sys=True)
"""


def test_sigterm_handler_is_set_before_libraries_are_imported(kit: Kit) -> None:
    python, _, _, *words = kit.command("run")
    looked = subprocess.run(
        [python, "-c", LOOK_AT_FIRST_LIBRARY, *words],
        env=kit.environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    assert looked.stdout.split()[1:] == ["True"], looked


def test_log_lines_are_json_without_secrets(daemon: Running, kit: Kit) -> None:
    kit.sections["log"] = 'format = "json"\nlevel = "debug"'
    kit.sandbox.publish(tiny())
    kit.sandbox.s3_proxy.inject(Fault(path="_B02_", answer=Answer(status=503)))
    daemon.start()
    daemon.wait_until_held(tiny().id)
    daemon.stop()
    for line in daemon.log_text().splitlines():
        found = json.loads(line)
        assert {"event", "level", "timestamp"} <= set(found)
        assert " " not in found["event"]
    for secret in kit.secrets.values():
        assert secret not in daemon.log_text()
