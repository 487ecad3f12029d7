"""Listings of any size, from a catalog that truncates, shifts, repeats and changes pages."""

import email.utils
import hashlib
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from discovery_kit import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    FakeCatalog,
    Watch,
    catalog_of,
    ids,
    product,
    put,
    thin,
    watch_of,
)

from s2mirror.errors import CatalogError
from s2mirror.model import CatalogQuery, Deletion, Page, Product
from s2mirror.sandbox import Answer, Fault, Sandbox
from s2mirror.steps.listing import Windows

SEARCH = r"/v1/search"


def asked_from(sandbox: Sandbox) -> list[str]:
    """Return the sensing period of every search of the catalog, in order."""
    return [found.body["datetime"] for found in sandbox.requests if found.method == "POST"]


@pytest.mark.long
def test_listing_truncated_at_10000_finds_all_25000(watch: Watch, sandbox: Sandbox) -> None:
    items = [thin(NOW - n * 30 * MINUTE) for n in range(25_000)]
    put(sandbox, items)
    sandbox.catalogue.result_cap = 10_000
    watch.catalog = catalog_of(sandbox, page_items=1000)
    result = watch.poll()
    assert watch.known == ids(items)
    assert len(result.new_ids) == 25_000
    assert len(sandbox.requests) < 30


def test_listing_by_publication_passes_the_truncation_too(tmp_path: Path) -> None:
    catalog = FakeCatalog(page_items=10, cap=100)
    watch = watch_of(tmp_path, catalog, windows=Windows(items=40, cap_items=90))
    catalog.add(product(NOW - 9 * DAY))
    watch.poll()
    new_products = [product(NOW - n * HOUR, NOW - 5 * DAY + n * MINUTE, n) for n in range(250)]
    catalog.add(*new_products)
    assert len(watch.poll().new_ids) == 250
    assert watch.watermark == max(found.published_at for found in new_products)


class Shuffled(FakeCatalog):
    """Repeats the last items of every page on the next one, in another order."""

    def search(self, query: CatalogQuery) -> Iterator[Page]:
        before: tuple[Page, ...] = ()
        for page in super().search(query):
            again = [found for old in before for found in old.products][-3:]
            yield replace(page, products=(*page.products, *again)[::-1])
            before = (page,)


def test_shifted_and_repeated_pages_list_products_once(tmp_path: Path) -> None:
    catalog = Shuffled(page_items=10)
    catalog.add(*(product(NOW - n * HOUR) for n in range(95)))
    watch = watch_of(tmp_path, catalog)
    assert sorted(watch.poll().new_ids) == sorted(catalog.products)
    assert watch.known == set(catalog.products)


class Unsorted(FakeCatalog):
    """Ignores the requested order."""

    def _key(self, query: CatalogQuery, product: Product) -> tuple[Any, ...]:  # noqa: ARG002 - that is the point
        return (hashlib.sha256(product.id.encode()).digest(),)


def test_unordered_listing_is_not_divided(tmp_path: Path) -> None:
    catalog = Unsorted(page_items=10)
    catalog.add(*(product(NOW - n * HOUR) for n in range(95)))
    watch = watch_of(tmp_path, catalog, windows=Windows(items=30, cap_items=100))
    watch.poll()
    assert watch.known == set(catalog.products)


