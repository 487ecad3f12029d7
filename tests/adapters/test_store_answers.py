"""Responses that no S3 store should send: redirects, endless listings, bombs, slow bytes."""

import gzip
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain, repeat
from typing import Any

import pytest
from adapters_builders import fresh_store, store
from contracts import read_from
from hostile_server import HEAD, HostileServer, whole
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s2mirror.adapters.objectstore import S3Store, StoreOptions
from s2mirror.errors import (
    HostileInput,
    MirrorError,
    StoreError,
    StoreSlow,
    StoreUnavailable,
    StoreUnreachable,
)
from s2mirror.model import RemoteFile
from s2mirror.sandbox import Answer, Fault, Sandbox

PREFIX = "Sentinel-2/MSI/L2A/2026/05/27/X.SAFE/"
KEY = f"{PREFIX}MTD.xml"
REDIRECTS = (301, 302, 303, 307, 308)
LOGIN = "https://login.example/start?from=here"


@pytest.fixture
def file(sandbox: Sandbox) -> RemoteFile:
    sandbox.store.put({KEY: b"content"})
    (found,) = store(sandbox).list_product(PREFIX).files
    return found


def redirect(sandbox: Sandbox, status: int, to: str = LOGIN, body: bytes = b"") -> None:
    answer = Answer(status=status, headers={"Location": to}, body=body)
    sandbox.s3_proxy.inject(Fault(answer=answer, times=None))


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("act", ["listing", "reading"])
def test_redirect_is_reported_and_never_followed(
    sandbox: Sandbox, file: RemoteFile, status: int, act: str
) -> None:
    redirect(sandbox, status)
    before = sandbox.s3_proxy.traffic.count()
    s3 = fresh_store(sandbox)
    with pytest.raises(StoreError) as caught:
        read_from(s3, file, 0) if act == "reading" else s3.list_product(PREFIX)
    assert type(caught.value) is StoreUnreachable
    assert str(caught.value) == (
        f"{act} {KEY if act == 'reading' else PREFIX}: the S3 store answered {status} {status} "
        f"and redirects from {sandbox.s3_endpoint} to {LOGIN}: redirects are not followed; check "
        "store.endpoint and the network; will be tried again"
    )
    sandbox.s3_proxy.traffic.wait_until_idle()
    assert sandbox.s3_proxy.traffic.count() == before + 1


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (301, "PermanentRedirect"),
        (400, "AuthorizationHeaderMalformed"),
        (400, "IllegalLocationConstraintException"),
    ],
)
def test_region_of_a_response_changes_no_request(sandbox: Sandbox, status: int, code: str) -> None:
    body = f"<Error><Code>{code}</Code><Region>eu-west-1</Region></Error>".encode()
    headers = {"x-amz-bucket-region": "eu-west-1", "Content-Type": "application/xml"}
    answer = Answer(status=status, headers=headers, body=body)
    sandbox.s3_proxy.inject(Fault(answer=answer))
    s3 = fresh_store(sandbox)
    with pytest.raises(MirrorError, match=f"the S3 store answered {status} {code}"):
        s3.probe()
    s3.probe()


def page_of(*keys: str, token: str = "", etag: str = "a") -> bytes:
    """Return a page of a listing; with a token, there is another page."""
    contents = "".join(
        f"<Contents><Key>{key}</Key><Size>1</Size><ETag>{etag}</ETag></Contents>" for key in keys
    )
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    truncated = "true" if token else "false"
    return (
        f"<ListBucketResult><Name>eodata</Name><IsTruncated>{truncated}</IsTruncated>"
        f"{more}{contents}</ListBucketResult>"
    ).encode()


def listed(*answers: Iterable[bytes], pause_seconds: float = 0.0, **changes: Any) -> MirrorError:  # noqa: ANN401 - StoreOptions' fields
    """Return the error of a listing from a server that sends these answers."""
    with HostileServer(*answers, pause_seconds=pause_seconds).running() as server:
        s3 = S3Store(local(server, **changes))
        with pytest.raises(MirrorError) as caught:
            s3.list_product(PREFIX)
    return caught.value


