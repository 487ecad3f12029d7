import gzip
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from adapters_builders import catalog, deaf_port, query
from hostile_server import HostileServer, whole

from s2mirror.errors import CatalogError, CatalogUnavailable
from s2mirror.sandbox import Answer, Fault, ProductSpec, Sandbox, make_item, make_product

SENSED_AT = datetime(2026, 5, 1, 10, 20, 31, tzinfo=UTC)
DAY = timedelta(days=1)


def fill(sandbox: Sandbox, count: int) -> None:
    specs = [ProductSpec(sensed_at=SENSED_AT + timedelta(days=n)) for n in range(count)]
    sandbox.catalogue.put(sandbox.stac.served(make_item(spec).item) for spec in specs)


def answer(sandbox: Sandbox, document: object, *, skip: int = 0, status: int = 200) -> None:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    headers = {"Content-Type": "application/geo+json"}
    found = Answer(status=status, body=body, headers=headers)
    sandbox.stac_proxy.inject(Fault(path="search", skip=skip, answer=found, times=None))


def page(*links: dict[str, Any], features: Any = ()) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    return {"type": "FeatureCollection", "features": list(features), "links": list(links)}


def next_link(href: str, **body: object) -> dict[str, Any]:
    return {"rel": "next", "href": href, "method": "POST", "body": body}


def doubt(sandbox: Sandbox, **changes: Any) -> CatalogError:  # noqa: ANN401 - StacOptions' fields
    with pytest.raises(CatalogError) as caught:
        list(catalog(sandbox, **changes).search(query()))
    return caught.value


FEATURE = {"type": "Feature", "id": "x"}


def test_next_page_on_another_host_is_not_followed(sandbox: Sandbox) -> None:
    answer(sandbox, page(next_link("https://elsewhere.example/v1/search"), features=[FEATURE]))
    assert str(doubt(sandbox)) == (
        "the catalog's next page is on another host (elsewhere.example); "
        "not followed. The listing is incomplete and will be tried again"
    )


def test_repeated_paging_token_ends_the_listing(sandbox: Sandbox) -> None:
    link = next_link(f"{sandbox.stac_url}search", token="next:1")  # noqa: S106 - a paging token
    answer(sandbox, page(link, features=[FEATURE]))
    assert str(doubt(sandbox, max_pages=5)) == (
        "the catalog gave the same paging token twice; "
        "the listing is incomplete and will be tried again"
    )


def test_too_many_pages_end_the_listing(sandbox: Sandbox) -> None:
    fill(sandbox, 7)
    assert str(doubt(sandbox, page_size=2, max_pages=3)) == (
        "the listing has more than 3 pages; raise catalog.max_pages or split the area"
    )
    assert len(list(catalog(sandbox, page_size=2, max_pages=4).search(query()))) == 4


def test_empty_page_with_next_link_is_rejected(sandbox: Sandbox) -> None:
    answer(sandbox, page(next_link(f"{sandbox.stac_url}search", token="x")))  # noqa: S106 - a paging token
    assert "the catalog sent a foreign document" in str(doubt(sandbox))


@pytest.mark.parametrize(
    "document",
    [
        b"<html>Please log in</html>",
        b"",
        b'{"type": "FeatureCollection", "feat',
        b"[" * 100_000,
        b"\xff\xfe",
        [],
        "text",
        {},
        {"type": "FeatureCollection"},
        {"type": "FeatureCollection", "features": None, "links": []},
        {"type": "FeatureCollection", "features": [], "links": {}},
        {"type": "FeatureCollection", "features": [], "links": ["next"]},
        {"type": "FeatureCollection", "features": [FEATURE], "links": [None]},
        {"type": "FeatureCollection", "features": [FEATURE], "links": [{"rel": "next"}]},
    ],
    ids=lambda value: str(value)[:40],
)
def test_foreign_response_is_never_a_complete_listing(sandbox: Sandbox, document: object) -> None:
    answer(sandbox, document)
    assert str(doubt(sandbox)).endswith("will be tried again")


