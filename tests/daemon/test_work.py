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


def test_it_is_ready_once_its_schedule_stands_and_brings_what_comes_later(
    daemon: Running, kit: Kit
) -> None:
    first, later = tiny(25), tiny(27)
    kit.sandbox.publish(first)
    daemon.start()
    assert daemon.log("mirror.started")
    daemon.wait_until_held(first.id)
    kit.sandbox.publish(later)
    daemon.wait_until_held(first.id, later.id)
    daemon.wait_until_well()
    assert daemon.stop() < 20
    assert not daemon.log("job.failed") + daemon.log("job.crashed")
    kit.assert_current(first, later)


def test_a_stop_is_told_first_and_takes_seconds_in_mid_download(daemon: Running, kit: Kit) -> None:
    product = tiny(band_bytes=BAND_BYTES)
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(DRIP)
    daemon.start()
    wait_until(kit.bands_begun, "partial bytes")
    assert daemon.stop() < 20
    wait_until(lambda: "STOPPING=1" in daemon.said, "systemd hears of the stop")
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


def test_a_silent_store_does_not_keep_it_from_stopping(daemon: Running, kit: Kit) -> None:
    kit.sandbox.publish(tiny())
    kit.sandbox.s3_proxy.inject(Fault(path="_B02_", silent=True))
    daemon.start()
    wait_until(lambda: kit.sandbox.s3_proxy.traffic.count("_B02_"), "the silent request")
    assert daemon.stop() < 20
    kit.sandbox.s3_proxy.reset()
    assert kit.run("sync").returncode == 0
    kit.assert_current(tiny())


def test_a_silent_catalog_does_not_keep_it_from_stopping(daemon: Running, kit: Kit) -> None:
    kit.sandbox.stac_proxy.inject(Fault(silent=True, times=None))
    daemon.start()
    wait_until(daemon.polls, "the silent request")
    assert daemon.stop() < 20


def test_a_killed_one_leaves_the_lock_free_at_once(daemon: Running, kit: Kit) -> None:
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


def test_a_second_one_is_refused_and_told_the_process(daemon: Running, kit: Kit) -> None:
    daemon.start()
    second = kit.run("run")
    assert second.returncode == 4
    assert f"another s2mirror (process {daemon.process.pid})" in second.stderr
    assert kit.run("sync").returncode == 4
    daemon.stop()
    assert kit.run("sync").returncode == 0


def test_marking_while_it_runs_is_seen_by_it(daemon: Running, kit: Kit) -> None:
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


def test_a_hook_is_called_soon_after_a_product_has_come(daemon: Running, kit: Kit) -> None:
    kit.sections["process"] = f'command = ["/bin/cp", "-r", "{{path}}", "{kit.folder}/done"]'
    product = tiny()
    kit.sandbox.publish(product)
    daemon.start()
    wait_until(lambda: kit.states() == {product.id: "processed"}, "processed")
    assert (kit.folder / "done" / "manifest.safe").is_file()
    daemon.stop()


def test_a_hook_that_runs_when_the_stop_comes_is_ended_too(daemon: Running, kit: Kit) -> None:
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
def test_an_early_stop_ends_it_cleanly(daemon: Running, delay_seconds: float) -> None:
    daemon.start(wait=False)
    wait_until(lambda: hears_sigterm(daemon.process.pid), "a handler for SIGTERM")
    time.sleep(delay_seconds)
    assert daemon.stop() < 20
    assert "Traceback" not in daemon.log_text()


def test_a_hook_does_not_outlive_a_daemon_that_cannot_wait_for_it(kit: Kit) -> None:
    hook = stubborn_hook(kit)
    kit.sandbox.publish(tiny())
    with at_work(kit.mirror(), Intervals(leave_seconds=0.5, idle_seconds=0.1)):
        wait_until(hook, "the hook")
    assert is_gone(hook())


def stubborn_hook(kit: Kit) -> Callable[[], int]:
    """Configure a hook that heeds no SIGTERM; the result returns its process, once it runs."""
    file = kit.folder / "hook.pid"
    script = f"trap '' TERM; echo $$ > {file}; while true; do sleep 0.1; done"
    kit.sections["process"] = f'command = ["/bin/sh", "-c", "{script}"]'
    return lambda: int(file.read_text() or 0) if file.exists() else 0


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, though its new parent may not have asked how yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def hears_sigterm(pid: int) -> bool:
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


def test_it_hears_sigterm_before_it_has_read_its_libraries(kit: Kit) -> None:
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


def test_its_log_is_one_json_object_per_line_without_secrets(daemon: Running, kit: Kit) -> None:
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
