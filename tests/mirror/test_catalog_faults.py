"""One fault of the catalog per test: no product is lost, and no watermark moves."""

import copy
import email.utils
import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from kit import SENSED_AT, Kit, tiny

from s2mirror.sandbox import Answer, Fault, SandboxProduct
from s2mirror.sandbox.faults import Cut
from s2mirror.stop import StopFlag

SEARCH = r"/v1/search"


def watermarks(kit: Kit) -> dict[str, datetime | None]:
    """Return the watermark of every search."""
    return {cursor.search: cursor.watermark for cursor in kit.mirror().ledger.cursors.all()}


def page(kit: Kit, *products: SandboxProduct, **next_link: Any) -> Answer:  # noqa: ANN401 - JSON
    """Return a page of a listing; *next_link* changes its link to the next page."""
    link = {
        "rel": "next",
        "type": "application/geo+json",
        "method": "POST",
        "href": f"{kit.sandbox.stac_url}search",
        "body": {"token": "next:1"},
    }
    body = {
        "type": "FeatureCollection",
        "features": [product.item for product in products],
        "links": [link | next_link] if next_link else [],
    }
    headers = {"Content-Type": "application/geo+json"}
    return Answer(status=200, headers=headers, body=json.dumps(body).encode())


def http_date(seconds_ahead: float) -> str:
    return email.utils.formatdate(time.time() + seconds_ahead, usegmt=True)


FAULTY: dict[str, Callable[[Kit], Answer]] = {
    "429 without a word": lambda _: Answer(status=429),
    "429 with seconds": lambda _: Answer(status=429, headers={"Retry-After": "1"}),
    "429 with a date": lambda _: Answer(status=429, headers={"Retry-After": http_date(1)}),
    "429 with nonsense": lambda _: Answer(status=429, headers={"Retry-After": "soon"}),
    "500": lambda _: Answer(status=500, body=b'{"code":"InternalServerError"}'),
    "503 with HTML": lambda _: Answer(status=503, body=b"<html>maintenance</html>"),
    "400": lambda _: Answer(status=400, body=b'{"code":"BadRequest"}'),
    "422": lambda _: Answer(status=422, body=b'{"detail":[{"loc":["body"],"msg":"no"}]}'),
    "500 in plain text": lambda _: Answer(
        status=500, headers={"Content-Type": "text/plain"}, body=b"Internal Server Error"
    ),
    "HTML with 200": lambda _: Answer(status=200, body=b"<html>Please sign in</html>"),
    "half of a JSON document": lambda _: Answer(status=200, body=b'{"type":"FeatureCollection",'),
    "JSON of something else": lambda _: Answer(status=200, body=b'{"message":"quota"}'),
    "a list": lambda _: Answer(status=200, body=b"[]"),
    "no links": lambda _: Answer(status=200, body=b'{"type":"FeatureCollection","features":[]}'),
    "nothing": lambda _: Answer(status=200, body=b""),
    "a next page on another host": lambda kit: page(
        kit, tiny(), href="https://elsewhere.example/v1/search"
    ),
    "a next page without encryption": lambda kit: page(
        kit, tiny(), href=kit.sandbox.stac_url.replace("https", "http") + "search"
    ),
    "the same token twice": lambda kit: page(kit, tiny(), rel="next"),
    "an empty page with a next link": lambda kit: page(kit, rel="next"),
}


@pytest.mark.long
def test_doubtful_listing_moves_no_watermark(kit: Kit) -> None:
    old, new = tiny(20), tiny(27)
    kit.sandbox.publish(old)
    assert kit.cycle().exit_code == 0
    before = watermarks(kit)
    kit.sandbox.publish(new)
    for name, answer in FAULTY.items():
        kit.sandbox.stac_proxy.inject(Fault(path=SEARCH, answer=answer(kit), times=None))
        result = kit.cycle()
        assert (result.exit_code, len(result.poll_errors)) == (3, 2), name
        printed = str(result.poll_errors[0])
        assert "tried again" in printed or "check catalog.url" in printed, name
        assert watermarks(kit) == before, name
        assert all(cursor.error for cursor in kit.mirror().ledger.cursors.all()), name
        kit.sandbox.stac_proxy.reset()
    assert kit.states()[old.id] == "archived"
    assert kit.cycle().exit_code == 0
    assert not any(cursor.error for cursor in kit.mirror().ledger.cursors.all())
    kit.assert_current(old, new)


