"""The Python interface, as users import it."""

import doctest
import json
import threading
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from kit import Kit, tiny

import s2mirror.api
from s2mirror import Mirror
from s2mirror.errors import ConfigError, LedgerError, UsageError
from s2mirror.sandbox import NORTH_HALF, SOUTH_HALF, Sandbox

TWO_AREAS = """
[[area]]
name = "zurich"
bbox = [8.45, 47.2, 8.85, 47.4]
collections = ["sentinel-2-l1c", "sentinel-2-l2a"]
start = 2020-01-01

[[area]]
name = "vienna"
tiles = ["33UWP"]
start = 2020-01-01
"""
ZURICH = {"type": "Polygon", "coordinates": [[[8.4, 47.2], [8.8, 47.2], [8.8, 47.4], [8.4, 47.2]]]}
DAY_20, DAY_22, VIENNA, L1C = (
    tiny(20),
    tiny(22),
    tiny(21, tile="33UWP"),
    tiny(23, level="L1C"),
)


def fill(kit: Kit) -> Kit:
    kit.areas = TWO_AREAS
    kit.sandbox.publish([DAY_20, DAY_22, VIENNA, L1C])
    kit.cycle()
    return kit


@pytest.fixture
def filled(kit: Kit) -> Kit:
    return fill(kit)


@pytest.fixture(scope="module")
def library(running_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """A mirror that is filled once, for tests that only read."""
    running_sandbox.clear()
    return fill(Kit(tmp_path_factory.mktemp("library"), running_sandbox))


def ids(kit: Kit, **filters: Any) -> list[str]:  # noqa: ANN401 - the filters of items()
    with Mirror(kit.config) as mirror:
        return [item.id for item in mirror.items(**filters)]


def test_the_example_of_the_documentation_runs(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.sandbox.publish(tiny(27))
    kit.cycle()
    monkeypatch.chdir(kit.config.parent)
    assert doctest.testmod(s2mirror.api).failed == 0
    assert doctest.testmod(s2mirror.api).attempted > 1
    assert list(kit.states().values()) == ["processed"]


@pytest.mark.long
def test_items_come_oldest_sensing_first(library: Kit) -> None:
    assert ids(library) == [DAY_20.id, VIENNA.id, DAY_22.id, L1C.id]


@pytest.mark.long
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"area": "vienna"}, [VIENNA.id]),
        ({"area": [16, 48, 16.5, 48.5]}, [VIENNA.id]),
        ({"area": ZURICH, "collections": ["sentinel-2-l2a"]}, [DAY_20.id, DAY_22.id]),
        ({"area": {"type": "Feature", "geometry": ZURICH}, "start": "2026-05-23"}, [L1C.id]),
        ({"area": (100, 10, 101, 11)}, []),
        ({"tile": "T33UWP"}, [VIENNA.id]),
        ({"collections": ["sentinel-2-l1c"]}, [L1C.id]),
        ({"start": "2026-05-21", "end": "2026-05-22"}, [VIENNA.id, DAY_22.id]),
        ({"start": date(2026, 5, 22), "end": date(2026, 5, 22)}, [DAY_22.id]),
        ({"end": datetime(2026, 5, 20, 10, 20, 30, tzinfo=UTC)}, []),
        ({"end": "2026-05-20T12:20:32+02:00"}, [DAY_20.id]),
        ({"start": datetime(2026, 5, 23, tzinfo=timezone(timedelta(hours=2)))}, [L1C.id]),
    ],
)
def test_items_filter_by_place_time_and_collection(
    library: Kit, filters: dict[str, Any], expected: list[str]
) -> None:
    assert ids(library, **filters) == expected


def test_every_asset_is_a_local_file(library: Kit) -> None:
    with Mirror(library.config) as mirror:
        for item in mirror.items():
            for asset in item.assets.values():
                assert Path(asset.href).is_absolute()
                assert Path(asset.href).stat().st_size == asset.extra_fields["file:size"]


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"area": "paris"}, "no area is named 'paris'; there are zurich, vienna"),
        ({"area": [1, 2, 3]}, "an area is a name, GeoJSON or"),
        ({"area": {"type": "Point", "coordinates": [8, 47]}}, "not GeoJSON with polygons"),
        ({"tile": "Zurich"}, "is not an MGRS tile"),
        ({"start": datetime(2026, 5, 20)}, "has no time zone"),  # noqa: DTZ001 - what is refused
        ({"end": "tomorrow"}, "Invalid isoformat string"),
    ],
)
def test_invalid_filter_is_refused_before_first_item(
    library: Kit, filters: dict[str, Any], words: str
) -> None:
    with Mirror(library.config) as mirror, pytest.raises(UsageError, match=words):
        mirror.items(**filters)


