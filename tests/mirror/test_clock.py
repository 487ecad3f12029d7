"""A wrong clock removes nothing: no product, no trash, no staged files, no history."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from kit import ZURICH, Kit, tiny, utc_now

from s2mirror.clock import ServiceDates
from s2mirror.lifecycle import Event
from s2mirror.model import Transition
from s2mirror.sandbox import Answer, Fault, SandboxProduct
from s2mirror.service.processing import process
from s2mirror.service.pruning import prune
from s2mirror.service.wiring import Mirror
from s2mirror.stop import StopFlag

DAY = timedelta(days=1)
WEEK = 'after = "7 d"\ntrash_keep = "7 d"\nstaging_keep = "7 d"\nmax_percent = 100'
LATER = "Fri, 01 Jun 2199 09:00:00 GMT"


class Offline(ServiceDates):
    """No service answers."""

    def note(self, service: str, at: object) -> None: ...


def offline(mirror: Mirror) -> Mirror:
    return replace(mirror, service_dates=Offline())


def mark(kit: Kit, *products: SandboxProduct) -> None:
    """Have products marked by the consumer's files."""
    for product in products:
        (kit.archive / product.prefix).with_suffix(".SAFE.processed").touch()
    process(kit.mirror(), StopFlag())


def fill(kit: Kit) -> None:
    """Give the mirror something of each kind that is removed for its age."""
    kit.areas = ZURICH.replace('"sentinel-2-l1c", ', "")
    kit.sections |= {
        "prune": WEEK,
        "supersede": 'policy = "replace-after-grace"\ngrace = "7 d"',
        "ledger": 'history_keep = "7 d"',
        "download": "max_attempts = 1",
    }
    done, trashed, failed = tiny(20), tiny(21), tiny(22)
    versions = [
        tiny(23, baseline=baseline, processed_at=utc_now() - 60 * DAY + float(baseline) * DAY)
        for baseline in ("05.09", "05.11")
    ]
    refused = Fault(path=f"{failed.id}.*B02", answer=Answer(status=403), times=None)
    kit.sandbox.s3_proxy.inject(refused)
    kit.sandbox.publish([done, trashed, failed, versions[0]])
    kit.cycle()
    kit.sandbox.publish(versions[1])
    kit.cycle()
    mark(kit, done)
    mirror = kit.mirror()
    entry, now = mirror.ledger.products.get(trashed.id), mirror.now()
    mirror.archive.discard(trashed.id, entry.path or "", now=now)
    mirror.ledger.record_removal(entry, Transition(event=Event.PRUNE, reason="old"), now=now)
    kit.cycle()
    assert sorted(kit.states().values()) == ["archived"] * 2 + ["failed", "processed", "pruned"]


def removable(kit: Kit) -> dict[str, Any]:
    """Return all that is removed for its age: files, history and states."""
    rows = kit.mirror().ledger.connection.query("SELECT product_id, at FROM history", {})
    return {
        "files": sorted(path for path in kit.archive.rglob("*") if path.is_file()),
        "history": [tuple(row.values()) for row in rows],
        "states": kit.states(),
    }


def test_wrong_clock_removes_nothing_of_any_kind(kit: Kit) -> None:
    fill(kit)
    before = removable(kit)
    for days in (400, -3650, 1):
        result = kit.cycle(kit.with_clock_ahead(days * DAY))
        assert removable(kit) == before, days
        assert result.pruned is not None
        assert f"clock is {24 * 60 if days == 1 else abs(days)}" in result.pruned.clock_doubt
        assert (result.gone, result.exit_code) == ((), 1)


@pytest.mark.long
def test_mirror_off_for_400_days_removes_old(kit: Kit) -> None:
    fill(kit)
    before = removable(kit)
    result = kit.cycle(kit.later(days=400))
    assert result.pruned is not None
    assert result.pruned.clock_doubt == ""
    assert sorted(kit.states().values()) == ["archived", "failed", "pruned", "pruned", "superseded"]
    after = removable(kit)
    trash = [path for path in before["files"] if "/trash/" in str(path)]
    staged = [path for path in before["files"] if "/staging/" in str(path)]
    assert trash
    assert staged
    assert not set(after["files"]) & {*trash, *staged}
    assert len(set(before["history"]) - set(after["history"])) > 1