def local(server: HostileServer, **changes: Any) -> StoreOptions:  # noqa: ANN401 - likewise
    options = {"endpoint": server.url.rstrip("/"), "bucket": "eodata", "access_key": "a"}
    return StoreOptions(**{**options, "secret_key": "b", **changes})


def read_error(
    *answers: Iterable[bytes],
    pause_seconds: float = 0.0,
    **changes: Any,  # noqa: ANN401 - likewise
) -> MirrorError:
    """Return the error of reading an object from a server that sends these answers."""
    file = RemoteFile(path="MTD.xml", key=KEY, size_bytes=1000, etag="a")
    with HostileServer(*answers, pause_seconds=pause_seconds).running() as server:
        s3 = S3Store(local(server, **changes))
        with pytest.raises(MirrorError) as caught:
            list(s3.read(file))
    return caught.value


def test_listing_with_ever_new_tokens_ends() -> None:
    pages = [[whole(page_of(token=f"{number}"))] for number in range(200)]
    error = listed(*pages)
    assert type(error) is StoreUnavailable
    assert str(error) == (
        f"listing {PREFIX}: the listing does not end: after 50 pages the store repeats a page, or "
        "has more than 50 pages or needs more than 180 s; will be tried again"
    )


def test_listing_with_a_repeated_token_ends() -> None:
    pages = [[whole(page_of(token=token))] for token in ("a", "b", "a", "b", "a")]
    assert "after 3 pages the store repeats a page" in str(listed(*pages))


def test_listing_in_many_short_pages_is_complete() -> None:
    keys = [f"{PREFIX}f{number}" for number in range(40)]
    pages = [[whole(page_of(key, token=key if key != keys[-1] else ""))] for key in keys]
    with HostileServer(*pages).running() as server:
        found = S3Store(local(server)).list_product(PREFIX)
    assert [file.key for file in found.files] == keys


def test_listing_needs_no_longer_than_its_deadline() -> None:
    pages = [[whole(page_of(token=f"{number}"))] for number in range(200)]
    error = listed(*pages, pause_seconds=0.1, read_timeout_seconds=0.1)
    assert "needs more than 0 s" in str(error)


