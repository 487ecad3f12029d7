"""Removed products, products that are never removed, and their return."""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from kit import Kit, tiny

from s2mirror.errors import ArchiveError
from s2mirror.model import PINNED
from s2mirror.planning.checked_time import CheckedTime
from s2mirror.planning.retention import PrunePlan
from s2mirror.planning.retention_rules import Rule
from s2mirror.sandbox import SandboxProduct
from s2mirror.service.processing import process
from s2mirror.service.pruning import prune, pruner
from s2mirror.steps.plan_prune import PrunePlanner
from s2mirror.stop import StopFlag


def hold_processed(kit: Kit, *products: SandboxProduct) -> None:
    """Publish products, sync, and have all of them marked by the consumer's files."""
    kit.sandbox.publish(products)
    kit.cycle()
    for product in products:
        marker_of(kit, product).touch()
    process(kit.mirror(), StopFlag())


def marker_of(kit: Kit, product: SandboxProduct) -> Path:
    return (kit.archive / product.prefix).with_suffix(".SAFE.processed")


def trash(kit: Kit) -> list[str]:
    folder = kit.archive / ".s2mirror/trash"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def kept(kit: Kit, days: float = 0) -> Mapping[str, str]:
    """Return why each product is kept, by its id, so many days from now."""
    mirror = kit.mirror()
    time = CheckedTime(now=mirror.now() + timedelta(days=days))
    return pruner(mirror).plan(time, list_kept=True).kept


def pruned(kit: Kit) -> list[str]:
    return sorted(name for name, state in kit.states().items() if state == "pruned")


