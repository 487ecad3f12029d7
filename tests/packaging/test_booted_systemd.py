"""The unit on a booted systemd, with the real daemon: start, stop, reload, hang, restart."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT, UNIT
from installing import CannotInstall
from machine import Machine
from wheels import make_wheels

pytestmark = [pytest.mark.servers, pytest.mark.long]

HERE = Path(__file__).parent
# Minutes in the unit are seconds here; the rest is the same.
IMPATIENT = "[Service]\nWatchdogSec=10\nRestartSec=1\n"
STOP_SECONDS = 20


@pytest.fixture(scope="module", name="seen")
def _seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("machine")
    try:
        wheels = make_wheels(folder / "wheels")
        machine = Machine(folder)
    except CannotInstall as reason:
        give_up = pytest.fail if os.environ.get("S2MIRROR_REQUIRE_SERVERS") == "1" else pytest.skip
        give_up(f"no machine to boot: {reason}")
    _install(machine, wheels)
    yield machine.run((HERE / "scenario.py").read_text())
    shutil.rmtree(folder)  # half a gigabyte, of which pytest would keep three copies


def _install(machine: Machine, wheels: Path) -> None:
    """Follow the instructions at the head of the unit."""
    wheels.rename(machine.root / "wheels")
    machine.do("python3", "-m", "venv", "/opt/s2mirror")
    pip = ("/opt/s2mirror/bin/pip", "install", "--quiet", "--no-index", "--find-links", "/wheels")
    machine.do(*pip, "s2mirror[sandbox]")
    sysusers = (ROOT / "systemd" / "s2mirror.sysusers").read_text()
    machine.put("/etc/sysusers.d/s2mirror.conf", sysusers)
    machine.do("systemd-sysusers")
    machine.put("/etc/hosts", "127.0.0.1 localhost\n")
    machine.put("/hook.py", (HERE / "hook.py").read_text())
    machine.put("/etc/s2mirror/s2mirror.toml", "")
    machine.put("/etc/systemd/system/s2mirror.service", UNIT.read_text())
    machine.put("/etc/systemd/system/s2mirror.service.d/impatient.conf", IMPATIENT)
    (machine.root / "etc/credstore").mkdir(mode=0o700, exist_ok=True)


def own_lines(seen: dict[str, Any]) -> list[str]:
    """Return the daemon's own lines in the journal, without those of the check before a reload."""
    said = [it["MESSAGE"] for it in seen["journal"] if it["SYSLOG_IDENTIFIER"] == "s2mirror"]
    return [line for line in said if not line.startswith(("s2mirror: ", "ok ", "ask "))]


def test_bad_configuration_is_logged_and_not_restarted(seen: dict[str, Any]) -> None:
    down = seen["misconfigured"]
    asked = ("ActiveState", "Result", "ExecMainStatus", "NRestarts")
    assert [down[name] for name in asked] == ["failed", "exit-code", "2", "0"]
    assert "archive: unknown key 'rot'; did you mean 'root'?" in down["said"]


def test_missing_secrets_are_logged(seen: dict[str, Any]) -> None:
    waits = seen["without_secrets"]
    assert (waits["SubState"], waits["NRestarts"], waits["stop"]) == ("running", "0", "success")
    assert "S2MIRROR_S3_ACCESS_KEY" in waits["said"]


def test_systemctl_start_returns_when_the_daemon_is_ready(seen: dict[str, Any]) -> None:
    for start in (seen["started"], seen["started_again"]):
        assert (start["rc"], start["SubState"]) == ("0", "running")


def test_stop_during_download_is_quick_and_keeps_bytes(
    seen: dict[str, Any],
) -> None:
    stopped = seen["stopped_downloading"]
    assert float(stopped["seconds"]) < STOP_SECONDS
    assert (stopped["ActiveState"], stopped["Result"]) == ("inactive", "success")
    assert int(stopped["staged_files"]) > 0
    assert int(stopped["held"]) < len(seen["held"])


def test_daemon_with_credentials_holds_every_product(seen: dict[str, Any]) -> None:
    assert len(seen["held"]) == 4
    assert seen["hooked"] is True
    assert seen["health"] is True, seen["health"]


def test_daemon_notifies_the_watchdog(seen: dict[str, Any]) -> None:
    assert (seen["fed"]["SubState"], seen["fed"]["NRestarts"]) == ("running", "0")
    assert seen["fed"]["MainPID"] == seen["started_again"]["MainPID"]


def test_reload_reads_the_configuration_in_the_same_process(seen: dict[str, Any]) -> None:
    good = seen["reloaded"]
    found = (good["rc"], good["SubState"], good["same_process"])
    assert found == ("0", "running", "True"), good["said"]
    assert "mirror.started" in good["said"]


def test_reload_of_a_bad_configuration_keeps_the_old(seen: dict[str, Any]) -> None:
    bad = seen["reloaded_badly"]
    assert (bad["rc"], bad["SubState"], bad["same_process"]) == ("1", "running", "True")
    assert "archive.root: " in bad["said"], "the check names the fault"
    assert "config.refused" not in bad["said"], "the daemon was not asked"
    assert "config.faulty" in bad["said"], "and noticed the fault itself"


def test_journal_has_json_lines_and_no_secret(seen: dict[str, Any]) -> None:
    events = [json.loads(line) for line in own_lines(seen)]
    assert {"mirror.started", "search.listed", "product.published"} <= {e["event"] for e in events}
    assert all({"event", "level"} <= set(event) for event in events)
    assert not any("timestamp" in event for event in events), "the journal has the time"
    assert seen["secrets_told"] == []


def test_daemon_writes_only_state_folder_and_private_tmp(seen: dict[str, Any]) -> None:
    assert seen["facts"]["writable"] == ["/var/lib/s2mirror", "/tmp"]  # noqa: S108
    assert seen["facts"]["user_is_root"] is False
    assert seen["facts"]["umask"] == 0o027
    assert seen["facts"]["sees_secrets"] == []


def test_group_can_read_ledger_and_archive(seen: dict[str, Any]) -> None:
    modes = [mode.split() for mode in seen["places"].values()]
    assert {owner for owner, _ in modes} == {"s2mirror:s2mirror"}
    assert [mode for _, mode in modes] == ["750", "640", "750", "640"]


def test_daemon_can_read_its_own_mounts(seen: dict[str, Any]) -> None:
    assert seen["facts"]["own_mounts_readable"] is True


def test_hang_ends_in_a_traceback_and_a_restart(seen: dict[str, Any]) -> None:
    back = seen["after_hang"]
    assert (back["ActiveState"], back["NRestarts"]) == ("active", "1")
    assert "Watchdog timeout" in back["said"]
    assert "Fatal Python error: Aborted" in back["said"]


def test_stop_is_quick_and_no_failure(seen: dict[str, Any]) -> None:
    assert float(seen["stopped"]["seconds"]) < STOP_SECONDS
    assert (seen["stopped"]["ActiveState"], seen["stopped"]["Result"]) == ("inactive", "success")
    assert seen["health_when_stopped"]["rc"] == "1"