@pytest.mark.long
@pytest.mark.parametrize("cut", ["reset", "close", "shorten"])
def test_broken_error_response_stops_no_next_request(kit: Kit, cut: Cut) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    crash = Answer(status=500, headers={"Content-Type": "text/plain"}, body=b"Internal Server")
    fault = Fault(path=SEARCH, answer=crash, cut_after_bytes=4, cut=cut)
    kit.sandbox.stac_proxy.inject(fault)
    assert kit.cycle().exit_code == 0
    kit.assert_current(product)


@pytest.mark.long
def test_page_limit_ends_an_endless_listing(kit: Kit) -> None:
    kit.sections["catalog"] = "page_size = 1\nmax_pages = 3"
    old, *new_products = [tiny(day) for day in (20, 21, 22, 23, 24)]
    kit.sandbox.publish(old)
    kit.cycle()
    before = watermarks(kit)
    kit.sandbox.publish(new_products)
    result = kit.cycle()
    assert result.exit_code == 3
    assert "more than 3 pages; raise catalog.max_pages" in str(result.poll_errors[0])
    assert watermarks(kit) == before
    kit.sections["catalog"] = "page_size = 1"
    assert kit.cycle().exit_code == 0
    kit.assert_current(old, *new_products)


@pytest.mark.long
def test_listing_cut_between_pages_is_repeated(kit: Kit) -> None:
    kit.sections["catalog"] = "page_size = 1"
    kit.areas = kit.areas.replace('"sentinel-2-l1c", ', "")
    old, *new_products = [tiny(day) for day in (20, 21, 22)]
    kit.sandbox.publish(old)
    kit.cycle()
    before = watermarks(kit)
    kit.sandbox.publish(new_products)
    kit.sandbox.stac_proxy.reset()
    busy = Answer(status=503)
    kit.sandbox.stac_proxy.inject(Fault(path=SEARCH, skip=2, answer=busy, times=None))
    result = kit.cycle()
    assert result.exit_code == 3
    assert watermarks(kit) == before
    assert len(kit.states()) == 2, "what was listed so far is known"
    kit.sandbox.stac_proxy.reset()
    kit.cycle()
    kit.assert_current(old, *new_products)


def busy(retry_after: str) -> Fault:
    return Fault(path=SEARCH, answer=Answer(status=429, headers={"Retry-After": retry_after}))


