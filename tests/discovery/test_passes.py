"""The satellite passes that the ledger keeps of what the catalog listed."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from discovery_kit import DAY, NOW, FakeCatalog, Watch, area, product, search_for, watch_of
from kit import Kit

from s2mirror.adapters.ledger.passes import KEPT
from s2mirror.planning.findings import Severity
from s2mirror.service.judgement import judge


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    """Return a search of two areas with 30 passes, five days apart, one of them in two parts."""
    catalog = FakeCatalog()
    catalog.add(*(product(NOW - DAY - 5 * n * DAY) for n in range(30)))
    catalog.add(product(NOW - DAY, number=1, tile="32TMS"), product(NOW + DAY))
    found = watch_of(tmp_path, catalog, search=search_for(area("west"), area("east")))
    found.poll()
    return found


def kept(watch: Watch) -> dict[str, list[float]]:
    """Return how many days ago the kept passes of each area were."""
    return {
        found.area: [(NOW - at) / DAY for at in found.sensed_at]
        for found in watch.ledger.passes.all()
    }


def test_newest_passes_of_each_area_are_kept(watch: Watch) -> None:
    newest = [1.0 + 5 * n for n in reversed(range(KEPT))]
    assert kept(watch) == {"west": newest, "east": newest}
    assert {found.latitude for found in watch.ledger.passes.all()} == {44}
    watch.now += 8 * DAY  # with a sweep
    watch.poll()
    assert kept(watch)["west"][-1] == -1


def test_changed_area_forgets_its_passes(watch: Watch) -> None:
    watch.ledger.coverage.forget("west")
    assert kept(watch).keys() == {"east"}


def test_status_warns_of_missing_pass(kit: Kit) -> None:
    mirror = replace(kit.mirror(), now=lambda: NOW)
    (search,) = [s for s in mirror.searches if s.collection == "sentinel-2-l2a"]
    catalog = FakeCatalog()
    catalog.add(*(product(NOW - 7 * DAY - 5 * n * DAY) for n in range(6)))
    watch = Watch(mirror.ledger, catalog, search)
    watch.poll()
    (found,) = [
        finding
        for finding in judge(mirror.settings, mirror.ledger, now=NOW).findings
        if finding.code == "area.silent"
    ]
    assert (found.severity, found.subject) == (Severity.WARNING, "zurich")
    assert found.since == NOW - 2 * DAY
    catalog.add(product(NOW - 2 * DAY, NOW - timedelta(hours=30)))
    watch.poll()
    codes = [finding.code for finding in judge(mirror.settings, mirror.ledger, now=NOW).findings]
    assert "area.silent" not in codes
