"""Both backends of CDSE's catalog, and its answers, written by hand from records of late 2026."""

import json
from typing import Any, Final

import pytest
from adapters_builders import catalog, query
from test_catalog import fill

from s2mirror.sandbox import Answer, Fault, ProductSpec, Sandbox, make_item
from s2mirror.sandbox.stac_catalog import OPENSEARCH, PGSTAC

L1C, L2A = "sentinel-2-l1c", "sentinel-2-l2a"
RECORDED_HOST: Final = "https://stac.dataspace.copernicus.eu/v1/"
RECORDED_NEXT: Final = {
    "rel": "next",
    "method": "POST",
    "href": f"{RECORDED_HOST}search",
    "body": {
        "collections": [L1C],
        "limit": 2,
        "token": "next:sentinel-2-l1c:S2B_MSIL1C_20240726T091559_N0511_R093_T34SEH_20240726T112439",
    },
}
RECORDED_COLLECTIONS: Final = (
    *(f"ccm-{number:03d}" for number in range(120)),
    *(f"clms_{number:03d}" for number in range(150)),
    *(f"sentinel-{number:03d}" for number in range(147)),
    *(L1C, L2A),
)


def item_of(name: str, collection: str = L1C) -> dict[str, Any]:
    return {"type": "Feature", "id": name, "collection": collection}


def answers(sandbox: Sandbox, path: str, *documents: dict[str, Any]) -> None:
    """Have the catalog send recorded documents, one after the other, from its own address."""
    for document in documents:
        body = json.dumps(document).replace(RECORDED_HOST, sandbox.stac_url).encode()
        found = Answer(status=200, body=body, headers={"Content-Type": "application/geo+json"})
        sandbox.stac_proxy.inject(Fault(path=path, answer=found))


def test_recorded_next_body_is_the_whole_question(sandbox: Sandbox) -> None:
    first = {
        "type": "FeatureCollection",
        "numberReturned": 2,
        "features": [
            item_of("S2A_MSIL1C_20240731T092031_N0511_R093_T34SEH_20240731T112239"),
            item_of("S2B_MSIL1C_20240726T091559_N0511_R093_T34SEH_20240726T112439"),
        ],
        "links": [{"rel": "self", "href": f"{RECORDED_HOST}search"}, RECORDED_NEXT],
    }
    listed = make_item(ProductSpec(level="L1C"))
    sandbox.publish(make_item(ProductSpec(level="L1C", tile="34SEH")))
    sandbox.publish(listed)
    answers(sandbox, "/search", first)
    # The sandbox does not know the item of the recorded token.
    sandbox.catalogue.restart_on_dead_token = True
    pages = list(catalog(sandbox, page_size=2).search(query(collection=L1C)))
    assert [page.item_count for page in pages] == [2, 2]
    assert [request.body for request in sandbox.requests if "token" in request.body] == [
        RECORDED_NEXT["body"]
    ]


@pytest.mark.parametrize("backend", [PGSTAC, OPENSEARCH])
def test_listing_is_complete_from_both_backends(sandbox: Sandbox, backend: str) -> None:
    sandbox.catalogue.backend = backend
    fill(sandbox, 7)
    pages = list(catalog(sandbox, page_size=3).search(query()))
    assert [page.item_count for page in pages] == [3, 3, 1]
    first, second, third = [request.body for request in sandbox.requests]
    last = pages[0].products[-1].id
    assert first == {k: v for k, v in second.items() if k != "token"}
    assert (second["token"] == f"next:{L2A}:{last}") == (backend == PGSTAC)
    assert second["token"] != third["token"]


@pytest.mark.parametrize(
    ("backend", "items", "words"),
    [
        (PGSTAC, 2, "pgstac, to judge by its paging tokens"),
        (OPENSEARCH, 2, "not pgstac, to judge by its paging tokens; perhaps OpenSearch"),
        (PGSTAC, 1, "of unknown kind, as it sent no paging token"),
    ],
)
def test_backend_is_named_by_its_paging_tokens(
    sandbox: Sandbox, backend: str, items: int, words: str
) -> None:
    sandbox.catalogue.backend = backend
    fill(sandbox, items)
    assert catalog(sandbox).backend(L2A) == words


def test_all_collections_are_read_in_three_requests(sandbox: Sandbox) -> None:
    found = catalog(sandbox).collections()
    assert len(found) == 419
    assert {L1C, L2A} <= found
    assert [request.query for request in sandbox.requests] == [
        "limit=200",
        "limit=200&offset=200",
        "limit=200&offset=400",
    ]


def test_recorded_collections_with_scalar_summaries_are_read(sandbox: Sandbox) -> None:
    assert len(RECORDED_COLLECTIONS) == 419
    assert not [name for name in RECORDED_COLLECTIONS[:200] if name.startswith("sentinel-")]
    pages = []
    for start in (0, 200, 400):
        names = RECORDED_COLLECTIONS[start : start + 200]
        after = f"{RECORDED_HOST}collections?limit=200&offset={start + 200}"
        links = [] if start == 400 else [{"rel": "next", "href": after}]
        found = [{"id": name, "summaries": {"gsd": 10}, "extent": None} for name in names]
        pages.append({"collections": found, "links": links, "numberMatched": 419})
    answers(sandbox, "/collections", *pages)
    assert catalog(sandbox).collections() == set(RECORDED_COLLECTIONS)
