"""Several products of one image: halves are kept, older versions are removed by policy."""

from dataclasses import replace
from datetime import timedelta
from shutil import rmtree
from typing import Any

import pytest
from builders import overwrite
from discovery_kit import DAY, HOUR, NOW, product
from kit import SENSED_AT, ZURICH, Kit, tiny
from shapely.geometry import box

from s2mirror.geometry import pack
from s2mirror.lifecycle import Event, State
from s2mirror.model import LedgerEntry, SupersedePolicy, Transition
from s2mirror.planning.supersede import plan_supersede, waiting_for_better
from s2mirror.sandbox import NORTH_HALF, SOUTH_HALF, Fault, SandboxProduct
from s2mirror.service.pruning import prune
from s2mirror.service.results import sync_values
from s2mirror.times import format_utc

POLICIES = tuple(str(policy) for policy in SupersedePolicy)
L2A_ONLY = ZURICH.replace('"sentinel-2-l1c", ', "")


def version(baseline: str, **changes: Any) -> SandboxProduct:  # noqa: ANN401 - ProductSpec's fields
    """Return a version of the same image; a newer baseline was processed later."""
    days = float(baseline) if float(baseline) < 90 else 0
    processed_at = SENSED_AT + timedelta(days=days, hours=3)
    values: dict[str, Any] = {"baseline": baseline, "processed_at": processed_at} | changes
    return tiny(27, **values)


def renamed(product: SandboxProduct, suffix: str) -> SandboxProduct:
    """Return a product of another format: its id has a suffix."""
    name = f"{product.id}{suffix}"
    return replace(product, id=name, item={**product.item, "id": name})


@pytest.fixture
def kit(kit: Kit) -> Kit:
    kit.areas = L2A_ONLY
    return kit


def held(kit: Kit) -> set[str]:
    """Return the ids of the products in the tree."""
    return {
        path.rsplit("/", 1)[1].removesuffix(".SAFE")
        for path in kit.mirror().archive.product_paths()
    }


@pytest.mark.long
@pytest.mark.parametrize("policy", POLICIES)
def test_halves_are_both_kept_under_every_policy(kit: Kit, policy: str) -> None:
    kit.sections["supersede"] = f'policy = "{policy}"\ngrace = "0 s"'
    north = version("05.12", covers=NORTH_HALF, datastrip_at=SENSED_AT + timedelta(seconds=3))
    south = version(
        "05.12",
        covers=SOUTH_HALF,
        datastrip_at=SENSED_AT + timedelta(seconds=12),
        processed_at=SENSED_AT + timedelta(days=9),
    )
    kit.sandbox.publish([north, south])
    kit.cycle()
    kit.cycle(kit.later(days=400))
    kit.assert_current(north, south)


@pytest.mark.long
def test_policy_all_keeps_every_version(kit: Kit) -> None:
    kit.sections["supersede"] = 'policy = "all"'
    versions = [version(baseline) for baseline in ("05.09", "05.10", "05.12")]
    kit.sandbox.publish(versions)
    kit.cycle()
    kit.cycle(kit.later(days=400))
    kit.assert_current(*versions)


@pytest.mark.long
def test_policy_newest_removes_the_older_at_once(kit: Kit) -> None:
    kit.sections["supersede"] = 'policy = "newest"'
    kit.sections["download"] = "max_attempts = 1"
    old, new = version("05.11"), version("05.12")
    kit.sandbox.publish(old)
    kit.cycle()
    kit.sandbox.publish(new)
    kit.sandbox.s3_proxy.inject(Fault(path=r"B02_10m", flip_byte=5, times=None))
    kit.cycle()
    assert kit.states() == {old.id: "archived", new.id: "quarantined"}, "never for an unproven one"
    kit.sandbox.s3_proxy.reset()
    mirror, transition = kit.mirror(), Transition(event=Event.REQUEUE, attempts=0)
    mirror.ledger.products.advance(kit.entry(new), transition, now=mirror.now())
    kit.cycle()
    assert kit.states() == {old.id: "superseded", new.id: "archived"}
    assert kit.entry(old).reason == f"superseded by {new.id}"
    assert held(kit) == {new.id}
    kit.assert_invariants()


@pytest.mark.long
def test_grace_starts_when_the_newer_is_held(kit: Kit) -> None:
    kit.sections["supersede"] = 'policy = "replace-after-grace"\ngrace = "10 days"'
    old, new = version("05.11"), version("05.12")
    kit.sandbox.publish(old)
    kit.cycle()
    kit.sandbox.publish(new)
    kit.cycle(kit.later(days=100))
    kit.cycle(kit.later(days=109))
    assert held(kit) == {old.id, new.id}
    kit.cycle(kit.later(days=111))
    assert kit.states() == {old.id: "superseded", new.id: "archived"}
    assert (kit.archive / ".s2mirror/trash").is_dir()


