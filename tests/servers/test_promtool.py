"""Metrics, alert rules and dashboard agree, and pass Prometheus's own tool."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from installing import CannotInstall, ensure_packages
from kit import Kit, tiny

pytestmark = pytest.mark.servers

CONFIG = Path(__file__).parents[2] / "config"
RULES, DASHBOARD = CONFIG / "alert-rules.yml", CONFIG / "grafana-dashboard.json"


@pytest.fixture(scope="session", name="promtool")
def _promtool() -> str:
    try:
        ensure_packages(["prometheus"])
    except CannotInstall as why:
        pytest.skip(str(why))
    return "promtool"


def run(*command: str | Path, given: str = "") -> tuple[int, str]:
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=100, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_promtool_accepts_metrics(kit: Kit, promtool: str) -> None:
    kit.sections["store"] = "key_expires = 2027-01-31"
    kit.sandbox.publish(tiny())
    kit.cycle()
    printed = kit.run("metrics")
    assert printed.returncode == 0, printed.stderr
    assert run(promtool, "check", "metrics", given=printed.stdout) == (0, "")


def test_promtool_accepts_alert_rules(tmp_path: Path, promtool: str) -> None:
    for source in (RULES, Path(__file__).with_name("alert-rules-test.yml")):
        shutil.copy(source, tmp_path)
    code, said = run(promtool, "check", "rules", RULES)
    assert (code, "8 rules found" in said) == (0, True), said
    code, said = run(promtool, "test", "rules", tmp_path / "alert-rules-test.yml")
    assert code == 0, said


def test_promtool_accepts_every_query_of_the_dashboard(tmp_path: Path, promtool: str) -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries)
    ]
    path = tmp_path / "rules.json"  # JSON is YAML
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    code, said = run(promtool, "check", "rules", path)
    assert (code, f"{len(queries)} rules found" in said) == (0, True), said
