"""Products with unusual catalog items, beside one with a usual item."""

import json
from typing import Any

import pytest
from kit import Kit, tiny
from mirror_kit import with_item

ODD = tiny(26)


def without_geometry(item: dict[str, Any]) -> None:
    item["geometry"] = None


def without_datetime(item: dict[str, Any]) -> None:
    item["properties"]["datetime"] = None


def spelled_otherwise(item: dict[str, Any]) -> None:
    text = json.dumps(item["assets"]).replace("s3://eodata/", "s3://EODATA/")
    item["assets"], item["id"] = json.loads(text), f"{item['id']}.SAFE"
    item["links"] = [link for link in item["links"] if link["rel"] != "enclosure"]
    properties = item["properties"]
    properties["platform"] = "S2C"
    for name in ("datetime", "published", "created", "processing:datetime"):
        properties[name] = properties[name].lower()


@pytest.mark.long
def test_item_spelled_otherwise_is_mirrored_and_kept(kit: Kit) -> None:
    kit.sections["deleted"] = 'policy = "trash"'
    odd = with_item(ODD, spelled_otherwise)
    kit.sandbox.publish(odd)
    kit.cycle()
    kit.assert_current(odd)
    # The catalog still lists it, by its own spelling: the feed alone withdraws nothing.
    kit.sandbox.odata.delete(odd.id)
    kit.cycle(kit.later(days=2))
    kit.assert_current(odd)


def without_any_time(item: dict[str, Any]) -> None:
    for name in ("datetime", "start_datetime", "end_datetime"):
        item["properties"][name] = None


@pytest.mark.long
def test_null_geometry_and_null_time_are_unusable(kit: Kit) -> None:
    shapeless, timeless = with_item(ODD, without_geometry), with_item(tiny(25), without_any_time)
    usual = tiny(27)
    kit.sandbox.publish([shapeless, timeless, usual])
    done = kit.run("sync")
    assert done.returncode == 1
    assert kit.states() == {usual.id: "archived"}
    reasons = {
        shapeless.id: "its geometry is null, not a GeoJSON object",
        timeless.id: "its 'datetime' is null, and it has no 'start_datetime'",
    }
    assert {item.id: item.reason for item in kit.mirror().unusable()} == reasons
    for product_id, reason in reasons.items():
        assert product_id in done.stdout + done.stderr
        assert reason in done.stdout + done.stderr


def test_item_with_start_datetime_only_is_downloaded(kit: Kit) -> None:
    odd = with_item(ODD, without_datetime)
    kit.sandbox.publish(odd)
    kit.cycle()
    kit.assert_current(odd)
