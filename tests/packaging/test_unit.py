"""The systemd unit: systemd finds no fault in it, and it grants few rights."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
from checkout import ROOT, UNIT, directives, uncommented

WORST_EXPOSURE: Final = 2.0
EXECUTABLE: Final = "/opt/s2mirror/bin/s2mirror"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="needs systemd-analyze (Debian: apt-get install systemd)",
)


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def installed(folder: Path, unit: str) -> Path:
    """Write *unit* as on a machine where its program is installed."""
    stub = folder / "s2mirror"
    stub.write_text("#!/bin/sh\n")
    stub.chmod(0o755)
    path = folder / "s2mirror.service"
    path.write_text(unit.replace(EXECUTABLE, str(stub)))
    return path


@needs_systemd
def test_systemd_verifies_the_unit(tmp_path: Path) -> None:
    transition = analyze("verify", installed(tmp_path, UNIT.read_text()))
    assert (transition.returncode, transition.stderr, transition.stdout) == (0, "", "")


@needs_systemd
def test_misspelt_directive_is_detected(tmp_path: Path) -> None:
    misspelt = UNIT.read_text().replace("NoNewPrivileges=", "NoNewPrivilege=")
    transition = analyze("verify", installed(tmp_path, misspelt))
    assert "NoNewPrivilege" in transition.stderr


@needs_systemd
def test_unit_has_a_low_exposure_level(tmp_path: Path) -> None:
    unit = installed(tmp_path, UNIT.read_text())
    transition = analyze("security", "--offline=yes", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", transition.stdout)
    assert found, transition.stderr
    assert float(found[1]) <= WORST_EXPOSURE


def test_every_line_of_the_unit_has_a_comment() -> None:
    assert uncommented(UNIT.read_text()) == []


def test_line_without_a_comment_is_detected() -> None:
    assert uncommented("[Service]\n# Why.\nUser=a\nGroup=b\n\n# Why.\n\nNice=1\n") == [
        "Group=b",
        "Nice=1",
    ]


def test_all_secrets_are_optional_credentials() -> None:
    credentials = [value for key, value in directives(UNIT.read_text()) if key == "LoadCredential"]
    names = [name for name, _, _ in (value.partition(":") for value in credentials)]
    sources = [source for _, _, source in (value.partition(":") for value in credentials)]
    pairs = ["s3-access-key", "s3-secret-key", "s3-access-key-2", "s3-secret-key-2"]
    assert names == [*pairs, "client-id", "client-secret", "web-token"]
    # A path with a slash would make systemd refuse to start without the file.
    assert sources == [f"s2mirror.{name}" for name in names]


def test_unit_runs_as_the_user_of_sysusers() -> None:
    unit = dict(directives(UNIT.read_text()))
    sysusers = (ROOT / "systemd" / "s2mirror.sysusers").read_text()
    made = [line.split()[1] for line in sysusers.splitlines() if line.startswith("u ")]
    assert made == [unit["User"]] == [unit["Group"]]


def test_configuration_and_credential_errors_are_not_restarted() -> None:
    unit = dict(directives(UNIT.read_text()))
    assert unit["Restart"] == "on-failure"
    assert unit["RestartPreventExitStatus"].split() == ["2", "6"]


def test_reload_checks_the_configuration_before_the_signal() -> None:
    reloads = [value for key, value in directives(UNIT.read_text()) if key == "ExecReload"]
    start = dict(directives(UNIT.read_text()))["ExecStart"]
    assert reloads[0] == start.replace(" run ", " check --config-only ")
    assert reloads[1:] == ['/bin/sh -c "kill -HUP $MAINPID"']


def test_memory_limit_spares_the_daemon() -> None:
    unit = dict(directives(UNIT.read_text()))
    assert (unit["MemoryMax"], unit["OOMPolicy"]) == ("80%", "continue")
    assert "MemoryHigh" not in unit, "it slows the daemon down too"
