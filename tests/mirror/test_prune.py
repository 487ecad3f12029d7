"""What is removed, what never is, and how it comes back."""

from pathlib import Path

import pytest
from kit import Kit, tiny

from s2mirror.errors import ArchiveError
from s2mirror.sandbox import SandboxProduct
from s2mirror.stop import StopFlag


def hold_processed(kit: Kit, *products: SandboxProduct) -> None:
    """Publish products, sync, and have all of them marked by the consumer's files."""
    kit.sandbox.publish(products)
    kit.cycle()
    for product in products:
        marker_of(kit, product).touch()
    kit.mirror().processor().process(StopFlag())


def marker_of(kit: Kit, product: SandboxProduct) -> Path:
    return (kit.archive / product.prefix).with_suffix(".SAFE.processed")


def trash(kit: Kit) -> list[str]:
    folder = kit.archive / ".s2mirror/trash"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def pruned(kit: Kit) -> list[str]:
    return sorted(name for name, state in kit.states().items() if state == "pruned")


def test_a_processed_product_goes_when_its_time_is_over_and_not_before(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "7 d"'
    product = tiny()
    hold_processed(kit, product)
    early = kit.cycle(kit.later(days=6))
    assert early.gone == ()
    assert early.pruned is not None
    assert "area zurich keeps it until" in early.pruned.kept[product.id]
    assert len(kit.cycle(kit.later(days=8)).gone) == 1
    assert kit.states() == {product.id: "pruned"}
    assert list(kit.archive.rglob("Sentinel-2")) == [], "no empty folders stay"
    kit.assert_invariants()


def test_beyond_the_newest_few_the_oldest_go(kit: Kit) -> None:
    kit.sections["prune"] = "keep_newest = 2"
    products = [tiny(day) for day in (20, 21, 22, 23)]
    hold_processed(kit, *products)
    kit.cycle()
    assert pruned(kit) == [product.id for product in products[:2]]
    kit.assert_invariants()


def test_what_nobody_marked_as_processed_stays_whatever_its_age(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"\nkeep_newest = 1'
    products = [tiny(20), tiny(21)]
    kit.sandbox.publish(products)
    kit.cycle()
    assert kit.cycle(kit.later(days=400)).gone == ()
    kit.assert_current(*products)


def test_where_processing_is_not_required_age_alone_decides(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "7 d"\nrequire_processed = false'
    product = tiny()
    kit.sandbox.publish(product)
    kit.cycle()
    assert [gone.entry.product.id for gone in kit.cycle(kit.later(days=8)).gone] == [product.id]
    kit.assert_invariants()


def test_the_brake_stops_a_mass_removal_until_a_person_says_yes(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"\nmax_products = 2'
    products = [tiny(day) for day in (20, 21, 22)]
    hold_processed(kit, *products)
    assert kit.cycle().gone == ()
    told = kit.run("prune")
    assert told.returncode == 1
    assert (
        "the brake stopped the prune: 3 products are due, more than prune.max_products = 2"
        in told.stdout
    )
    assert pruned(kit) == []
    confirmed = kit.run("prune", "--yes")
    assert (confirmed.returncode, len(pruned(kit))) == (0, 3)
    kit.assert_invariants()


@pytest.mark.long
def test_the_brake_counts_percent_too(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"\nmax_percent = 50'
    hold_processed(kit, *(tiny(day) for day in range(1, 13)))
    result = kit.cycle()
    assert result.pruned is not None
    assert result.pruned.brake == "12 of 12 products are due, more than prune.max_percent = 50 %"
    assert pruned(kit) == []
    kit.assert_invariants()


@pytest.mark.long
def test_a_dry_run_tells_and_does_nothing(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"'
    product = tiny()
    hold_processed(kit, product)
    told = kit.run("prune", "--dry-run")
    assert told.returncode == 0
    assert "would prune 1 product, about" in told.stdout
    assert product.id in told.stdout
    assert kit.states() == {product.id: "processed"}
    kit.sections = {}
    kit.assert_invariants()


def test_the_trash_keeps_what_was_pruned_for_its_delay(kit: Kit) -> None:
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


def test_without_the_archives_marker_nothing_is_pruned(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"'
    product = tiny()
    hold_processed(kit, product)
    marker = kit.archive / ".s2mirror/archive.json"
    content = marker.read_bytes()
    marker.unlink()
    with pytest.raises(ArchiveError, match="has no marker"):
        kit.cycle()
    assert kit.archive.joinpath(product.prefix).is_dir()
    marker.write_bytes(content)
    kit.cycle()
    assert pruned(kit) == [product.id]
    kit.assert_invariants()


def test_an_area_taken_out_of_the_configuration_prunes_nothing(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"'
    product = tiny()
    hold_processed(kit, product)
    kit.areas = kit.areas.replace("zurich", "elsewhere").replace("8.45, 47.2, 8.85", "1, 40, 2")
    kit.areas = kit.areas.replace("47.4]", "41]")
    result = kit.cycle()
    assert result.gone == ()
    assert result.pruned is not None
    assert product.id in result.pruned.kept
    assert kit.states() == {product.id: "processed"}
    kit.assert_same_bytes(product)
    kit.assert_invariants()


def test_a_product_of_two_areas_goes_only_when_both_let_it_go(kit: Kit) -> None:
    keeps = kit.areas.replace('"zurich"', '"archive"') + 'prune_after = "never"\n'
    kit.areas += 'prune_after = "0 s"\n' + keeps
    product = tiny()
    hold_processed(kit, product)
    result = kit.cycle()
    assert result.pruned is not None
    assert result.pruned.kept[product.id] == "area archive keeps everything"
    assert kit.states() == {product.id: "processed"}
    kit.assert_invariants()


def test_a_pruned_product_is_never_fetched_again_on_its_own_but_comes_back_on_request(
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


def test_other_files_beside_a_product_stay_and_only_its_marker_goes(kit: Kit) -> None:
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
def test_a_product_folder_replaced_by_a_link_costs_nothing_outside_the_archive(kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"\ntrash_keep = "0 s"'
    product = tiny()
    hold_processed(kit, product)
    folder, elsewhere = kit.archive / product.prefix, kit.folder / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    assert kit.cycle().exit_code == 0
    assert (elsewhere / "manifest.safe").is_file()
    assert pruned(kit) == [product.id]
    assert trash(kit) == []
    kit.assert_invariants()