LAUGHS = (
    b"<!DOCTYPE a [<!ENTITY a 'aaaaaaaa'>"
    + b"".join(b"<!ENTITY %c '%s'>" % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b"]><ListBucketResult><Name>&j;</Name></ListBucketResult>"
)
DEEP = b"<a>" * 100_000
DOCUMENTS = {
    "billion laughs": LAUGHS,
    "external entity": b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
    "depth": DEEP,
    "closed depth": DEEP + b"</a>" * 100_000,
    "many elements": b"<a>" + b"<b/>" * 400_000 + b"</a>",
    "login page": b"<!DOCTYPE html><html><body>Sign in</body></html>",
    "UTF-16": LAUGHS.decode().encode("utf-16"),
    "no XML": b"rate limit exceeded",
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_of_no_store_is_an_error(name: str) -> None:
    error = listed([whole(DOCUMENTS[name])])
    assert type(error) is StoreUnavailable
    assert str(error).endswith("will be tried again")
    assert len(str(error)) < 600


@pytest.mark.long
@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("status", [400, 403, 503])
def test_error_with_an_odd_document_keeps_its_status(name: str, status: int) -> None:
    answer = whole(DOCUMENTS[name]).replace(b"200 OK", b"%d Odd" % status)
    for error in (listed([answer]), read_error([answer])):
        assert f"the S3 store answered {status} {status}: " in str(error)


def test_endless_document_ends_at_its_limit() -> None:
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    error = listed(chain([head], repeat(b"10000\r\n%b\r\n" % bytes(65536))))
    assert "the response has more than 2097152 B" in str(error)


@pytest.mark.parametrize(
    "pieces",
    [
        chain([b"HTTP/1.1 200 OK\r\n"], (b"x%d: y\r\n" % n for n in range(10_000))),
        repeat(b"x"),
        chain([HEAD, b"Content-Length: 99999\r\n\r\n"], repeat(b"<")),
        chain([HEAD, b"Transfer-Encoding: chunked\r\n\r\n"], repeat(b"0")),
        repeat(b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["headers", "status line", "body", "size of a chunk", "status 100"],
)
def test_drip_of_a_listing_ends_at_its_deadline(pieces: Iterable[bytes]) -> None:
    error = listed(pieces, pause_seconds=0.05, read_timeout_seconds=0.2)
    assert type(error) is StoreUnavailable
    assert "the response was not complete within 1 s: will be tried again" in str(error)


def test_drip_in_the_headers_of_an_object_ends() -> None:
    pieces = chain([b"HTTP/1.1 200 OK\r\n"], repeat(b"x"))
    error = read_error(pieces, pause_seconds=0.05, read_timeout_seconds=0.2)
    assert "the response was not complete within 1 s: will be tried again" in str(error)


OBJECT = HEAD + b'ETag: "a"\r\n'
CHUNKED = OBJECT + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "piece"), [(CHUNKED, b"1\r\nx\r\n"), (OBJECT + b"\r\n", b"x")], ids=["chunks", "end"]
)
def test_minimum_rate_applies_to_bodies_of_unknown_length(head: bytes, piece: bytes) -> None:
    error = read_error(
        chain([head], repeat(piece)), pause_seconds=0.05, min_rate_period_seconds=0.2
    )
    assert type(error) is StoreSlow


def test_drip_in_the_size_of_a_chunk_ends() -> None:
    pieces = chain([CHUNKED], repeat(b"0"))
    error = read_error(pieces, pause_seconds=0.05, min_rate_period_seconds=0.2)
    assert type(error) is StoreUnavailable
    assert "the response was not complete within 0 s" in str(error)


@pytest.mark.parametrize("head", [CHUNKED, OBJECT + b"Content-Length: 99999999\r\n\r\n"])
def test_body_longer_than_listed_is_cut(head: bytes) -> None:
    piece = b"400\r\n%b\r\n" % bytes(1024) if head is CHUNKED else bytes(1024)
    error = read_error(chain([head], repeat(piece)))
    assert "too many of 1000; will be tried again" in str(error)


def test_compressed_object_is_not_decompressed() -> None:
    packed = gzip.compress(bytes(1000))
    error = read_error([whole(packed, b'ETag: "a"', b"Content-Encoding: gzip")])
    assert f"received {1000 - len(packed)} B too few of 1000" in str(error)


@pytest.mark.parametrize("etag", ["", "a" * 129, "a b", "é", "a&#10;x: y"])
def test_etag_that_is_no_header_is_hostile(etag: str) -> None:
    assert type(listed([whole(page_of(KEY, etag=etag))])) is HostileInput


_NAMES = st.sampled_from(
    ["Error", "Errors", "Code", "RequestId", "ListBucketResult", "Contents", "Key", "Size", "Name"]
)
_TEXTS = st.sampled_from(["", "true", "1", "-1", "NaN", "1" * 400, "9999-99-99", PREFIX, "é", "x"])
_TREES = st.recursive(
    _TEXTS,
    lambda inner: st.lists(
        st.builds(lambda name, text: f"<{name}>{text}</{name}>", _NAMES, inner), max_size=4
    ).map("".join),
    max_leaves=8,
)


@pytest.mark.long
@settings(max_examples=100)
@given(st.sampled_from([200, 301, 400, 403, 503]), _NAMES, _TREES)
@example(400, "Error", "<Code><Code>x</Code></Code>")
@example(400, "Error", "text")
@example(503, "Errors", "<Error/>")
@example(200, "ListBucketResult", "<Name>a</Name><Contents>1</Contents>")
@example(
    200, "ListBucketResult", "<Name>a</Name><Contents><LastModified>9</LastModified></Contents>"
)
def test_no_document_causes_an_unexpected_error(
    answering: tuple[HostileServer, S3Store], status: int, root: str, tree: str
) -> None:
    server, s3 = answering
    body = f"<{root}>{tree}</{root}>".encode()
    server.answers = [[whole(body).replace(b"200 OK", b"%d Odd" % status)]]
    with suppress(MirrorError):
        s3.list_product(PREFIX)


@pytest.fixture(scope="module")
def answering() -> Iterator[tuple[HostileServer, S3Store]]:
    with HostileServer([b""]).running() as server:
        yield server, S3Store(local(server))
