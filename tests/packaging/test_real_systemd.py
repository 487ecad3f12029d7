"""The unit on a booted systemd: start, reload, hang, stop, with a daemon that stands in."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT, UNIT
from installing import CannotInstall
from machine import Machine

pytestmark = [pytest.mark.servers, pytest.mark.long]

HERE = Path(__file__).parent
# Minutes in the unit, seconds here; nothing else differs.
IMPATIENT = "[Service]\nWatchdogSec=3\nRestartSec=1\n"


@pytest.fixture(scope="module", name="seen")
def _seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    try:
        machine = Machine(tmp_path_factory.mktemp("machine"))
    except CannotInstall as reason:
        give_up = pytest.fail if os.environ.get("S2MIRROR_REQUIRE_SERVERS") == "1" else pytest.skip
        give_up(f"no machine to boot: {reason}")
    sysusers = (ROOT / "systemd" / "s2mirror.sysusers").read_text()
    machine.put("/etc/sysusers.d/s2mirror.conf", sysusers)
    machine.do("systemd-sysusers")
    daemon = "#!/usr/bin/python3\n" + (HERE / "standin.py").read_text()
    machine.put("/opt/s2mirror/bin/s2mirror", daemon, mode=0o755)
    machine.put("/etc/s2mirror/s2mirror.toml", "")
    machine.put("/etc/systemd/system/s2mirror.service", UNIT.read_text())
    machine.put("/etc/systemd/system/s2mirror.service.d/impatient.conf", IMPATIENT)
    (machine.root / "etc/credstore").mkdir(mode=0o700, exist_ok=True)
    yield machine.run((HERE / "scenario.py").read_text())
    shutil.rmtree(machine.root)  # a third of a gigabyte, and pytest would keep three


def test_missing_secrets_are_the_programs_to_report_and_it_stays_down(
    seen: dict[str, Any],
) -> None:
    down = seen["without_secrets"]
    assert (down["ActiveState"], down["Result"], down["ExecMainStatus"], down["NRestarts"]) == (
        "failed",
        "exit-code",
        "6",
        "0",
    )


def test_start_returns_when_the_daemon_is_ready(seen: dict[str, Any]) -> None:
    assert (seen["started"]["rc"], seen["started"]["SubState"]) == ("0", "running")


def test_it_gets_the_secrets_that_there_are(seen: dict[str, Any]) -> None:
    assert seen["facts"]["secrets"] == {
        "s3-access-key": "s3-access-key of the test\n",
        "s3-secret-key": "s3-secret-key of the test\n",
    }


def test_it_writes_its_state_folder_and_its_own_tmp_and_nothing_else(seen: dict[str, Any]) -> None:
    assert seen["facts"]["writable"] == ["/var/lib/s2mirror", "/tmp"]  # noqa: S108
    assert seen["state_folder"] == "0o750 s2mirror"
    assert seen["facts"]["user_is_root"] is False
    assert seen["facts"]["umask"] == 0o027
    assert seen["facts"]["folder"] == "/var/lib/s2mirror"


def test_it_can_still_see_which_file_systems_it_stands_on(seen: dict[str, Any]) -> None:
    assert seen["facts"]["own_mounts_readable"] is True


def test_reload_reaches_it(seen: dict[str, Any]) -> None:
    assert seen["reloaded"] is True


def test_a_hang_ends_in_a_traceback_and_a_restart(seen: dict[str, Any]) -> None:
    back = seen["after_hang"]
    assert (back["ActiveState"], back["NRestarts"]) == ("active", "1")
    assert "Watchdog timeout" in back["journal"]
    assert "Fatal Python error: Aborted" in back["journal"]


def test_stop_is_quick_and_no_failure(seen: dict[str, Any]) -> None:
    assert float(seen["stopped"]["seconds"]) < 5
    assert (seen["stopped"]["ActiveState"], seen["stopped"]["Result"]) == ("inactive", "success")