@pytest.mark.parametrize("order", ["sensing", "publication"])
def test_equal_times_at_window_edge_lose_nothing(tmp_path: Path, order: str) -> None:
    catalog = FakeCatalog(page_items=5)
    watch = watch_of(tmp_path, catalog, windows=Windows(items=10, cap_items=50))
    if order == "publication":
        catalog.add(product(NOW - 9 * DAY))
        watch.poll()
    catalog.add(
        *(product(NOW - n // 7 * HOUR, NOW - n // 7 * HOUR, number=n) for n in range(1, 100))
    )
    watch.poll()
    assert watch.known == set(catalog.products)


class Endless(FakeCatalog):
    """Always has a next page, which is the same again."""

    def search(self, query: CatalogQuery) -> Iterator[Page]:
        return itertools.cycle([next(super().search(query))])


@pytest.mark.long
@pytest.mark.parametrize("stamps", [1, 100], ids=["one stamp", "many stamps"])
def test_endless_listing_ends_and_moves_no_watermark(tmp_path: Path, stamps: int) -> None:
    catalog = Endless(page_items=100)
    catalog.add(*(product(NOW - (n % stamps) * HOUR, number=n) for n in range(100)))
    watch = watch_of(tmp_path, catalog)
    with pytest.raises(CatalogError, match="cannot be divided into windows"):
        watch.poll()
    assert watch.watermark is None


def test_too_many_items_of_one_time_raise(
    tmp_path: Path,
) -> None:
    catalog = FakeCatalog(page_items=10, cap=100)
    catalog.add(*(product(NOW - DAY, number=n) for n in range(120)))
    watch = watch_of(tmp_path, catalog, windows=Windows(items=40, cap_items=90))
    with pytest.raises(CatalogError, match="may have omitted others"):
        watch.poll()


@pytest.mark.parametrize(
    "pages", [pytest.param(1, marks=pytest.mark.long), 4, pytest.param(9, marks=pytest.mark.long)]
)
def test_crash_among_equal_publication_times_loses_nothing(
    watch: Watch, sandbox: Sandbox, pages: int
) -> None:
    first = thin(NOW - 5 * DAY)
    put(sandbox, [first])
    watch.poll()
    before = watch.watermark
    new_products = [thin(NOW - 2 * DAY - n * MINUTE, NOW - HOUR) for n in range(1000)]
    put(sandbox, new_products)
    assert watch.crash(after_page=pages) is None
    assert watch.watermark == before
    assert len(watch.known) == 100 * pages
    watch.poll()
    assert watch.known == ids([first, *new_products])
    assert watch.watermark == NOW - HOUR


@pytest.mark.long
def test_crash_among_equal_sensing_times_loses_nothing(
    tmp_path: Path,
) -> None:
    catalog = FakeCatalog(page_items=50)
    catalog.add(*(product(NOW - DAY - n * HOUR) for n in range(95)))
    catalog.add(*(product(NOW - 9 * DAY, number=n) for n in range(1000)))
    watch = watch_of(tmp_path, catalog, windows=Windows(items=100, cap_items=2000))
    assert watch.crash(after_page=2) is None
    assert watch.sweep().reached == NOW - 9 * DAY
    assert len(watch.known) == 100
    watch.poll()
    assert watch.known == set(catalog.products)


@pytest.mark.long
def test_item_inserted_while_paging_is_found(watch: Watch, sandbox: Sandbox) -> None:
    put(sandbox, [thin(NOW - n * HOUR) for n in range(5, 305)])
    ahead, behind = thin(NOW - 299 * HOUR, NOW), thin(NOW - 5 * HOUR, NOW, 1)
    result = watch.poll_between(1, lambda: put(sandbox, [ahead, behind]))
    assert ahead["id"] in result.new_ids
    assert watch.poll().new_ids == [behind["id"]]


@pytest.mark.long
def test_product_published_during_backfill_is_found(watch: Watch, sandbox: Sandbox) -> None:
    watch.overlap = timedelta()
    put(sandbox, [thin(NOW - n * HOUR) for n in range(5, 305)])
    missed = thin(NOW - 5 * HOUR, NOW - 20 * MINUTE, 1)
    shown = thin(NOW - 299 * HOUR, NOW - 10 * MINUTE)
    watch.poll_between(1, lambda: put(sandbox, [missed, shown]))
    assert shown["id"] in watch.known
    assert watch.poll().new_ids == [missed["id"]]
    assert watch.watermark == NOW - 10 * MINUTE


def test_interrupted_backfill_resumes_newest_first(watch: Watch, sandbox: Sandbox) -> None:
    items = [thin(NOW - n * HOUR) for n in range(1, 1001)]
    put(sandbox, items)
    watch.windows = Windows(items=200, cap_items=1000)
    assert watch.crash(after_page=4) is None
    assert watch.known == ids(items[:399]), "newest first, each window from the last stamp on"
    assert watch.crash(after_page=1) is None
    assert watch.ledger.cursors.all()[0].listed_at is None, "not complete yet"
    sandbox.requests.clear()
    result = watch.poll()
    assert result.sweep == "full"
    assert watch.known == ids(items)
    reached = f"{NOW - 399 * HOUR:%Y-%m-%dT%H:%M:%SZ}"
    sweeps = [found for found in asked_from(sandbox) if not found.endswith("..")]
    assert sweeps[0] == f"2015-01-01T00:00:00Z/{reached}"
    assert watch.ledger.cursors.all()[0].listed_at == NOW


@pytest.mark.long
def test_expired_paging_token_costs_no_product(watch: Watch, sandbox: Sandbox) -> None:
    first = thin(NOW - 30 * DAY)
    put(sandbox, [first])
    watch.poll()
    before = watch.watermark
    new_products = [thin(NOW - n * HOUR) for n in range(5, 305)]
    put(sandbox, new_products)
    oldest_first = sorted(new_products, key=lambda item: item["properties"]["published"])
    named = oldest_first[98]

    with pytest.raises(CatalogError, match="answered 500"):
        watch.poll_between(1, lambda: sandbox.withdraw(named["id"], keep_objects=True))
    assert watch.watermark == before
    watch.poll()
    assert watch.known == ids([first, *new_products])


def test_token_returning_the_first_page_is_detected(watch: Watch, sandbox: Sandbox) -> None:
    items = [thin(NOW - n * HOUR) for n in range(5, 305)]
    put(sandbox, items)
    sandbox.catalogue.restart_on_dead_token = True
    named = items[99]["id"]
    result = watch.poll_between(1, lambda: sandbox.withdraw(named, keep_objects=True))
    assert watch.known == ids(items)
    assert len(result.new_ids) == 300


@pytest.mark.parametrize("form", ["seconds", "date", "none"])
def test_too_many_requests_only_cost_time(watch: Watch, sandbox: Sandbox, form: str) -> None:
    item = thin(NOW - DAY)
    put(sandbox, [item])
    # A date has whole seconds.
    until = int(time.time()) + 2
    date = email.utils.formatdate(until, usegmt=True)
    headers = {"seconds": {"Retry-After": "1"}, "date": {"Retry-After": date}, "none": {}}
    busy = Answer(status=429, headers=headers[form])
    sandbox.stac_proxy.inject(Fault(path=SEARCH, answer=busy))
    watch.catalog = catalog_of(sandbox, tries=2)
    assert watch.poll().new_ids == [item["id"]]
    first, again = sandbox.stac_proxy.traffic.matching(SEARCH)
    assert again.started - first.started >= (form == "seconds")
    assert form != "date" or time.time() >= until


FOREIGN = {
    "a page of HTML": b"<html>Please sign in</html>",
    "a message": b'{"message":"quota exceeded"}',
    "half a document": b'{"type":"FeatureCollection","features":[{"id":',
    "an empty page that has a next one": json.dumps(
        {
            "type": "FeatureCollection",
            "features": [],
            "links": [{"rel": "next", "href": "https://localhost/v1/search"}],
        }
    ).encode(),
}


@pytest.mark.parametrize("body", FOREIGN.values(), ids=FOREIGN)
def test_foreign_response_with_200_changes_nothing(
    watch: Watch, sandbox: Sandbox, body: bytes
) -> None:
    put(sandbox, [thin(NOW - DAY)])
    watch.poll()
    before, known = watch.watermark, watch.known
    put(sandbox, [thin(NOW - HOUR)])
    answer = Answer(status=200, headers={"Content-Type": "application/geo+json"}, body=body)
    sandbox.stac_proxy.inject(Fault(path=SEARCH, answer=answer))
    with pytest.raises(CatalogError):
        watch.poll()
    assert (watch.watermark, watch.known) == (before, known)
    (cursor,) = watch.ledger.cursors.all()
    assert cursor.error
    watch.poll()
    (cursor,) = watch.ledger.cursors.all()
    assert cursor.error is None
    assert len(watch.known) == 2


@pytest.mark.long
def test_empty_catalog_is_implausible_after_5000_items(tmp_path: Path, sandbox: Sandbox) -> None:
    full = FakeCatalog(page_items=1000)
    full.add(*(product(NOW - n * HOUR, min(NOW - n * HOUR + 4 * HOUR, NOW)) for n in range(5000)))
    watch = watch_of(tmp_path, full)
    watch.poll()
    before = watch.watermark
    for later in (HOUR, 2 * DAY, 8 * DAY):
        watch.now = NOW + later
        with pytest.raises(CatalogError, match=r"lists nothing where \d+ products are known"):
            watch.poll(catalog=catalog_of(sandbox))
        assert watch.watermark == before
    assert watch.known == set(full.products)
    assert {str(state) for state in watch.ledger.products.counts()} == {"discovered"}
    assert "implausible" in str(watch.ledger.cursors.all()[0].error)


@pytest.mark.long
def test_sweep_listing_almost_nothing_is_not_complete(
    tmp_path: Path,
) -> None:
    catalog = FakeCatalog(page_items=100)
    catalog.add(*(product(NOW - DAY - n * HOUR) for n in range(2000)))
    watch = watch_of(tmp_path, catalog)
    watch.poll()
    watch.now, catalog.cap = NOW + 8 * DAY, 100
    with pytest.raises(CatalogError, match="lists 100 where 2000 products are known"):
        watch.poll()
    assert watch.sweep().completed_at == NOW
    catalog.cap = 10_000
    watch.poll()
    assert watch.sweep().completed_at == watch.now


def test_deleted_products_do_not_make_listing_implausible(tmp_path: Path) -> None:
    catalog = FakeCatalog()
    catalog.add(*(product(NOW - n * HOUR) for n in range(5, 25)))
    watch = watch_of(tmp_path, catalog)
    watch.poll()
    gone = [Deletion(product_id=name, deleted_at=NOW, cause="x") for name in catalog.products]
    catalog.products.clear()
    with pytest.raises(CatalogError):
        watch.poll()
    watch.ledger.deletions.record(gone)
    assert watch.poll().listed_count == 0
