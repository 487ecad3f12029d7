"""Products that a person requests by id or item: pinned, whatever areas want."""

import io
import json
import subprocess
from datetime import timedelta
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kit import PATIENCE_SECONDS, SENSED_AT, ZURICH, Kit, Quiet, tiny, wait_until

from s2mirror.sandbox import SandboxProduct
from s2mirror.service.cycle import prepare
from s2mirror.service.fetch_list import FetchList, read_list
from s2mirror.service.fetching import Requested, bring, request
from s2mirror.service.pruning import prune, remove_dropped
from s2mirror.steps import requests
from s2mirror.stop import StopFlag

AT_ONCE = 'after = "0 s"\nrequire_processed = false\nmax_percent = 100'
L2A_ONLY = ZURICH.replace('"sentinel-2-l1c", ', "")


def read(*lines: object) -> FetchList:
    """Return what JSON lines name; texts and bytes are lines as they are."""
    texts = [
        line
        if isinstance(line, bytes)
        else (line if isinstance(line, str) else json.dumps(line)).encode()
        for line in lines
    ]
    return read_list(io.BytesIO(b"\n".join(texts)), "eodata")


def elsewhere(day: int = 27, **changes: Any) -> SandboxProduct:  # noqa: ANN401 - ProductSpec's fields
    """Make a product that no area wants."""
    return tiny(day, **{"tile": "33UWP"} | changes)


def fetched(kit: Kit, *lines: object) -> Requested:
    """Request what lines name, and download it, as `fetch` does."""
    mirror = kit.mirror()
    prepare(mirror)
    done = request(mirror, read(*lines))
    bring(mirror, Quiet(), StopFlag())
    return done


def drop(kit: Kit, product: SandboxProduct) -> str:
    mirror = kit.mirror()
    return requests.drop(mirror.ledger, product.id, with_pinned=True, now=mirror.now())


def test_requested_products_are_kept_until_dropped(kit: Kit) -> None:
    kit.sections["prune"] = AT_ONCE
    by_item, by_id, folder = (elsewhere(day) for day in (20, 21, 22))
    kit.sandbox.publish([by_id, folder])
    kit.sandbox.publish(by_item)
    kit.cycle()
    assert kit.states() == {}
    collection = {"type": "FeatureCollection", "features": [by_item.item]}
    done = fetched(kit, collection, by_id.id, f'"/srv/{folder.id}.SAFE/"')
    assert (done.exit_code, done.refused) == (0, {})
    kit.assert_current(by_item, by_id, folder)
    prune(kit.later(days=400), unclaimed=True)
    kit.assert_current(by_item, by_id, folder)
    assert drop(kit, by_id) == requests.TO_TRASH
    assert kit.states()[by_id.id] == "archived"
    assert [gone.entry.product.id for gone in prune(kit.mirror()).removals] == [by_id.id]
    assert drop(kit, by_item) == requests.TO_TRASH
    assert [gone.reason for gone in remove_dropped(kit.mirror()).removals] == ["dropped by request"]
    assert kit.states() == {by_item.id: "pruned", by_id.id: "pruned", folder.id: "archived"}
    fetched(kit, by_id.id)
    assert prune(kit.mirror()).removals == ()
    kit.assert_invariants()


@pytest.mark.long
def test_request_completes_a_partial_product(kit: Kit) -> None:
    kit.areas = L2A_ONLY + "bands = ['B02']"
    partial = tiny(27)
    kit.sandbox.publish(partial)
    kit.cycle()
    assert not kit.entry(partial).selection.whole
    fetched(kit, partial.id)
    kit.assert_same_bytes(partial)


@pytest.mark.long
def test_requested_older_version_is_never_superseded(kit: Kit) -> None:
    kit.areas = L2A_ONLY
    kit.sections["supersede"] = 'policy = "newest"'
    old = tiny(27, baseline="05.11", processed_at=SENSED_AT + timedelta(hours=3))
    new = tiny(27, baseline="05.12", processed_at=SENSED_AT + timedelta(days=9))
    kit.sandbox.publish([old, new])
    kit.cycle()
    kit.cycle()
    assert kit.states() == {old.id: "superseded", new.id: "archived"}
    fetched(kit, old.item)
    kit.cycle()
    assert kit.states() == {old.id: "archived", new.id: "archived"}


@pytest.mark.long
def test_dropped_waiting_product_is_not_downloaded(kit: Kit) -> None:
    product = elsewhere()
    kit.sandbox.publish(product)
    mirror = kit.mirror()
    prepare(mirror)
    assert request(mirror, read(product.id), dry_run=True).states == {product.id: "discovered"}
    assert kit.states() == {}
    assert request(mirror, read(product.id)).states == {product.id: "queued"}
    assert drop(kit, product) == "pruned"
    bring(mirror, Quiet(), StopFlag())
    assert kit.downloaded() == []
    assert drop(kit, product) == "pruned"


