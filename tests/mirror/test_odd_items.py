"""Products with unusual catalog items, beside one with a usual item."""

from typing import Any

import pytest
from kit import Kit, tiny
from mirror_kit import with_item

ODD = tiny(26)


def without_geometry(item: dict[str, Any]) -> None:
    item["geometry"] = None


def without_datetime(item: dict[str, Any]) -> None:
    item["properties"]["datetime"] = None


@pytest.mark.long
def test_item_without_geometry_is_named_as_unusable(kit: Kit) -> None:
    odd, usual = with_item(ODD, without_geometry), tiny(27)
    kit.sandbox.publish([odd, usual])
    done = kit.run("sync")
    assert done.returncode == 1
    assert odd.id in done.stdout + done.stderr
    assert kit.states() == {usual.id: "archived"}
    assert [item.id for item in kit.mirror().unusable()] == [odd.id]


def test_item_with_start_datetime_only_is_downloaded(kit: Kit) -> None:
    odd = with_item(ODD, without_datetime)
    kit.sandbox.publish(odd)
    kit.cycle()
    kit.assert_current(odd)
