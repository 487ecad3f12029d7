import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pystac_client
import pytest

from s2mirror.sandbox import ProductSpec, Sandbox, SandboxProduct, make_item, make_product
from s2mirror.sandbox.query import parse_query
from s2mirror.sandbox.stac_catalog import OPENSEARCH, PGSTAC, SandboxCatalog

if TYPE_CHECKING:
    from conftest import Client

START = datetime(2026, 10, 1, tzinfo=UTC)
L2A, L1C = "sentinel-2-l2a", "sentinel-2-l1c"


def lights(count: int, **changes: object) -> list[SandboxProduct]:
    """Return items sensed and published a minute apart, oldest first."""
    return [
        make_item(
            ProductSpec(**{"tile": "31UFS", "sensed_at": START + timedelta(minutes=n), **changes})
        )
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def listed(sandbox: Sandbox) -> list[SandboxProduct]:
    products = [*lights(45), *lights(5, level="L1C", tile="33UUP")]
    sandbox.publish(products)
    return products


@pytest.fixture
def _trusted(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(sandbox.ca_file))


def published(item: SandboxProduct) -> str:
    return str(item.item["properties"]["published"])


def at_least(time: str) -> dict[str, Any]:
    return {"op": ">=", "args": [{"property": "published"}, {"timestamp": time}]}


@pytest.mark.long
@pytest.mark.usefixtures("_trusted")
def test_pystac_client_searches_unchanged(sandbox: Sandbox, listed: list[SandboxProduct]) -> None:
    catalog = pystac_client.Client.open(sandbox.stac_url)
    search = catalog.search(
        collections=[L2A],
        bbox=[5.0, 50.8, 5.2, 51.0],
        datetime="2026-10-01",
        filter=at_least("2026-10-01T04:00:00Z"),
        sortby="+properties.published",
        limit=7,
    )
    found = [item.id for item in search.items()]
    assert found == [product.id for product in listed[:45]]
    assert {found.id for found in catalog.get_collections()} >= {L1C, L2A}


@pytest.mark.usefixtures("_trusted", "listed")
def test_pystac_client_pages_with_get(sandbox: Sandbox) -> None:
    catalog = pystac_client.Client.open(sandbox.stac_url)
    search = catalog.search(
        collections=[L2A],
        method="GET",
        limit=10,
        filter="published >= TIMESTAMP('2026-10-01T04:10:00Z')",
        filter_lang="cql2-text",
    )
    assert len({item.id for item in search.items()}) == 35


def test_paging_returns_each_item_once_newest_first(
    client: "Client", listed: list[SandboxProduct]
) -> None:
    expected = [product.id for product in reversed(listed[:45])]
    assert client.all_ids(collections=[L2A], limit=7) == expected


def test_token_names_last_item_and_previous_link_works(
    client: "Client", listed: list[SandboxProduct]
) -> None:
    first = client.search(collections=[L2A], limit=10).json()
    token = first["links"][0]["body"]["token"]
    assert token == f"next:{L2A}:{listed[35].id}"
    second = client.search(collections=[L2A], limit=10, token=token).json()
    back = next(link for link in second["links"] if link["rel"] == "previous")
    again = client.search(**back["body"]).json()
    assert [item["id"] for item in again["features"]] == [item["id"] for item in first["features"]]


def test_only_next_link_of_opensearch_has_its_token(
    client: "Client", sandbox: Sandbox, listed: list[SandboxProduct]
) -> None:
    assert listed
    sandbox.catalogue.backend = OPENSEARCH
    try:
        links = client.search(collections=[L2A], limit=10).json()["links"]
        token = links[0]["body"]["token"]
        second = client.search(collections=[L2A], limit=10, token=token).json()
        tokens = {link["rel"]: link.get("body", {}).get("token") for link in second["links"]}
        assert tokens["next"] not in (None, token)
        assert tokens["previous"] is tokens["self"] is None
    finally:
        sandbox.catalogue.backend = PGSTAC


def test_equal_sort_values_lose_no_items(client: "Client", listed: list[SandboxProduct]) -> None:
    sort = [{"field": "properties.platform", "direction": "desc"}]
    found = client.all_ids(collections=[L2A], sortby=sort, limit=4)
    assert sorted(found) == sorted(product.id for product in listed[:45])


def test_publication_while_paging_repeats_no_items(sandbox: Sandbox, client: "Client") -> None:
    sandbox.publish(lights(6, tile="20LLP"))
    area = {"intersects": {"type": "Point", "coordinates": [-64.3, -10.4]}, "limit": 3}
    first = client.search(**area).json()
    newest = replace(ProductSpec(tile="20LLP"), sensed_at=START + timedelta(days=1))
    sandbox.publish(make_item(newest))
    rest = client.all_ids(**first["links"][0]["body"])
    assert len({*rest, *(item["id"] for item in first["features"])}) == 6


def test_publication_appears_in_repeated_search(sandbox: Sandbox, client: "Client") -> None:
    area = {"intersects": {"type": "Point", "coordinates": [-64.3, -10.4]}, "limit": 100}
    before = client.ids(**area)
    product = make_item(ProductSpec(tile="20LLP", sensed_at=START + timedelta(days=9)))
    sandbox.publish(product)
    assert client.ids(**area) == [product.id, *before]
    sandbox.withdraw(product.id)
    assert client.ids(**area) == before


def test_times_with_fractions_compare_as_instants(sandbox: Sandbox, client: "Client") -> None:
    times = ["00.645", "00.645127", "00.9", "01"]
    specs = [
        ProductSpec(
            tile="10SEG",
            sensed_at=START + timedelta(hours=n),
            published_at=datetime.fromisoformat(f"2026-10-02T00:00:{text}+00:00"),
        )
        for n, text in enumerate(times)
    ]
    sandbox.publish([make_item(spec) for spec in specs])
    area = {"bbox": [-123.0, 37.0, -121.0, 38.0]}
    after = {
        "2026-10-02T00:00:00Z": 4,
        "2026-10-02T00:00:00.645127Z": 3,
        "2026-10-02T00:00:00.645128Z": 2,
        "2026-10-02T02:00:00.95+02:00": 1,
        "2026-10-02T00:00:01.000001Z": 0,
    }
    assert {s: len(client.ids(filter=at_least(s), **area)) for s in after} == after
    bare = {"op": ">=", "args": [{"property": "published"}, "2026-10-02T00:00:00Z"]}
    assert len(client.ids(filter=bare, **area)) == 4


def test_filter_on_unknown_property_matches_nothing(
    client: "Client", listed: list[SandboxProduct]
) -> None:
    clouds = {"op": "<=", "args": [{"property": "eo:cloud_cover"}, 12.5]}
    unknown = {"op": "=", "args": [{"property": "s2:mgrs_tile"}, "31UFS"]}
    assert len(client.ids(collections=[L2A], ids=[listed[0].id], filter=clouds)) == 1
    assert client.ids(collections=[L2A], filter=unknown) == []


@pytest.mark.parametrize(
    ("interval", "count"),
    [
        ("2026-10-01T00:00:00Z/2026-10-01T00:04:59Z", 5),
        ("../2026-10-01T00:01:30Z", 2),
        ("2026-10-01T00:43:00Z/..", 2),
        ("2026-10-01T00:03:00.025Z", 1),
    ],
)
def test_sensing_intervals_are_respected(
    client: "Client", listed: list[SandboxProduct], interval: str, count: int
) -> None:
    assert listed
    area = {"bbox": [5.0, 50.8, 5.2, 51.0]}
    assert len(client.ids(collections=[L2A], datetime=interval, limit=100, **area)) == count


@pytest.mark.parametrize(
    "body",
    [
        {"datetime": "2026-10-01"},
        {"datetime": "2026-10-01/2026-10-02"},
        {"datetime": "20261001T000000Z"},
        {"datetime": "2026-10-01T00:00:00"},
        {"datetime": "2026-10-02T00:00:00Z/2026-10-01T00:00:00Z"},
        {"limit": 0},
        {"limit": -5},
        {"limit": "many"},
        {"bbox": [1, 2, 3]},
        {"bbox": [0, 0, 1, 1], "intersects": {"type": "Point", "coordinates": [0, 0]}},
        {"intersects": {"type": "Polygon"}},
        {"filter": {"op": "frobnicate", "args": []}},
        {"filter": {"no": "cql2"}},
        {"sortby": [{"field": "datetime", "direction": "sideways"}]},
        {"collections": 5},
        {"query": {"eo:cloud_cover": {"lt": 50}}},
    ],
    ids=str,
)
def test_invalid_input_is_422(client: "Client", body: dict[str, Any]) -> None:
    answer = client.search(**body)
    assert answer.status_code == 422
    assert {"loc", "msg", "type"} == answer.json()["detail"][0].keys()


SQUARE = [[5.0, 50.8], [5.2, 50.8], [5.2, 51.0], [5.0, 51.0], [5.0, 50.8]]
BOW_TIE = [[5.0, 50.8], [5.2, 51.0], [5.2, 50.8], [5.0, 51.0], [5.0, 50.8]]
REPEATED = [*SQUARE[:2], *SQUARE[1:]]
HIGH = [[x, y, 420.0] for x, y in SQUARE]
POLAR = [[x, y + 40] for x, y in SQUARE]
REFUSED_RINGS = {
    "invalid shape: Self-intersection[5.1 50.9]": BOW_TIE,
    "duplicate consecutive coordinates at [5.2, 50.8]": REPEATED,
    "found 3 numbers in position [5.0, 50.8, 420.0], expected 2": HIGH,
    "invalid latitude 90.8; must be between -90.0 and 90.0": POLAR,
    "invalid LinearRing: the coordinates are not closed": SQUARE[:-1],
    "invalid LinearRing: 3 positions, expected 4 or more": SQUARE[:3],
}


@pytest.mark.parametrize("kind", ["Polygon", "MultiPolygon", "GeometryCollection"])
@pytest.mark.parametrize(("description", "ring"), REFUSED_RINGS.items(), ids=range(6))
def test_geometry_that_opensearch_refuses_is_400(
    client: "Client", kind: str, description: str, ring: list[list[float]]
) -> None:
    answer = client.search(intersects=geojson(kind, ring))
    assert answer.status_code == 400
    assert answer.json() == {"code": "RequestError", "description": description}


@pytest.mark.parametrize("kind", ["Polygon", "MultiPolygon", "GeometryCollection"])
def test_valid_geometry_finds_its_items(
    client: "Client", listed: list[SandboxProduct], kind: str
) -> None:
    assert len(client.all_ids(collections=[L2A], intersects=geojson(kind, SQUARE))) == 45
    assert listed


def test_overlapping_parts_are_400(client: "Client") -> None:
    shifted = [[x + 0.1, y] for x, y in SQUARE]
    parts = {"type": "MultiPolygon", "coordinates": [[SQUARE], [shifted]]}
    assert client.search(intersects=parts).status_code == 400


def test_invalid_ring_in_get_search_is_400(client: "Client") -> None:
    ring = json.dumps(geojson("Polygon", BOW_TIE))
    assert client.get("search", intersects=ring).status_code == 400


def geojson(kind: str, ring: list[list[float]]) -> dict[str, Any]:
    polygon = {"type": "Polygon", "coordinates": [ring]}
    if kind == "GeometryCollection":
        return {"type": kind, "geometries": [polygon]}
    return polygon if kind == "Polygon" else {"type": kind, "coordinates": [[ring]]}


def test_invalid_json_is_422(client: "Client") -> None:
    url = f"{client.sandbox.stac_url}search"
    assert client.session.post(url, data=b"{", timeout=30).status_code == 422


def test_unknown_collection_returns_empty_result(client: "Client") -> None:
    answer = client.search(collections=["sentinel-2-l9z"])
    assert answer.status_code == 200
    assert answer.json() == {
        "type": "FeatureCollection",
        "links": [
            {"rel": "root", "type": "application/json", "href": client.sandbox.stac_url},
            {
                "rel": "self",
                "type": "application/json",
                "href": f"{client.sandbox.stac_url}search",
            },
        ],
        "features": [],
        "numberReturned": 0,
    }
    assert client.get("collections/sentinel-2-l9z").status_code == 404


def test_result_cap_ends_listing_without_error(sandbox: Sandbox, client: "Client") -> None:
    sandbox.catalogue.result_cap = 12
    found = client.all_ids(collections=[L2A], limit=5)
    sandbox.catalogue.result_cap = None
    assert len(found) == 12


def test_token_of_removed_item_fails_or_restarts(sandbox: Sandbox, client: "Client") -> None:
    sandbox.publish(lights(4, tile="56HLH"))
    area = {"bbox": [150.0, -34.5, 152.0, -33.0], "limit": 2}
    first = client.search(**area).json()
    body = first["links"][0]["body"]
    sandbox.withdraw(first["features"][-1]["id"])
    assert client.search(**body).status_code == 500
    sandbox.catalogue.restart_on_dead_token = True
    assert len(client.search(**body).json()["features"]) == 2
    sandbox.catalogue.restart_on_dead_token = False


def test_fields_limit_the_response(client: "Client", listed: list[SandboxProduct]) -> None:
    chosen = {"include": ["properties.published", "assets.Product"]}
    item = client.search(ids=[listed[0].id], fields=chosen).json()["features"][0]
    assert item.keys() == {"id", "collection", "properties", "assets"}
    assert item["properties"] == {"published": published(listed[0])}
    without = client.search(ids=[listed[0].id], fields={"exclude": ["assets"]})
    assert "assets" not in without.json()["features"][0]


def test_landing_page_has_conformance_of_cdse(client: "Client") -> None:
    landing = client.get("").json()
    assert landing["id"] == "cdse-stac"
    assert "https://api.stacspec.org/v1.0.0-rc.2/item-search#filter" in landing["conformsTo"]
    searches = [link for link in landing["links"] if link["rel"] == "search"]
    assert [link["method"] for link in searches] == ["GET", "POST"]
    assert client.get(f"collections/{L2A}").json()["type"] == "Collection"
    schema = client.get(f"collections/{L2A}/queryables").json()
    assert schema["properties"]["published"]["format"] == "date-time"


def test_responses_are_compressed_on_request(
    client: "Client", listed: list[SandboxProduct]
) -> None:
    assert listed
    asked = {"Accept-Encoding": "gzip"}
    url = f"{client.sandbox.stac_url}search"
    answer = client.session.post(url, json={"limit": 20}, headers=asked, stream=True, timeout=30)
    assert answer.headers["content-encoding"] == "gzip"
    assert len(gzip.decompress(answer.raw.read())) > 20 * 4000


@pytest.mark.long
def test_item_has_own_links_and_links_of_api(sandbox: Sandbox, client: "Client") -> None:
    product = make_product(ProductSpec(tile="18TWL"))
    sandbox.publish(product)
    item = client.get(f"collections/{L2A}/items/{product.id}").json()
    rels = [link["rel"] for link in item["links"]]
    assert rels == ["collection", "parent", "root", "self", "enclosure", "version-history"]
    assert {**item, "links": 0} == {**product.item, "links": 0, "geometry": item["geometry"],
                                    "bbox": item["bbox"]}  # fmt: skip


@pytest.mark.long
def test_sandbox_records_requests_to_catalog(sandbox: Sandbox, client: "Client") -> None:
    sandbox.requests.clear()
    client.search(limit=1)
    client.get("search", limit=2)
    seen = [
        (request.method, request.path, request.query, request.body) for request in sandbox.requests
    ]
    assert seen == [
        ("POST", "/v1/search", "", {"limit": 1}),
        ("GET", "/v1/search", "limit=2", None),
    ]


@pytest.mark.long
def test_twenty_five_thousand_items_are_paged() -> None:
    catalog = SandboxCatalog()
    model = make_item(ProductSpec()).item
    catalog.put(
        {
            **model,
            "id": f"{n}",
            "properties": {
                **model["properties"],
                "published": f"2026-{n % 9 + 1:02d}-{n % 28 + 1:02d}T00:00:00.{n:06d}Z",
            },
        }
        for n in range(25_000)
    )
    search = {"filter": at_least("2026-03-05T00:00:00Z"), "sortby": "+published", "limit": 1000}
    began, pages, token = datetime.now(UTC), 0, ""
    while pages == 0 or token:
        token = catalog.search(parse_query({**search, "token": token})).next_token
        pages += 1
    assert pages > 15
    assert (datetime.now(UTC) - began).total_seconds() < 60