@pytest.mark.long
def test_brake_stops_mass_replacement_until_confirmed(kit: Kit) -> None:
    kit.sections |= {
        "supersede": 'policy = "newest"',
        "prune": "max_products = 1",
    }
    olds = [version("05.11", sensed_at=SENSED_AT - timedelta(days=n)) for n in (0, 5)]
    new_products = [version("05.12", sensed_at=SENSED_AT - timedelta(days=n)) for n in (0, 5)]
    kit.sandbox.publish(olds)
    kit.cycle()
    kit.sandbox.publish(new_products)
    result = kit.cycle()
    assert result.pruned is not None
    assert "more than prune.max_products = 1" in result.pruned.brake
    assert held(kit) == {found.id for found in (*olds, *new_products)}
    prune(kit.mirror(), confirmed=True)
    assert held(kit) == {found.id for found in new_products}
    kit.assert_invariants()


@pytest.mark.long
def test_replaced_waiting_version_is_not_downloaded(kit: Kit) -> None:
    kit.sections["supersede"] = 'policy = "replace-after-grace"'
    old, new = version("05.11"), version("05.12")
    kit.sandbox.publish(new)
    kit.cycle()
    kit.sandbox.s3_proxy.reset()
    kit.sandbox.publish(old)
    kit.cycle()
    assert kit.states() == {old.id: "superseded", new.id: "archived"}
    assert kit.downloaded() == []
    kit.assert_invariants()


def test_only_the_newer_of_two_versions_is_downloaded(kit: Kit) -> None:
    kit.sections["supersede"] = 'policy = "newest"'
    old, new = version("05.11"), version("05.12")
    kit.sandbox.publish([old, new])
    kit.cycle()
    kit.cycle()
    assert kit.states() == {old.id: "superseded", new.id: "archived"}
    assert not [key for key in kit.downloaded() if old.id in key]


@pytest.mark.long
def test_commissioning_product_ranks_below_ordinary_one(kit: Kit) -> None:
    kit.sections["supersede"] = 'policy = "newest"'
    commissioning = version("99.05", processed_at=SENSED_AT + timedelta(days=90))
    ordinary = version("02.09", published_at=SENSED_AT + timedelta(days=91))
    kit.sandbox.publish(commissioning)
    kit.cycle()
    kit.sandbox.publish(ordinary)
    kit.cycle()
    assert kit.states() == {ordinary.id: "archived", commissioning.id: "superseded"}


