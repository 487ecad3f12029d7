"""The plan of a prune, from a real ledger and folders, against a plain reading of the rules."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from builders import HERE, NOW, product, reseal
from hypothesis import given, settings
from hypothesis import strategies as st

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger, open_ledger
from s2mirror.adapters.ledger.processing import PLAN
from s2mirror.area import WatchArea
from s2mirror.errors import LedgerError
from s2mirror.model import PINNED, DeletedPolicy, SupersedePolicy
from s2mirror.planning.checked_time import CheckedTime
from s2mirror.planning.retention import Brake, PrunePlan
from s2mirror.planning.retention_rules import Rule
from s2mirror.planning.watermarks import DiskSpace, Marks
from s2mirror.steps.plan_prune import PrunePlanner, ReleasePolicy
from s2mirror.steps.prune import Pruner

pytestmark = pytest.mark.long
NAMES = ("a", "b")
TILES = ("32TMT", "32TNT")
TIME = CheckedTime(now=NOW)
FREE = Brake(max_products=10**6, max_percent=100)
SIZE = 100


@dataclass(frozen=True)
class Held:
    """A held product, in hours before now."""

    number: int
    tile: str
    sensed: int
    arrived: int
    processed: int | None
    areas: frozenset[str]
    running: bool = False

    @property
    def id(self) -> str:
        day = f"{1 + self.number // 24:02}T{self.number % 24:02}"
        return f"S2C_MSIL2A_202605{day}0000_N0512_R065_T{self.tile}_20260527T132031"

    @property
    def changed(self) -> int:
        return self.arrived if self.processed is None else self.processed

    @property
    def path(self) -> str:
        return f"{self.tile}/{self.id}.SAFE"


# Few ages, areas and tiles, so that limits are often met exactly.
HELD = st.lists(
    st.builds(
        Held,
        number=st.integers(0, 600),
        tile=st.sampled_from(TILES),
        sensed=st.integers(3, 5),
        arrived=st.integers(1, 3),
        processed=st.none() | st.integers(0, 1),
        areas=st.sampled_from(
            [{"a"}, {"b"}, {"a", "b"}] * 3 + [{"a", PINNED}, {"a", "gone"}, ()]
        ).map(frozenset),
        running=st.sampled_from([True, *[False] * 9]),
    ),
    min_size=8,
    max_size=16,
    unique_by=lambda each: each.number,
)
AGE = st.none() | st.none() | st.integers(0, 6).map(lambda hours: timedelta(hours=hours))
NUMBER = st.none() | st.none() | st.integers(1, 3)
AREAS = st.lists(
    st.builds(
        WatchArea,
        name=st.sampled_from(NAMES),
        geometry=st.just(HERE),
        collections=st.just(("sentinel-2-l2a",)),
        start_at=st.just(NOW),
        prune_after=AGE,
        max_age=AGE,
        max_age_sensed=AGE,
        keep_newest=NUMBER,
        keep_newest_per_tile=NUMBER,
        protected=st.booleans(),
    ).map(lambda area: area if not area.protected else unruled(area.name)),
    min_size=1,
    max_size=2,
    unique_by=lambda area: area.name,
)
AGES = ("prune_after", "max_age", "max_age_sensed")
OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(AGES, st.integers(0, 6).map(lambda hours: timedelta(hours=hours))),
    **dict.fromkeys(("keep_newest", "keep_newest_per_tile"), st.integers(1, 3)),
}


def with_one_rule(option: str) -> st.SearchStrategy[list[WatchArea]]:
    """Return both areas with no other rule than one option, of two values."""
    values = st.lists(OPTIONS[option], min_size=2, max_size=2)
    return values.map(
        lambda two: [
            replace(unruled(name), protected=False, **{option: value})
            for name, value in zip(NAMES, two, strict=True)
        ]
    )


ONE_RULE = st.sampled_from(sorted(OPTIONS)).flatmap(with_one_rule)
CASES = st.lists(st.tuples(AREAS | ONE_RULE, st.booleans()), min_size=4, max_size=8)
"""Areas with their rules, and whether only processed products may go: many for one archive."""


def unruled(name: str) -> WatchArea:
    """Return a protected area: the configuration makes none that has another rule."""
    return WatchArea(
        name=name,
        geometry=HERE,
        collections=("sentinel-2-l2a",),
        start_at=NOW,
        protected=True,
    )


def among_newest(area: WatchArea, held: Held, everything: list[Held]) -> bool:
    newer = [
        each
        for each in everything
        if area.name in each.areas and (-each.sensed, each.id) > (-held.sensed, held.id)
    ]
    of_tile = [each for each in newer if each.tile == held.tile]
    return bool(
        (area.keep_newest and len(newer) < area.keep_newest)
        or (area.keep_newest_per_tile and len(of_tile) < area.keep_newest_per_tile)
    )


def releases(area: WatchArea, held: Held, everything: list[Held]) -> bool:
    if among_newest(area, held, everything):
        return False
    ages = (
        (area.prune_after, held.changed),
        (area.max_age, held.arrived),
        (area.max_age_sensed, held.sensed),
    )
    limits = [(limit, hours) for limit, hours in ages if limit is not None]
    if limits:
        return any(timedelta(hours=hours) >= limit for limit, hours in limits)
    return bool(area.keep_newest or area.keep_newest_per_tile)


def may_go(held: Held, areas: dict[str, WatchArea], *, processed: bool) -> bool:
    ready = held.processed is not None or not processed
    return ready and not held.running and bool(held.areas) and held.areas <= areas.keys()


def due(everything: list[Held], areas: dict[str, WatchArea], *, processed: bool) -> set[str]:
    return {
        held.id
        for held in everything
        if may_go(held, areas, processed=processed)
        and all(releases(areas[name], held, everything) for name in held.areas)
    }


@contextmanager
def archive_of(everything: list[Held]) -> Iterator[tuple[Ledger, Archive]]:
    """Yield a ledger and an archive with these products."""
    with TemporaryDirectory() as name:
        archive, ledger = Archive(Path(name) / "archive"), open_ledger(Path(name) / "ledger")
        archive.create()
        ledger.connection.execute("PRAGMA synchronous = OFF")
        for held in everything:
            found = product(held.id, hours_ago=held.sensed, tile=held.tile, size_bytes=SIZE)
            arrived_at = NOW - timedelta(hours=held.arrived)
            ledger.products.record([found], {found.id: held.areas}, priorities={}, now=arrived_at)
            folder = archive.root / held.path
            folder.mkdir(parents=True)
            (folder / "manifest.safe").write_text(held.id)
            ledger.connection.execute(
                "UPDATE product SET state = :state, path = :path, changed_at = :at WHERE id = :id",
                {
                    "state": "archived" if held.processed is None else "processed",
                    "path": held.path,
                    "at": f"{NOW - timedelta(hours=held.changed):%Y-%m-%dT%H:%M:%S}.000000+00:00",
                    "id": held.id,
                },
            )
            ledger.connection.execute(
                "INSERT INTO history (product_id, at, event, from_state, to_state, reason)"
                " VALUES (:id, :at, 'publish', 'verified', 'archived', '')",
                {"id": held.id, "at": f"{arrived_at:%Y-%m-%dT%H:%M:%S}.000000+00:00"},
            )
        for held in (each for each in everything if each.running):
            row = {"product_id": held.id, "entry": "hook", "state": "running", "now": ""}
            ledger.connection.execute(PLAN, {**row, "priority": 0, "sensed_at": ""})
        ledger.connection.execute(reseal("product"))
        yield ledger, archive
        ledger.close()


def pruner(
    ledger: Ledger,
    archive: Archive,
    areas: list[WatchArea],
    *,
    processed: bool,
    marks: Marks | None = None,
    used_bytes: int = 0,
) -> Pruner:
    planner = PrunePlanner(
        ledger=ledger,
        archive=archive,
        areas=areas,
        require_processed=processed,
        brake=FREE,
        marks=marks or Marks(),
        disk=lambda: DiskSpace(total_bytes=1000, used_bytes=used_bytes),
        marker_suffix=".processed",
        policy=ReleasePolicy(
            supersede=SupersedePolicy.ALL, grace=timedelta(), deleted=DeletedPolicy.KEEP
        ),
    )
    week = timedelta(days=7)
    return Pruner(
        ledger=ledger, archive=archive, planner=planner, trash_keep=week, trash_keep_min=week
    )


def folders(archive: Archive) -> set[str]:
    return set(archive.product_paths())


@settings(max_examples=20, deadline=None)
@given(HELD, CASES)
def test_prune_moves_what_the_rules_release(
    everything: list[Held], cases: list[tuple[list[WatchArea], bool]]
) -> None:
    with archive_of(everything) as (ledger, archive):
        for areas, processed in cases:
            wanted = due(everything, {area.name: area for area in areas}, processed=processed)
            step = pruner(ledger, archive, areas, processed=processed)
            plan = step.plan(TIME, list_kept=True)
            assert {gone.entry.product.id for gone in plan.removals} == wanted
            assert set(plan.kept) == {held.id for held in everything} - wanted
            assert sum(plan.kept_by_rule.values()) == plan.kept_count == len(plan.kept)
            assert sum(step.plan(TIME).kept_by_rule.values()) == plan.kept_count
            times = [gone.entry.changed_at for gone in plan.removals]
            assert times == sorted(times), "the longest processed first"
        paths = {gone.entry.path for gone in plan.removals}
        before = folders(archive)
        assert step.prune(TIME).removals == plan.removals
        assert before - folders(archive) == paths, "every removed path was in the plan"


@settings(max_examples=20, deadline=None)
@given(HELD, CASES, st.integers(0, 2200), st.none() | st.integers(0, 1600))
def test_full_disk_takes_the_oldest_that_may_go(
    everything: list[Held],
    cases: list[tuple[list[WatchArea], bool]],
    used_bytes: int,
    max_size: int | None,
) -> None:
    marks = Marks(max_size_bytes=max_size, high_percent=80, low_percent=60)
    with archive_of(everything) as (ledger, archive):
        for areas, processed in cases:
            step = pruner(
                ledger, archive, areas, processed=processed, marks=marks, used_bytes=used_bytes
            )
            rules = {area.name: area for area in areas}
            check_pressure(step.plan(TIME), everything, rules, step)


def check_pressure(
    plan: PrunePlan, everything: list[Held], rules: dict[str, WatchArea], step: Pruner
) -> None:
    """Assert that a plan takes as many products as disk and archive ask for, the oldest first."""
    planner, processed = step.planner, step.planner.require_processed
    used_bytes, max_size = planner.disk().used_bytes, planner.marks.max_size_bytes
    wanted = due(everything, rules, processed=processed)
    spare = [
        held
        for held in everything
        if held.id not in wanted
        and may_go(held, rules, processed=processed)
        and not any(
            rules[name].protected or among_newest(rules[name], held, everything)
            for name in held.areas
        )
    ]
    disk = max(0, used_bytes - 600 - SIZE * len(wanted)) if used_bytes > 800 else 0
    size = max(
        0, SIZE * (len(everything) - len(wanted)) - (10**9 if max_size is None else max_size)
    )
    count = min(len(spare), -(-max(disk, size) // SIZE))
    pressed = [gone for gone in plan.removals if gone.rule in {Rule.DISK_HIGH, Rule.MAX_SIZE}]
    ids = {gone.entry.product.id for gone in pressed}
    assert len(pressed) == count
    assert ids <= {held.id for held in spare}
    if ids:
        youngest = min(held.changed for held in spare if held.id in ids)
        assert all(held.changed <= youngest for held in spare if held.id not in ids)
    left = {Rule.DISK_HIGH: disk - SIZE * count, Rule.MAX_SIZE: size - SIZE * count}
    assert plan.missing_bytes == {rule: short for rule, short in left.items() if short > 0}


@pytest.mark.parametrize(
    ("members", "rules", "damage"),
    [
        (("ab", "a"), {"a": {"prune_after": timedelta()}, "b": {}}, "product_id = :newest"),
        (("a", ""), {"a": {}}, "product_id = :newest"),
        (("b", "b", "a"), {"a": {}, "b": {"keep_newest": 1}}, "area = 'b'"),
    ],
    ids=["it left an area that keeps it", "it left its only area", "it ousts one of the newest"],
)
def test_damaged_membership_releases_no_product(
    members: tuple[str, ...], rules: dict[str, dict[str, Any]], damage: str
) -> None:
    everything = [
        Held(n, TILES[0], sensed=9 - n, arrived=3, processed=2, areas=frozenset(areas))
        for n, areas in enumerate(members)
    ]
    first, *_, newest = (held.id for held in everything)
    areas = [replace(unruled(name), protected=False, **rules[name]) for name in rules]
    with archive_of(everything) as (ledger, archive):
        step = pruner(ledger, archive, areas, processed=True)
        before = step.plan(TIME, unclaimed=True)
        changed = ledger.connection.execute(
            f"UPDATE membership SET {damage} WHERE product_id = :id AND area = :area",  # noqa: S608 - ours
            {
                "id": newest if "area" in damage else first,
                "newest": newest,
                "area": members[-1 if "area" in damage else 0][-1],
            },
        )
        assert changed == 1
        assert len(before.removals) == 1, "no product that the damage could release"
        with pytest.raises(LedgerError, match=r"table membership"):
            step.plan(TIME, unclaimed="" in members)