@pytest.mark.parametrize(
    "document", [{"collections": [{}], "links": []}, {"collections": ["x"], "links": []}]
)
def test_malformed_collections_are_a_foreign_response(sandbox: Sandbox, document: object) -> None:
    body = json.dumps(document).encode()
    sandbox.stac_proxy.inject(Fault(path="collections", answer=Answer(status=200, body=body)))
    with pytest.raises(CatalogError):
        catalog(sandbox).collections()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_busy_catalog_is_a_transient_error(sandbox: Sandbox, status: int) -> None:
    answer(sandbox, b"busy", status=status)
    error = doubt(sandbox)
    assert type(error) is CatalogUnavailable
    assert error.transient
    assert f"{sandbox.stac_url} answered {status}" in str(error)
    assert str(error).endswith("will be tried again")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_rejected_request_is_not_transient(sandbox: Sandbox, status: int) -> None:
    answer(sandbox, {"code": "no", "description": "bad filter"}, status=status)
    error = doubt(sandbox)
    assert type(error) is CatalogError
    assert not error.transient
    assert f"answered {status}" in str(error)
    assert str(error).endswith("check catalog.url and the area's settings, or report it")


def test_short_outage_is_retried_within_one_listing(sandbox: Sandbox) -> None:
    fill(sandbox, 3)
    busy = Answer(status=503)
    sandbox.stac_proxy.inject(Fault(method="POST", skip=1, times=2, answer=busy))
    pages = list(catalog(sandbox, page_size=2, tries=3).search(query()))
    assert [found.item_count for found in pages] == [2, 1]


@pytest.mark.parametrize("asked", ["0", "Wed, 21 Oct 2015 07:28:00 GMT", "soon", "-5"])
def test_retry_after_is_parsed_or_ignored(sandbox: Sandbox, asked: str) -> None:
    busy = Answer(status=429, headers={"Retry-After": asked})
    sandbox.stac_proxy.inject(Fault(method="POST", answer=busy))
    assert list(catalog(sandbox, tries=2).search(query())) == []


def test_retry_after_in_seconds_delays_the_retry(sandbox: Sandbox) -> None:
    busy = Answer(status=429, headers={"Retry-After": "1"})
    sandbox.stac_proxy.inject(Fault(method="POST", answer=busy))
    began = time.monotonic()
    list(catalog(sandbox, tries=2).search(query()))
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize("cut", ["reset", "close"])
def test_cut_response_is_no_complete_listing(sandbox: Sandbox, cut: str) -> None:
    fill(sandbox, 3)
    sandbox.stac_proxy.inject(Fault(method="POST", cut_after_bytes=300, cut=cut, times=None))  # type: ignore[arg-type]
    assert isinstance(doubt(sandbox), CatalogError)


def test_unreachable_catalog_is_a_transient_error(sandbox: Sandbox) -> None:
    with deaf_port() as port:
        error = doubt(sandbox, url=f"https://127.0.0.1:{port}/v1/")
    assert type(error) is CatalogUnavailable
    assert str(error).startswith(f"cannot reach the catalog https://127.0.0.1:{port}/v1/: ")


def test_silent_catalog_times_out(sandbox: Sandbox) -> None:
    sandbox.stac_proxy.inject(Fault(method="POST", silent=True))
    assert type(doubt(sandbox, timeout_seconds=0.3)) is CatalogUnavailable


def test_private_ca_is_needed_and_sufficient(sandbox: Sandbox) -> None:
    assert isinstance(doubt(sandbox, ca_file=None), CatalogError)
    assert list(catalog(sandbox).search(query())) == []


def test_server_time_is_read_from_date_header(sandbox: Sandbox) -> None:
    result = catalog(sandbox).server_time()
    assert abs(result - datetime.now(UTC)) < timedelta(seconds=30)


def test_unusable_item_does_not_end_the_listing(sandbox: Sandbox) -> None:
    good = sandbox.stac.served(make_item(ProductSpec()).item)
    answer(sandbox, page(features=[FEATURE, good]))
    (found,) = catalog(sandbox).search(query())
    assert [product.id for product in found.products] == [good["id"]]
    assert [rejected.id for rejected in found.rejected] == ["x"]