ZARR = "S2B_MSIL2A_20260527T102031_N0512_R065_T32TMT_20260527T132031.zarr"
UNKNOWN = "S2B_MSIL2A_20260527T102031_N0512_R065_T32TMT_20260527T132031"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (ZARR, f"{ZARR}: products of format .zarr are not mirrored, only .SAFE"),
        ("S3A_OL_1_EFR", "S3A_OL_1_EFR is not the name of a Sentinel-2 product in SAFE format"),
        ({"type": "Feature"}, "it is neither a STAC item nor a product id"),
        (["x", 5], "it is neither a STAC item nor a product id"),
        ({"type": "FeatureCollection", "features": 5}, "it is neither a STAC item nor"),
        ("../../etc/passwd\x00", "is not made of letters, digits"),
        (b"\xff\xfe", "it is neither JSON nor a product id"),
        (b'{"id": ' + b"[" * 99, "it is neither JSON nor"),
    ],
)
def test_unusable_line_is_refused_with_its_number(line: object, reason: str) -> None:
    found = read(UNKNOWN, line)
    assert list(found.products) == [UNKNOWN]
    (place,) = set(found.refused) & {"line 2", "line 2, item 2"}
    assert reason in found.refused[place]


def test_document_of_several_lines_is_read_as_one() -> None:
    items = [elsewhere(day).item for day in (20, 21)]
    text = json.dumps({"type": "FeatureCollection", "features": [*items, 5]}, indent=2)
    found = read(text)
    assert [listed.product is not None for listed in found.products.values()] == [True, True]
    assert found.refused == {"the document, item 3": "it is neither a STAC item nor a product id"}


def test_item_spelled_otherwise_is_kept_as_usual() -> None:
    item = elsewhere().item
    odd = {"platform": "S2C", "published": item["properties"]["published"].lower()}
    (found,) = read({**item, "properties": {**item["properties"], **odd}}).products.values()
    assert found.properties["platform"] == "sentinel-2c"
    assert found.properties["published"].endswith("Z")


class Endless(io.RawIOBase):
    """An open document that never ends."""

    def readline(self, size: int | None = -1, /) -> bytes:
        assert size
        return b"[" + b" " * (size - 2) + b"\n"


def test_endless_document_is_refused() -> None:
    found = read_list(cast("BinaryIO", Endless()), "eodata")
    assert "it has more than 16 MiB" in found.refused["the document"]


@given(st.lists(st.binary(max_size=40), max_size=8))
@example([b"{", b"}"])
@example([b'{"type":"FeatureCollection","features":[[[[]]]]}', b"[]", b'""'])
def test_no_list_is_an_error(lines: list[bytes]) -> None:
    found = read(*lines)
    assert (
        found.products or found.refused or not b"".join(lines).strip() or b"[]" in b"".join(lines)
    )


def test_unknown_id_and_foreign_item_are_refused(kit: Kit) -> None:
    kit.cycle()
    product = elsewhere()
    hrefs = json.dumps(product.item).replace("s3://eodata/", "s3://sentinel-cogs/")
    done = fetched(kit, UNKNOWN, hrefs)
    assert done.exit_code == 2
    assert done.refused == {
        "line 1": f"{UNKNOWN}: the STAC catalog does not list it",
        "line 2": f"{product.id}: the STAC catalog does not list it; the given item cannot be "
        "used: it is stored in bucket 'sentinel-cogs', not in 'eodata'",
    }
    assert kit.states() == {}


@pytest.mark.long
def test_piped_items_are_fetched_beside_a_daemon(kit: Kit) -> None:
    first, second, third = (elsewhere(day) for day in (20, 21, 22))
    kit.sandbox.publish([first, second, third])

    def piped(*lines: str) -> Any:  # noqa: ANN401 - parsed JSON
        done = subprocess.run(
            kit.command("fetch", "--from", "-", "--json"),
            input="\n".join(lines),
            env=kit.environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        return json.loads(done.stdout) | {"code": done.returncode}

    alone = piped(json.dumps(first.item), ZARR)
    assert (alone["archived"], alone["code"], alone["by_daemon"]) == ([first.id], 2, False)
    kit.assert_current(first)
    daemon = kit.start("run")
    try:
        wait_until(lambda: kit.run("health").returncode == 0, "the daemon works")
        known = kit.run("list", "--json-lines").stdout
        assert json.loads(known)["id"] == first.id
        beside = piped(json.dumps(second.item), third.id, known)
        assert (len(beside["requested"]), beside["by_daemon"]) == (3, True)
        wait_until(
            lambda: list(kit.states().values()) == ["archived"] * 3, "the daemon downloads them"
        )
        assert kit.run("drop", second.id, "--pinned").returncode == 0
        assert kit.states()[second.id] == "pruned", "by the daemon"
    finally:
        daemon.terminate()
        daemon.wait(PATIENCE_SECONDS)
    assert kit.run("drop", third.id, "--pinned").returncode == 0
    assert kit.states()[third.id] == "pruned"
    kit.assert_invariants()