@pytest.mark.long
def test_clock_nobody_confirms_removes_nothing(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"\nmax_percent = 100'
    product = tiny()
    kit.sandbox.publish(product)
    kit.cycle()
    assert prune(offline(kit.with_clock_ahead(400 * DAY))).clock_doubt == "", "nothing is due"
    mark(kit, product)
    found = prune(offline(kit.with_clock_ahead(400 * DAY)), confirmed=True)
    assert found.clock_doubt.startswith("no service has confirmed this machine's clock since 20")
    assert kit.states() == {product.id: "processed"}
    assert prune(offline(kit.mirror())).clock_doubt == "", "it was confirmed within the hour"
    assert kit.states() == {product.id: "pruned"}


@pytest.mark.long
def test_age_restarts_after_the_clock_was_behind(kit: Kit) -> None:
    kit.sections["prune"] = WEEK
    product = tiny()
    kit.sandbox.publish(product)
    kit.cycle()
    behind = kit.with_clock_ahead(-400 * DAY)
    kit.cycle(behind)
    (kit.archive / product.prefix).with_suffix(".SAFE.processed").touch()
    process(behind, StopFlag())
    assert kit.entry(product).changed_at < utc_now() - 399 * DAY
    assert kit.cycle().gone == ()
    assert kit.cycle(kit.later(days=6)).gone == ()
    assert [removal.entry.product.id for removal in kit.cycle(kit.later(days=8)).gone] == [
        product.id
    ]


@pytest.mark.long
def test_product_marked_under_fast_clock_is_pruned(kit: Kit) -> None:
    kit.sections["prune"] = WEEK
    product = tiny()
    kit.sandbox.publish(product)
    kit.cycle()
    (kit.archive / product.prefix).with_suffix(".SAFE.processed").touch()
    kit.cycle(kit.with_clock_ahead(3650 * DAY))
    assert kit.entry(product).changed_at > utc_now() + 3649 * DAY
    kit.cycle()
    assert kit.cycle(kit.later(days=6)).gone == ()
    assert len(kit.cycle(kit.later(days=8)).gone) == 1


@pytest.mark.parametrize(
    "proxy",
    [
        "s3_proxy",
        pytest.param("stac_proxy", marks=pytest.mark.long),
        pytest.param("odata_proxy", marks=pytest.mark.long),
    ],
)
def test_wrong_date_of_one_service_removes_nothing(kit: Kit, proxy: str) -> None:
    kit.sections["prune"] = 'after = "0 s"\nmax_percent = 100\nrequire_processed = false'
    service = getattr(kit.sandbox, proxy)
    service.inject(Fault(headers={"Date": LATER}, times=None))
    product = tiny()
    kit.sandbox.publish(product)
    result = kit.cycle()
    assert result.pruned is not None
    assert "days behind the " in result.pruned.clock_doubt
    assert (result.exit_code, kit.states()) == (1, {product.id: "archived"})
    service.faults.clear()
    kit.cycle()
    assert kit.states() == {product.id: "pruned"}


@pytest.mark.long
def test_commands_report_a_clock_in_doubt(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    kit.sections["prune"] = 'after = "0 s"\nmax_percent = 100'
    product = tiny()
    kit.sandbox.publish(product)
    kit.cycle()
    mark(kit, product)
    kit.sandbox.stac_proxy.inject(Fault(headers={"Date": LATER}, times=None))

    def called(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        return kit.call(*arguments, "--json"), json.loads(capsys.readouterr().out)

    code, values = called("prune", "--yes")
    assert (code, values["prune"]) == (1, [product.id])
    doubt = values["clock_doubt"]
    assert doubt.startswith("this machine's clock is ")
    code, values = called("status")
    assert (code, values["current"], values["clock_doubt"]) == (1, False, doubt)
    code, values = called("health")
    assert (code, values["problems"][0]) == (1, doubt)
    assert kit.call("prune", "--yes") == 1
    assert "set the clock (NTP). Nothing is removed" in capsys.readouterr().err
    assert kit.call("status") == 1
    assert f": {doubt}\n" in capsys.readouterr().out
    kit.sandbox.stac_proxy.faults.clear()
    assert called("prune")[0] == 0
    assert called("status")[1]["clock_doubt"] == ""
    assert kit.states() == {product.id: "pruned"}