@pytest.mark.long
def test_other_kinds_of_products_are_skipped_and_counted(
    kit: Kit, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = version("05.12")
    cubes = [renamed(tiny(day), ".zarr") for day in (20, 21)]
    kit.sandbox.publish([wanted, version("99.99"), *cubes])
    result = kit.cycle()
    assert (result.exit_code, kit.states()) == (0, {wanted.id: "archived"})
    cloudferro = (
        "products of baseline 99.99 are made by CloudFerro, not by ESA, and are not mirrored"
    )
    zarr = "products of format .zarr are not mirrored, only .SAFE"
    assert sync_values(result)["skipped"] == {cloudferro: 1, zarr: 2}
    assert kit.call("status") == 0
    printed = capsys.readouterr().out.splitlines()
    assert f"2 listed items skipped: {zarr}" in printed
    assert not [line for line in printed if "unusable" in line]
    kit.assert_invariants()


@pytest.mark.long
def test_newer_version_without_folder_replaces_nothing(kit: Kit) -> None:
    kit.sections["supersede"] = 'policy = "replace-after-grace"\ngrace = "10 days"'
    old, new = version("05.11"), version("05.12")
    kit.sandbox.publish(old)
    kit.cycle()
    kit.sandbox.publish(new)
    kit.cycle()
    rmtree(kit.archive / new.prefix)
    kit.cycle(kit.later(days=40))
    assert held(kit) == {old.id}
    assert kit.states()[old.id] == "archived"


# Decisions alone


def entry(
    number: int,
    state: State = State.ARCHIVED,
    *,
    areas: tuple[str, ...] = ("zurich",),
    **changes: Any,  # noqa: ANN401 - Product's fields
) -> LedgerEntry:
    sensed_at = changes.pop("sensed_at", NOW - 9 * DAY)
    values = {"generated_at": sensed_at + number * HOUR, "baseline": f"05.{number:02d}"} | changes
    return LedgerEntry(
        product=product(sensed_at, number=number, **values),
        state=state,
        reason="",
        attempts=0,
        next_attempt_at=NOW,
        changed_at=NOW,
        path="x" if state in (State.ARCHIVED, State.PROCESSED) else None,
        areas=areas,
    )


def replaced(*entries: LedgerEntry) -> dict[str, str]:
    """Return the replaced products and their replacements."""
    found = plan_supersede(entries, SupersedePolicy.NEWEST, timedelta())
    return {one.old.product.id: one.new.product.id for one in found}


def test_newest_of_many_versions_replaces_all_others() -> None:
    versions = [entry(n) for n in (9, 12, 10)]
    newest = versions[1].product.id
    assert replaced(*versions) == {versions[0].product.id: newest, versions[2].product.id: newest}


def test_versions_rank_by_baseline_processing_publication() -> None:
    later = NOW - DAY
    assert replaced(entry(1, baseline="05.10"), entry(2, baseline="04.00")) == {
        entry(2).product.id: entry(1).product.id
    }
    assert replaced(entry(1, baseline="05.10"), entry(2, baseline="05.10")) == {
        entry(1).product.id: entry(2).product.id
    }
    made: dict[str, Any] = {"baseline": "05.10", "generated_at": later}
    assert replaced(entry(1, **made, published_at=NOW), entry(2, **made, published_at=later)) == {
        entry(2).product.id: entry(1).product.id
    }


@pytest.mark.parametrize(
    "other",
    [
        {"tile": "32TNT"},
        {"platform": "sentinel-2b"},
        {"collection": "sentinel-2-l1c"},
        {"sensed_at": NOW},
        {"footprint_wkb": pack(box(8.45, 47.2, 8.65, 47.4))},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_other_image_or_half_replaces_nothing(other: dict[str, Any]) -> None:
    assert replaced(entry(1), entry(2, **other)) == {}


def test_whole_image_replaces_its_first_half() -> None:
    half = entry(1, footprint_wkb=pack(box(8.45, 47.2, 8.65, 47.4)))
    assert replaced(half, entry(2)) == {half.product.id: entry(2).product.id}


@pytest.mark.parametrize(("seconds", "same"), [(0, True), (1, True), (5, True), (6, False)])
def test_reprocessing_may_shift_the_datastrip_start(
    seconds: int, same: bool  # noqa: FBT001 - a table
) -> None:  # fmt: skip
    def strip(parse_utc: timedelta) -> str:
        return f"S2C_OPER_MSI_L2A_DS_2CPS_20260523T150000_S{NOW + parse_utc:%Y%m%dT%H%M%S}_N05.12"

    one = entry(1, datastrip_id=strip(timedelta()))
    other = entry(2, datastrip_id=strip(timedelta(seconds=seconds)))
    assert bool(replaced(one, other)) == same


def test_area_not_wanting_newer_version_keeps_older() -> None:
    old, new = entry(1, areas=("clear", "zurich")), entry(2, areas=("zurich",))
    assert replaced(old, new) == {}
    assert replaced(entry(1), entry(2, areas=("clear", "zurich"))) != {}


def test_unwanted_newer_version_defers_nothing() -> None:
    old = entry(1, State.DISCOVERED, areas=("clear",))
    unwanted = entry(2, State.DISCOVERED, areas=())
    assert waiting_for_better([old, unwanted], SupersedePolicy.NEWEST) == {}
    wanted = replace(unwanted, areas=("clear",))
    assert set(waiting_for_better([old, wanted], SupersedePolicy.NEWEST)) == {old.product.id}


def test_failed_newer_version_defers_no_older() -> None:
    old, new = entry(1, State.DISCOVERED), entry(2, State.FAILED)
    assert waiting_for_better([old, new], SupersedePolicy.NEWEST) == {}
    assert replaced(old, new) == {}


@pytest.mark.long
def test_products_in_back_off_block_no_queue(kit: Kit) -> None:
    mirror, fresh = kit.mirror(), product(NOW)
    bad = [product(NOW - n * HOUR, number=n) for n in range(1, 601)]
    for part in (bad[:500], bad[500:]):
        mirror.ledger.products.record(
            part, {found.id: ("zurich",) for found in part}, priorities={}, now=mirror.now()
        )
        mirror.enqueuer().enqueue(["zurich"], now=mirror.now())
    later = format_utc(mirror.now() + DAY)
    assert mirror.ledger.products.counts()[State.QUEUED][0] == 500
    overwrite(mirror.ledger, "next_attempt_at = :later", "state = 'queued'", later=later)
    mirror.ledger.products.record([fresh], {fresh.id: ("zurich",)}, priorities={}, now=mirror.now())
    plan = mirror.enqueuer().enqueue(["zurich"], now=mirror.now())
    assert fresh.id in {started.product.id for started in plan.start}
