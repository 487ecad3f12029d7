"""Metrics pass Prometheus's own tool."""

import subprocess

import pytest
from installing import CannotInstall, ensure_packages
from kit import Kit, tiny

pytestmark = pytest.mark.servers


@pytest.fixture(scope="session", name="promtool")
def _promtool() -> str:
    try:
        ensure_packages(["prometheus"])
    except CannotInstall as why:
        pytest.skip(str(why))
    return "promtool"


def test_promtool_accepts_metrics(kit: Kit, promtool: str) -> None:
    kit.sandbox.publish(tiny())
    kit.cycle()
    printed = kit.run("metrics")
    assert printed.returncode == 0, printed.stderr
    checked = subprocess.run(
        [promtool, "check", "metrics"],
        input=printed.stdout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
