"""The servers behave as the main job requires, and as CDSE's servers do."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import invented
import pytest
import requests
from botocore.exceptions import ClientError
from ceph import CephStore
from pgstac import PgStac
from pystac_client import Client

pytestmark = pytest.mark.servers

MEBIBYTE = 1 << 20


@pytest.fixture
def catalog(pgstac: PgStac) -> Iterator[PgStac]:
    yield pgstac
    pgstac.clear()


@pytest.fixture
def store(ceph: CephStore) -> Iterator[CephStore]:
    yield ceph
    ceph.clear()


def served(catalog: PgStac, item: dict[str, Any]) -> requests.Response:
    url = f"{catalog.url}/collections/{item['collection']}/items/{item['id']}"
    return requests.get(url, timeout=30)


def without_links(item: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in item.items() if field != "links"}


def real_samples() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    folder = os.environ.get("S2MIRROR_SAMPLES")
    if not folder:
        pytest.skip("set S2MIRROR_SAMPLES to a folder of real CDSE items to load them too")
    documents = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))]
    documents += [feature for page in documents for feature in page.get("features", [])]
    collections = [document for document in documents if document.get("type") == "Collection"]
    return collections, [document for document in documents if document.get("type") == "Feature"]


def refusal(error: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    answer = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def test_cdse_item_is_returned_as_published(catalog: PgStac) -> None:
    item = invented.item()
    catalog.load([invented.collection()], [item])
    answer = served(catalog, item).json()
    assert without_links(answer) == without_links(item)
    assert item["links"][0] in answer["links"]


def test_real_items_are_returned_as_published(catalog: PgStac) -> None:
    collections, items = real_samples()
    catalog.load(collections, items)
    assert items
    for item in items:
        assert without_links(served(catalog, item).json()) == without_links(item)


def test_item_published_again_replaces_the_first(catalog: PgStac) -> None:
    for hour in (3, 9):
        published = datetime(2026, 5, 1, hour, tzinfo=UTC)
        catalog.load([invented.collection()], [invented.item(published=published)])
    answer = served(catalog, invented.item()).json()
    assert answer["properties"]["published"] == "2026-05-01T09:00:00.000000Z"


def test_withdrawn_item_is_not_listed(catalog: PgStac) -> None:
    item = invented.item()
    catalog.load([invented.collection()], [item])
    catalog.delete(item)
    assert served(catalog, item).status_code == 404


@pytest.mark.parametrize(
    "instant", ["2026-05-05T12:00:00Z", {"timestamp": "2026-05-05T12:00:00Z"}], ids=["text", "cql2"]
)
def test_filter_on_published_finds_newer_items(catalog: PgStac, instant: object) -> None:
    catalog.load([invented.collection()], [invented.item(day) for day in range(1, 8)])
    search = Client.open(catalog.url).search(
        collections=[invented.COLLECTION],
        filter={"op": ">=", "args": [{"property": "published"}, instant]},
        filter_lang="cql2-json",
    )
    found = {item["id"] for item in search.items_as_dicts()}
    assert found == {invented.item(day)["id"] for day in (5, 6, 7)}


# pystac-client recognizes only version 1.0 of the sort extension, and sorts nevertheless.
@pytest.mark.filterwarnings("ignore:Server does not conform to SORT")
def test_search_sorts_by_published_with_opaque_page_tokens(catalog: PgStac) -> None:
    # Sensed in one order and listed in the other, like a late product.
    items = [
        invented.item(day, published=datetime(2026, 6, 30 - day, tzinfo=UTC)) for day in range(1, 8)
    ]
    catalog.load([invented.collection()], items)
    search = Client.open(catalog.url).search(
        collections=[invented.COLLECTION], sortby="+properties.published", limit=3
    )
    pages = list(search.pages_as_dicts())
    assert [len(page["features"]) for page in pages] == [3, 3, 1]
    listed = [f["properties"]["published"] for page in pages for f in page["features"]]
    assert listed == sorted(item["properties"]["published"] for item in items)
    tokens = [
        link["body"]["token"] for page in pages for link in page["links"] if link["rel"] == "next"
    ]
    assert len(set(tokens)) == 2


def test_listing_has_pages_in_order(store: CephStore) -> None:
    keys = [f"Sentinel-2/{number:02d}" for number in range(25)]
    store.load((key, b"x") for key in keys)
    listing = store.client().get_paginator("list_objects_v2")
    pages = list(
        listing.paginate(Bucket=store.bucket, Prefix="Sent", PaginationConfig={"PageSize": 10})
    )
    assert [page["KeyCount"] for page in pages] == [10, 10, 5]
    assert [found["Key"] for page in pages for found in page["Contents"]] == keys


def test_etags_have_the_format_of_cdse(store: CephStore) -> None:
    store.load([("file", b"0123456789"), ("folder/", b"")])
    found = store.client().list_objects_v2(Bucket=store.bucket)["Contents"]
    assert [(it["Key"], it["Size"]) for it in found] == [("file", 10), ("folder/", 0)]
    assert found[0]["ETag"].endswith('-1"')
    assert found[1]["ETag"] == '"d41d8cd98f00b204e9800998ecf8427e"'


def test_range_and_if_match_resume_a_download(store: CephStore) -> None:
    store.put("file", b"0123456789")
    s3, place = store.client(), {"Bucket": store.bucket, "Key": "file"}
    etag = s3.head_object(**place)["ETag"]
    rest = s3.get_object(**place, Range="bytes=4-", IfMatch=etag)
    assert rest["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert (rest["ContentRange"], rest["Body"].read()) == ("bytes 4-9/10", b"456789")
    store.put("file", b"abcdefghij")
    with pytest.raises(ClientError) as changed:
        s3.get_object(**place, Range="bytes=4-", IfMatch=etag)
    assert refusal(changed) == (412, "PreconditionFailed")
    with pytest.raises(ClientError) as beyond:
        s3.get_object(**place, Range="bytes=10-")
    assert refusal(beyond) == (416, "InvalidRange")


def test_wrong_secret_is_refused(store: CephStore) -> None:
    wrong = store.secret_key[::-1]
    with pytest.raises(ClientError) as error:
        store.client(aws_secret_access_key=wrong).list_objects_v2(Bucket=store.bucket)
    assert refusal(error) == (403, "SignatureDoesNotMatch")


def test_suspended_user_is_refused_until_enabled(store: CephStore) -> None:
    store.suspend()
    with pytest.raises(ClientError) as error:
        store.client().list_objects_v2(Bucket=store.bucket)
    store.enable()
    assert refusal(error) == (403, "UserSuspended")
    assert store.client().list_objects_v2(Bucket=store.bucket)["KeyCount"] == 0


def test_request_beyond_the_limit_gets_slow_down(store: CephStore) -> None:
    big = {"Bucket": store.bucket, "Key": "big"}  # larger than the buffers of an unread response
    store.put("big", bytes(64 * MEBIBYTE))
    store.restart(max_concurrent_requests=4)
    try:
        s3 = store.client()
        with ExitStack() as unread:
            for _ in range(4):
                unread.enter_context(s3.get_object(**big)["Body"])
            with pytest.raises(ClientError) as error:
                s3.get_object(**big)
        assert refusal(error) == (503, "SlowDown")
    finally:
        store.restart()