@pytest.mark.long
def test_processed_product_is_pruned_after_its_time(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "7 d"'
    product = tiny()
    hold_processed(kit, product)
    early = kit.cycle(kit.later(days=6))
    assert early.gone == ()
    assert early.pruned is not None
    assert "area zurich keeps it until" in kept(kit, days=6)[product.id]
    assert len(kit.cycle(kit.later(days=8)).gone) == 1
    assert kit.states() == {product.id: "pruned"}
    assert list(kit.archive.rglob("Sentinel-2")) == [], "no empty folders stay"
    kit.assert_invariants()


@pytest.mark.long
def test_oldest_beyond_keep_newest_are_pruned(kit: Kit) -> None:
    kit.sections["prune"] = "keep_newest = 2"
    products = [tiny(day) for day in (20, 21, 22, 23)]
    hold_processed(kit, *products)
    kit.cycle()
    assert pruned(kit) == [product.id for product in products[:2]]
    kit.assert_invariants()


@pytest.mark.long
def test_unprocessed_product_is_kept_at_any_age(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"\nkeep_newest = 1'
    products = [tiny(20), tiny(21)]
    kit.sandbox.publish(products)
    kit.cycle()
    assert kit.cycle(kit.later(days=400)).gone == ()
    kit.assert_current(*products)


@pytest.mark.long
def test_age_alone_decides_where_processing_is_optional(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "7 d"\nrequire_processed = false'
    product = tiny()
    kit.sandbox.publish(product)
    kit.cycle()
    assert [gone.entry.product.id for gone in kit.cycle(kit.later(days=8)).gone] == [product.id]
    kit.assert_invariants()


@pytest.mark.long
def test_brake_stops_mass_removal_until_confirmed(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"\nmax_products = 2'
    products = [tiny(day) for day in (20, 21, 22)]
    hold_processed(kit, *products)
    assert kit.cycle().gone == ()
    assert kit.cycle().gone == ()
    done = kit.run("prune")
    assert done.returncode == 1
    assert (
        "the brake stopped the prune: 3 products are due, more than prune.max_products = 2"
        in done.stdout
    )
    assert pruned(kit) == []
    confirmed = kit.run("prune", "--yes")
    assert (confirmed.returncode, len(pruned(kit))) == (0, 3)
    assert kit.events("brake") == ["brake.held", "brake.released"]
    kit.assert_invariants()


@pytest.mark.long
def test_brake_counts_over_a_rolling_day(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"\nmax_products = 2\nmax_percent = 100'
    products = [tiny(day) for day in (20, 21, 22, 23)]
    hold_processed(kit, *products[:2])
    kit.cycle()
    assert len(pruned(kit)) == 2
    hold_processed(kit, *products[2:])
    result = kit.cycle()
    assert result.pruned is not None
    assert result.pruned.brake == (
        "2 products are due and 2 were removed within 24 hours, more than prune.max_products = 2"
    )
    assert len(pruned(kit)) == 2
    prune(kit.mirror(), confirmed=True)
    assert len(pruned(kit)) == 4
    kit.sandbox.publish(tiny(24))
    kit.cycle()
    marker_of(kit, tiny(24)).touch()
    kit.cycle()
    assert len(pruned(kit)) == 5, "what a person confirmed no longer counts"


@pytest.mark.long
def test_brake_counts_percent(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"\nmax_percent = 50'
    hold_processed(kit, *(tiny(day) for day in range(1, 13)))
    result = kit.cycle()
    assert result.pruned is not None
    assert result.pruned.brake == "12 of 12 products are due, more than prune.max_percent = 50 %"
    assert pruned(kit) == []
    kit.assert_invariants()


@pytest.mark.long
def test_dry_run_reports_and_removes_nothing(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"'
    product = tiny()
    hold_processed(kit, product)
    done = kit.run("prune", "--dry-run")
    assert done.returncode == 0
    assert "would prune 1 product, about" in done.stdout
    assert product.id in done.stdout
    assert kit.states() == {product.id: "processed"}
    kit.sections = {}
    kit.assert_invariants()


def test_dry_run_sees_unread_processed_markers(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"'
    product = tiny()
    kit.sandbox.publish(product)
    kit.cycle()
    marker_of(kit, product).touch()
    step, time = pruner(kit.mirror()), CheckedTime(now=kit.mirror().now())
    (planned,) = step.plan(time).removals
    assert (planned.entry.product.id, planned.rule) == (product.id, Rule.AFTER)
    assert kit.states() == {product.id: "archived"}, "a plan writes nothing"
    assert [gone.rule for gone in step.prune(time).removals] == [Rule.AFTER]
    assert [step.event for step in kit.mirror().ledger.products.history(product.id)][-2:] == [
        "mark",
        "prune",
    ]
    assert kit.states() == {product.id: "pruned"}


@pytest.mark.long
def test_trash_keeps_pruned_products_for_its_delay(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"\ntrash_keep = "7 d"'
    product = tiny()
    hold_processed(kit, product)
    kit.cycle()
    (name,) = trash(kit)
    assert name.endswith(f"_{product.id}.SAFE")
    kept = kit.archive / ".s2mirror/trash" / name / "manifest.safe"
    assert kept.read_bytes() == product.files["manifest.safe"]
    kit.cycle(kit.later(days=6))
    assert trash(kit) == [name]
    kit.cycle(kit.later(days=8))
    assert trash(kit) == []
    kit.assert_invariants()


@pytest.mark.long
def test_nothing_is_pruned_without_the_archive_id(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"'
    product = tiny()
    hold_processed(kit, product)
    id_file = kit.archive / ".s2mirror/archive.json"
    content = id_file.read_bytes()
    id_file.unlink()
    with pytest.raises(ArchiveError, match="has no archive_id file"):
        kit.cycle()
    assert kit.archive.joinpath(product.prefix).is_dir()
    id_file.write_bytes(content)
    kit.cycle()
    assert pruned(kit) == [product.id]
    kit.assert_invariants()


@pytest.mark.long
def test_area_removed_from_configuration_prunes_nothing(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"'
    product = tiny()
    hold_processed(kit, product)
    kit.areas = kit.areas.replace("zurich", "elsewhere").replace("8.45, 47.2, 8.85", "1, 40, 2")
    kit.areas = kit.areas.replace("47.4]", "41]")
    result = kit.cycle()
    assert result.gone == ()
    assert "is no longer configured" in kept(kit)[product.id]
    assert kit.states() == {product.id: "processed"}
    kit.assert_same_bytes(product)
    kit.assert_invariants()


@pytest.mark.long
def test_product_is_pruned_when_both_areas_agree(kit: Kit) -> None:
    keeps = kit.areas.replace('"zurich"', '"archive"') + 'prune_after = "never"\n'
    kit.areas += 'prune_after = "0 s"\n' + keeps
    product = tiny()
    hold_processed(kit, product)
    kit.cycle()
    assert kept(kit) == {product.id: "area archive keeps everything"}
    assert kit.states() == {product.id: "processed"}
    kit.assert_invariants()


def test_pruned_product_returns_only_on_request(
    kit: Kit,
) -> None:
    kit.sections["prune"] = 'after = "0 s"\ntrash_keep = "0 s"'
    product = tiny()
    hold_processed(kit, product)
    kit.cycle()
    kit.sandbox.s3_proxy.reset()
    for days in (0, 1, 30, 400):
        assert kit.cycle(kit.later(days=days)).received_bytes == 0
    assert kit.downloads() == []
    assert kit.states() == {product.id: "pruned"}
    assert kit.call("requeue", product.id) == 0
    assert kit.cycle().archived == [product.id]
    kit.assert_same_bytes(product)
    kit.assert_current(product)


@pytest.mark.long
def test_only_the_processed_marker_is_removed(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"\ntrash_keep = "0 s"'
    product = tiny()
    hold_processed(kit, product)
    notes = marker_of(kit, product).with_name("notes.txt")
    notes.write_text("keep me")
    kit.cycle()
    assert not marker_of(kit, product).exists()
    assert notes.read_text() == "keep me"
    kit.assert_invariants()


@pytest.mark.long
def test_product_replaced_by_link_is_not_pruned(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"\ntrash_keep = "0 s"\nmax_percent = 100'
    linked, other = tiny(20), tiny(22)
    hold_processed(kit, linked, other)
    folder, elsewhere = kit.archive / linked.prefix, kit.folder / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    result = kit.cycle()
    assert pruned(kit) == [other.id]
    assert result.pruned is not None
    assert f"{folder} is a link" in result.pruned.refused[linked.id]
    assert kit.mirror().ledger.removals.pending() == {}
    assert (elsewhere / "manifest.safe").read_bytes() == linked.files["manifest.safe"]
    faults = kit.faults()
    assert len(faults) == 2
    assert faults[0].startswith(f"ledger: {linked.id}: {folder} is a link")
    assert f"the ledger says processed, but {folder} is a link" in faults[1]
    folder.unlink()
    elsewhere.rename(folder)
    kit.cycle()
    assert pruned(kit) == [linked.id, other.id]
    kit.assert_invariants()


def items(kit: Kit) -> list[str]:
    """Return the products that have an item in the local catalog."""
    return sorted(path.stem for path in kit.archive.joinpath("catalog").rglob("S2*.json"))


def test_prune_command_updates_the_local_catalog(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"'
    gone, stays = tiny(20), tiny(22)
    kit.sandbox.publish([gone, stays])
    kit.cycle()
    assert kit.call("mark", "processed", gone.id) == 0
    assert kit.call("prune") == 0
    assert kit.states() == {gone.id: "pruned", stays.id: "archived"}
    assert items(kit) == [stays.id]
    kit.assert_invariants()


def test_audit_names_catalog_item_without_product(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"'
    gone = tiny(20)
    hold_processed(kit, gone)
    mirror = kit.mirror()
    item = next(kit.archive.joinpath("catalog").rglob(f"{gone.id}.json")).read_bytes()
    pruner(mirror).prune(
        CheckedTime(now=mirror.now())
    )  # the change is noted, the catalog not yet updated
    assert f"catalog: {gone.id}" in kit.faults()[0]
    kit.cycle()
    assert items(kit) == []
    stray = kit.archive / "catalog/sentinel-2-l2a/2026-05/32TMT/S2X.json"
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(item)
    (fault,) = kit.faults()
    assert fault.startswith("catalog: S2X: it has an item in the catalog, but is not held")


class LatePlan(PrunePlanner):
    """A plan after which a person pins everything in it, before it is carried out."""

    def plan(self, *given: Any, **options: Any) -> PrunePlan:  # noqa: ANN401 - as the planner's
        """Make the plan, and pin its products."""
        found = super().plan(*given, **options)
        for removal in found.removals:
            self.ledger.products.join(PINNED, removal.entry.product.id)
        return found


def test_product_pinned_after_the_plan_is_kept(kit: Kit) -> None:
    product = tiny(20)
    kit.sections["prune"] = 'after = "0 s"\nmax_percent = 100'
    hold_processed(kit, product)
    mirror = kit.mirror()
    step = pruner(mirror)
    late = LatePlan(
        **{each.name: getattr(step.planner, each.name) for each in fields(PrunePlanner)}
    )
    done = replace(step, planner=late).prune(CheckedTime(now=mirror.now()))
    assert "pinned meanwhile" in done.refused[product.id]
    assert kit.states() == {product.id: "processed"}
    kit.assert_same_bytes(product)