@pytest.mark.long
def test_several_versions_of_an_image_give_one_item(
    kit: Kit, capsys: pytest.CaptureFixture[str]
) -> None:
    kit.sections["supersede"] = 'policy = "all"'
    old, new = tiny(27, baseline="05.11", cloud_cover_percent=80), tiny(27, baseline="05.12")
    halves = [
        tiny(26, covers=NORTH_HALF),
        tiny(26, covers=SOUTH_HALF, processed_at=datetime(2026, 5, 27, tzinfo=UTC)),
    ]
    kit.sandbox.publish([old, new, *halves])
    kit.cycle()
    both = sorted(half.id for half in halves)
    assert ids(kit) == ids(kit, versions="best") == [*both, new.id]
    with Mirror(kit.config) as mirror:
        found = {item.id: item.properties for item in mirror.items(versions="all")}
        with pytest.raises(UsageError, match="versions is 'best' or 'all', not 'newest'"):
            mirror.items(versions="newest")  # type: ignore[arg-type]  # what is refused
    assert list(found) == [*both, old.id, new.id]
    superseded = {name: values.get("s2mirror:superseded_by") for name, values in found.items()}
    assert superseded == {**dict.fromkeys(both), old.id: new.id, new.id: None}
    capsys.readouterr()
    kit.call("status")
    line = "baselines zurich, sentinel-2-l2a: 05.11 (1), 05.12 (3); see raster:offset of items"
    assert line in capsys.readouterr().out.splitlines()
    kit.call("status", "--json")
    areas = json.loads(capsys.readouterr().out)["areas"]
    assert areas[0]["baselines"] == {"sentinel-2-l2a": {"05.11": 1, "05.12": 3}}


@pytest.mark.long
def test_marking_twice_makes_a_product_prunable(filled: Kit) -> None:
    with Mirror(filled.config) as mirror:
        mirror.mark_processed(DAY_20.id, f"{DAY_22.id}.SAFE", *mirror.items(tile="33UWP"))
        mirror.mark_processed(DAY_20.id)
    states = filled.states()
    assert [states[p.id] for p in (DAY_20, DAY_22, VIENNA)] == ["processed"] * 3
    assert states[L1C.id] == "archived"


@pytest.mark.long
def test_what_is_not_held_cannot_be_marked(filled: Kit) -> None:
    with Mirror(filled.config) as mirror, pytest.raises(UsageError, match="knows no product"):
        mirror.mark_processed("S2C_UNKNOWN")


@pytest.mark.long
def test_waiting_yields_unprocessed_then_new_products(filled: Kit) -> None:
    later, seen, ready = tiny(25), [], threading.Event()

    def consume() -> None:
        with Mirror(filled.config) as mirror:
            for item in mirror.wait_for_new(timeout_seconds=600, tile="32TMT"):
                seen.append(item.id)
                mirror.mark_processed(item)
                if len(seen) == 3:
                    ready.set()
                if item.id == later.id:
                    return

    consumer = threading.Thread(target=consume)
    consumer.start()
    assert ready.wait(300)
    filled.sandbox.publish(later)
    filled.cycle()
    consumer.join(600)
    assert seen == [DAY_20.id, DAY_22.id, L1C.id, later.id]


@pytest.mark.long
def test_restarted_consumer_gets_unmarked_products_only(filled: Kit) -> None:
    with Mirror(filled.config) as mirror:
        first = next(mirror.wait_for_new(timeout_seconds=0))
        mirror.mark_processed(first)
    with Mirror(filled.config) as mirror:
        assert first.id not in [item.id for item in mirror.wait_for_new(timeout_seconds=0)]


@pytest.mark.long
def test_waiting_gives_what_is_not_marked_only_once(filled: Kit) -> None:
    with Mirror(filled.config) as mirror:
        found = [item.id for item in mirror.wait_for_new(timeout_seconds=1.2)]
    assert found == [DAY_20.id, VIENNA.id, DAY_22.id, L1C.id]


def test_waiting_ends_when_nothing_comes(kit: Kit) -> None:
    kit.cycle()
    with Mirror(kit.config) as mirror:
        assert list(mirror.wait_for_new(timeout_seconds=0.1)) == []


def test_a_mirror_that_never_ran_says_so(kit: Kit) -> None:
    with pytest.raises(LedgerError, match="there is no ledger"):
        Mirror(kit.config)


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: no such file"):
        Mirror(tmp_path / "nowhere.toml")


def test_the_package_has_no_other_name_by_accident() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Miror'"):
        s2mirror.Miror  # noqa: B018 - what is asked for