def test_sensing_interval_is_sent_to_the_microsecond(sandbox: Sandbox) -> None:
    moment = SENSED_AT.replace(microsecond=999_999)
    list(catalog(sandbox).search(query(sensed_from=SENSED_AT, sensed_until=moment)))
    asked = sandbox.requests[-1].body
    assert asked is not None
    assert asked["datetime"] == "2026-05-01T10:20:31Z/2026-05-01T10:20:31.999999Z"


def real_size(sandbox: Sandbox, count: int) -> list[dict[str, Any]]:
    """Return items as large as CDSE's."""
    specs = [ProductSpec(sensed_at=SENSED_AT - n * DAY, scale=0.0001) for n in range(count)]
    return [dict(sandbox.stac.served(make_product(spec).item)) for spec in specs]


def test_item_without_usual_links_is_requested_whole(
    sandbox: Sandbox,
) -> None:
    usual, odd = real_size(sandbox, 2)
    odd["assets"] = {"B02_10m": odd["assets"]["B02_10m"]}
    odd["links"] = [link for link in odd["links"] if link["rel"] != "enclosure"]
    sandbox.catalogue.put([usual, odd])
    (found,) = catalog(sandbox).search(query())
    assert [product.id for product in found.products] == [usual["id"], odd["id"]]
    assert [request.method for request in sandbox.requests] == ["POST", "POST"]


@pytest.mark.long
def test_search_requests_only_the_fields_it_uses(sandbox: Sandbox) -> None:
    whole = real_size(sandbox, 20)
    sandbox.catalogue.put(whole)
    (found,) = catalog(sandbox, page_size=20).search(query())
    assert len(found.products) == 20
    (short,) = sandbox.stac_proxy.traffic.matching("search")
    assert short.sent_bytes < len(json.dumps(whole)) / 20


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_to_another_host_is_no_empty_listing(sandbox: Sandbox, status: int) -> None:
    with HostileServer([whole(json.dumps(page()).encode())]).running() as elsewhere:
        moved = Answer(status=status, headers={"Location": elsewhere.url})
        sandbox.stac_proxy.inject(Fault(answer=moved, times=None))
        error = doubt(sandbox)
    assert isinstance(error, CatalogUnavailable)
    assert f"redirects to {elsewhere.url}, which is not followed" in str(error)
    assert elsewhere.requests == []


def test_slow_page_ends_at_the_deadline(sandbox: Sandbox) -> None:
    sandbox.stac_proxy.inject(Fault(bytes_per_second=100, times=None))
    fill(sandbox, 1)
    error = doubt(sandbox, timeout_seconds=0.5)
    assert "sent an unusable response: the response was not complete within 2 s" in str(error)


def test_compressed_page_of_gigabytes_is_refused(sandbox: Sandbox) -> None:
    bomb = gzip.compress(bytes(20 * 1024**2))
    zipped = Answer(status=200, headers={"Content-Encoding": "gzip"}, body=bomb)
    sandbox.stac_proxy.inject(Fault(answer=zipped, times=None))
    assert "the response has more than 16777216 B" in str(doubt(sandbox))


@pytest.mark.parametrize(
    "change",
    [{"method": 5}, {"method": "DELETE"}, {"body": []}, {"headers": 7}, {"href": "http://["}],
    ids=str,
)
def test_odd_next_link_is_a_catalog_error(sandbox: Sandbox, change: Any) -> None:  # noqa: ANN401 - any JSON
    answer(sandbox, page(next_link(f"{sandbox.stac_url}search") | change, features=[FEATURE]))
    assert "will be tried again" in str(doubt(sandbox))


def test_unusable_item_with_an_odd_id_is_rejected(sandbox: Sandbox) -> None:
    answer(sandbox, page(features=[{"id": ["x"]}, {"id": {"a": 1}}, {"id": None}, FEATURE]))
    (found,) = catalog(sandbox).search(query())
    assert [item.id for item in found.rejected] == ["['x']", "{'a': 1}", "(no id)", "x"]


def test_page_of_more_items_than_requested_is_refused(sandbox: Sandbox) -> None:
    answer(sandbox, page(features=[7] * 10_001))
    assert "the catalog sent a foreign document" in str(doubt(sandbox))
