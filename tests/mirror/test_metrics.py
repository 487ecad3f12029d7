"""Metrics: values from the ledger, printed, written for node_exporter, and never misleading."""

import os
import re
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from kit import Kit, tiny
from prometheus_client.parser import text_string_to_metric_families

from s2mirror.adapters.ledger.totals import JOBS_SUCCEEDED
from s2mirror.errors import ArchiveError
from s2mirror.service.metrics import render_metrics, write_textfile
from s2mirror.service.wiring import utc_now

Values = dict[tuple[str, tuple[str, ...]], float]


def parsed(text: str) -> Values:
    """Return each value by the metric's name and the values of its labels."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def rendered(kit: Kit, later: timedelta = timedelta()) -> Values:
    mirror = kit.mirror()
    content = render_metrics(mirror.settings, mirror.ledger, now=utc_now() + later)
    return parsed(content.decode())


def test_metrics_show_products_bytes_and_times(kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    kit.cycle()
    found = rendered(kit)
    assert found["s2mirror_products", ("archived",)] == 1
    assert found["s2mirror_area_products", ("zurich", "held")] == 1
    assert found["s2mirror_area_products", ("zurich", "waiting")] == 0
    received = found["s2mirror_received_bytes_total", ()]
    assert received >= sum(map(len, product.files.values()))
    assert found["s2mirror_quota_used_bytes", ()] == received
    sensed_at = kit.entry(product).product.sensed_at.timestamp()
    assert found["s2mirror_area_newest_sensed_timestamp_seconds", ("zurich",)] == sensed_at
    now = found["s2mirror_rendered_timestamp_seconds", ()]
    assert now - 60 < found["s2mirror_area_listed_timestamp_seconds", ("zurich",)] <= now
    assert found["s2mirror_archive_available", ()] == 1
    assert found["s2mirror_disk_free_bytes", ()] > 0
    assert found["s2mirror_metrics_complete", ()] == 1


@pytest.mark.long
def test_metrics_count_bytes_across_restarts(kit: Kit) -> None:
    name = "s2mirror_received_bytes_total", ()
    assert rendered(kit)[name] == 0
    first, second = tiny(day=26), tiny(day=27)
    for product in (first, second):
        before = rendered(kit)[name]
        kit.sandbox.publish(product)
        kit.cycle()
        assert rendered(kit)[name] > before
    assert rendered(kit, later=timedelta(days=90))[name] == rendered(kit)[name]


@pytest.mark.long
def test_lost_archive_is_finding_without_disk_space(kit: Kit) -> None:
    path = kit.folder / "s2mirror.prom"
    kit.sections["metrics"] = f'textfile = "{path}"'
    kit.cycle()
    kit.archive.rename(kit.folder / "elsewhere")
    kit.archive.mkdir()
    assert kit.run("sync").returncode == ArchiveError.exit_code
    found = parsed(path.read_text())
    assert found["s2mirror_finding", ("archive.unavailable", "failure", "")] == 1
    assert found["s2mirror_healthy", ()] == 0
    assert found["s2mirror_archive_available", ()] == 0
    assert ("s2mirror_disk_free_bytes", ()) not in found


@pytest.mark.long
def test_textfile_is_replaced_whole_and_readable_for_all(kit: Kit) -> None:
    path = kit.folder / "s2mirror.prom"
    kit.sections["metrics"] = f'textfile = "{path}"'
    previous = os.umask(0o077)
    try:
        kit.run("sync")
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert parsed(path.read_text())["s2mirror_metrics_complete", ()] == 1
    assert [found.name for found in kit.folder.glob("*.prom*")] == [path.name]
    assert not list(kit.folder.glob("*.tmp"))


def test_unwritable_textfile_says_what_to_do(kit: Kit, tmp_path: Path) -> None:
    path = tmp_path / "absent" / "s2mirror.prom"
    kit.sections["metrics"] = f'textfile = "{path}"'
    mirror = kit.mirror()
    with pytest.raises(
        ArchiveError, match=r"cannot write the metrics to .*: No such file .*create"
    ):
        write_textfile(mirror.settings, mirror.ledger, now=utc_now())


ROOT = Path(__file__).parents[2]
NAME = re.compile(r"\bs2mirror_[a-z_]+")


@pytest.mark.parametrize(
    "path", ["config/grafana-dashboard.json", "config/alert-rules.yml", "docs/monitoring.md"]
)
def test_every_named_metric_exists(kit: Kit, path: str) -> None:
    kit.sections["store"] = "key_expires = 2027-01-31"
    kit.sections["process"] = 'command = ["/bin/true"]'
    kit.sandbox.publish(tiny())
    kit.cycle()
    mirror = kit.mirror()
    mirror.ledger.state.set(JOBS_SUCCEEDED, {"poll": utc_now()})
    lines = render_metrics(mirror.settings, mirror.ledger, now=utc_now()).decode().splitlines()
    exist = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    exist |= {f"{name}_bucket" for name in exist if name.endswith("_lag_seconds")}
    named = set(NAME.findall((ROOT / path).read_text(encoding="utf-8")))
    assert named - exist == set()
    if path.startswith("docs"):
        assert {name for name in exist if not name.endswith("_bucket")} - named == set()


@pytest.mark.long
def test_lags_hooks_and_transitions_are_counted(kit: Kit) -> None:
    kit.sections["process"] = 'command = ["/bin/true"]'
    kit.cycle()
    kit.sandbox.publish(tiny(sensed_at=utc_now() - timedelta(hours=3)))
    kit.cycle()
    found = rendered(kit)
    assert found["s2mirror_transitions_total", ("publish",)] == 1
    assert found["s2mirror_transitions_total", ("give-up",)] == 0
    assert found["s2mirror_process_runs_total", ("chain", "done")] == 1
    assert found["s2mirror_process_runs_total", ("chain", "failed")] == 0
    assert found["s2mirror_process_run_seconds_total", ("chain",)] > 0
    assert found["s2mirror_process_products", ("chain", "waiting")] == 0
    assert found["s2mirror_seen_to_archived_lag_seconds_count", ("zurich",)] == 1
    bounds = [
        labels[1]
        for name, labels in found
        if name == "s2mirror_seen_to_archived_lag_seconds_bucket"
    ]
    assert bounds[-1] == "+Inf"