@pytest.mark.long
def test_retry_after_in_seconds_is_respected(kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    kit.sandbox.stac_proxy.inject(busy("4"))
    assert kit.cycle().exit_code == 0
    first, again, *_ = kit.sandbox.stac_proxy.traffic.matching(SEARCH)
    assert again.started - first.started >= 4
    kit.assert_current(product)


@pytest.mark.long
def test_retry_after_as_date_is_respected(kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    mirror, until = kit.mirror(), int(time.time()) + 5
    kit.sandbox.stac_proxy.inject(busy(email.utils.formatdate(until, usegmt=True)))
    mirror.poller().poll(mirror.searches[0], StopFlag())
    assert time.time() >= until
    assert kit.cycle().exit_code == 0
    kit.assert_current(product)


@pytest.mark.long
def test_unparsable_item_is_recorded_and_stops_nothing(kit: Kit) -> None:
    good, *bad = [tiny(day) for day in (20, 21, 22, 23, 24)]
    for product, change in zip(bad, SPOILT.values(), strict=True):
        item = copy.deepcopy(dict(product.item))
        change(item)
        kit.sandbox.publish(replace(product, item=item))
    kit.sandbox.publish(good)
    result = kit.cycle()
    assert result.exit_code == 1, "these are not held"
    assert result.archived == [good.id]
    rejected = {item.id: item.reason for item in kit.mirror().unusable()}
    assert sorted(rejected) == sorted(product.id for product in bad)
    assert [rejected[product.id] for product in bad] == list(SPOILT)
    printed = kit.faults()
    assert [any(product.id in fault for fault in printed) for product in bad] == [True] * 4
    kit.sandbox.publish(bad)
    assert kit.cycle().exit_code == 0
    kit.assert_current(good, *bad)


def _no_links(item: dict[str, Any]) -> None:
    item["links"] = []
    for asset in item["assets"].values():
        asset["href"] = "https://example.org/file"


SPOILT: dict[str, Callable[[dict[str, Any]], Any]] = {
    "its platform is 'landsat-9'; expected sentinel-2a, -2b, …": lambda item: item[
        "properties"
    ].update(platform="landsat-9"),
    "none of its links and assets points to its folder in the S3 store": _no_links,
    "it has no 'published' time": lambda item: [
        item["properties"].pop(name) for name in ("published", "created", "updated")
    ],
    "it is malformed: month must be in 1..12": lambda item: item["properties"].update(
        published="2026-13-27T10:20:31Z"
    ),
}


@pytest.mark.long
def test_failed_search_does_not_stop_another(kit: Kit) -> None:
    l1c, l2a = tiny(20, level="L1C"), tiny(20)
    kit.sandbox.publish([l1c, l2a])
    kit.sandbox.stac_proxy.inject(Fault(path=SEARCH, answer=Answer(status=400)))
    result = kit.cycle()
    assert (result.exit_code, result.archived) == (3, [l2a.id])
    kit.cycle()
    kit.assert_current(l1c, l2a)


@pytest.mark.long
def test_unreachable_catalog_stops_no_known_download(
    kit: Kit,
) -> None:
    kit.sections["download"] = 'backoff = "1 h"\ntries_per_file = 1'
    product = tiny()
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(answer=Answer(status=503)))
    assert kit.cycle().remaining
    kit.sandbox.stac_proxy.inject(Fault(answer=Answer(status=503), times=None))
    result = kit.cycle(kit.later(hours=2))
    assert (result.exit_code, result.archived) == (3, [product.id])
    kit.sandbox.stac_proxy.reset()
    kit.assert_current(product)


@pytest.mark.long
def test_overlap_finds_publication_behind_the_watermark(kit: Kit) -> None:
    newest = tiny(27)
    kit.sandbox.publish(newest)
    kit.cycle()
    late = tiny(3, published_at=SENSED_AT - timedelta(hours=30))
    kit.sandbox.publish(late)
    assert kit.cycle().archived == [late.id]
    kit.assert_current(newest, late)


@pytest.mark.long
def test_first_product_of_empty_search_is_found(kit: Kit) -> None:
    kit.cycle()
    first, second = tiny(20), tiny(21)
    kit.sandbox.publish(first)
    assert kit.cycle().archived == [first.id]
    kit.sandbox.publish(second)
    assert kit.cycle().archived == [second.id]
    kit.assert_current(first, second)


@pytest.mark.long
def test_many_items_of_one_instant_are_found(kit: Kit) -> None:
    kit.sections["catalog"] = "page_size = 2"
    first = tiny(1)
    kit.sandbox.publish(first)
    kit.cycle()
    same = [tiny(day, published_at=SENSED_AT) for day in range(10, 17)]
    kit.sandbox.publish(same)
    assert kit.cycle().exit_code == 0
    kit.assert_current(first, *same)


@pytest.mark.long
def test_emptied_catalog_removes_nothing(kit: Kit) -> None:
    products = [tiny(day) for day in range(10, 17)]
    kit.sandbox.publish(products)
    kit.cycle()
    before = watermarks(kit)
    kit.sandbox.stac_proxy.inject(Fault(path=SEARCH, answer=page(kit), times=None))
    result = kit.cycle()
    assert result.gone == ()
    assert watermarks(kit) == before
    kit.sandbox.stac_proxy.reset()
    kit.assert_current(*products)
