"""Hostile responses against the session that all HTTP services share."""

import gzip
import ssl
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
import trustme
from hostile_server import HEAD, HostileServer, bomb, whole
from requests import RequestException, Response, Session
from urllib3 import Retry

from s2mirror.bounded_http import BadResponse, HttpLimits, bound, response_date
from s2mirror.host_limiter import KNOWN_TIMES, HostLimiter

LIMIT = 100_000


def session(**changes: Any) -> Session:  # noqa: ANN401 - HttpLimits' fields
    limits = {"max_bytes": LIMIT, "timeout_seconds": 60.0, "deadline_seconds": 60.0} | changes
    found = Session()
    found.trust_env = False
    bound(found, HttpLimits(**limits))
    return found


def answered(*pieces: bytes, **changes: Any) -> Response:  # noqa: ANN401 - HttpLimits' fields
    with HostileServer(pieces).running() as server:
        return session(**changes).get(server.url)


def drip(*start: bytes, of: bytes = b"x") -> Iterator[bytes]:
    yield b"".join(start)
    yield from repeat(of)


DRIPS = {
    "status line": [b"HTTP/1.1 "],
    "headers": [HEAD, b"X-Long: "],
    "body": [HEAD, b"Content-Length: 1000\r\n\r\n"],
    "body until the end": [HEAD, b"\r\n"],
    "chunk size": [HEAD, b"Transfer-Encoding: chunked\r\n\r\n5;"],
    "trailer": [HEAD, b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: "],
}


@pytest.mark.parametrize("start", DRIPS.values(), ids=DRIPS)
def test_slow_response_ends_at_the_deadline(start: list[bytes]) -> None:
    server = HostileServer(drip(*start), pause_seconds=0.02)
    limited = session(deadline_seconds=0.3)
    with server.running(), pytest.raises(BadResponse, match=r"was not complete within 0 s"):
        limited.get(server.url)


def tls_server(folder: Path, *answers: Iterable[bytes], **changes: float) -> HostileServer:
    """Return a server whose certificate is signed by ``ca.pem`` of the folder."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return HostileServer(*answers, **changes).with_tls(context)


def test_slow_response_over_tls_ends_too(tmp_path: Path) -> None:
    server = tls_server(tmp_path, drip(HEAD), pause_seconds=0.02)
    limited = session(deadline_seconds=0.3, ca_file=tmp_path / "ca.pem")
    with server.running(), pytest.raises(BadResponse, match=r"was not complete within 0 s"):
        limited.get(server.url)


ENDLESS = {
    "body": [HEAD, b"\r\n", bytes(3 * LIMIT)],
    "chunks": [HEAD, b"Transfer-Encoding: chunked\r\n\r\n", b"ffff\r\n" + bytes(65535) + b"\r\n"],
    "a length of terabytes": [HEAD, b"Content-Length: 9999999999999999\r\n\r\n", bytes(LIMIT)],
    "a chunk of terabytes": [
        HEAD,
        b"Transfer-Encoding: chunked\r\n\r\nfffffffffff\r\n",
        b"x" * LIMIT,
    ],
    "interim responses": [b"HTTP/1.1 100 Continue\r\n\r\n" * 1000],
    "trailers": [HEAD, b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 10_000],
}


@pytest.mark.parametrize("pieces", ENDLESS.values(), ids=ENDLESS)
def test_endless_response_ends_at_the_limit(pieces: list[bytes]) -> None:
    *start, again = pieces
    server, many = HostileServer(drip(*start, of=again)), r"the response has more than \d+ B"
    with server.running(), pytest.raises(BadResponse, match=many):
        session().get(server.url)


def test_more_headers_than_any_service_sends_are_refused() -> None:
    with pytest.raises(RequestException, match="got more than 100 headers"):
        answered(HEAD, b"X: y\r\n" * 200, b"\r\n")


def test_refused_connection_gives_plain_reason() -> None:
    with pytest.raises(RequestException, match=r"^Failed to establish a new") as found:
        session().get("http://127.0.0.1:9/secret")
    assert "secret" not in str(found.value)


GZIPPED = gzip.compress(b"fine" * 100)
ODD_ENCODINGS = {
    "a bomb": (bomb(50), "has more than 100000 B"),
    "gzip twice": (whole(gzip.compress(GZIPPED), b"Content-Encoding: gzip, gzip"), "'gzip, gzip'"),
    "brotli": (whole(b"x", b"Content-Encoding: br"), "encoded as 'br'"),
    "no gzip": (whole(b"plain", b"Content-Encoding: gzip"), "cannot be decompressed"),
    "cut gzip": (whole(GZIPPED[:-9], b"Content-Encoding: gzip"), "ends early"),
}


@pytest.mark.parametrize(("answer", "why"), ODD_ENCODINGS.values(), ids=ODD_ENCODINGS)
def test_odd_encoding_is_refused(answer: bytes, why: str) -> None:
    with pytest.raises(BadResponse, match=why):
        answered(answer)


def test_usual_responses_are_read_and_connections_kept() -> None:
    zipped, empty = whole(GZIPPED, b"Content-Encoding: gzip"), whole(b"")
    server = HostileServer([whole(b"plain")], [zipped], [empty])
    limited = session()
    with server.running():
        found = [limited.get(server.url).content for _ in range(3)]
    assert found == [b"plain", b"fine" * 100, b""]
    assert server.connections == 1
    assert b"Accept-Encoding: gzip\r\n" in server.requests[0]


def test_long_error_message_is_cut() -> None:
    found = answered(whole(b"\xc3\xbc" * 50_000).replace(b"200 OK", b"500 Oh"))
    assert (found.status_code, len(found.content), found.text[:2]) == (500, 65_536, "üü")


def moved(status: int, location: str) -> bytes:
    head = HEAD.replace(b"200 OK", b"%d Moved" % status)
    return head + b"Content-Length: 0\r\nLocation: " + location.encode("latin-1") + b"\r\n\r\n"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_within_the_host_is_followed(status: int) -> None:
    with HostileServer().running() as server:
        server.answers += [[moved(status, f"{server.url}new")], [whole(b"arrived")]]
        assert session().get(f"{server.url}old").content == b"arrived"
    assert [request.split()[1] for request in server.requests] == [b"/old", b"/new"]


ELSEWHERE = [
    "http://elsewhere.example/",
    "//elsewhere.example/",
    "https://elsewhere.example/",
    "http://localhost:1/",
    "http://localhost.elsewhere.example/",
    "http://elsewhere.example\\@localhost:{port}/",
    "http://localhost:{port}\\@elsewhere.example/",
    "http://user@localhost:{port}/",
    "ftp://localhost:{port}/",
    "http://[",
    "http://localhost:99999999/",
    "/caf\xe9",
]


@pytest.mark.parametrize("target", ELSEWHERE)
def test_redirect_to_elsewhere_is_refused(target: str) -> None:
    with HostileServer().running() as server:
        server.answers.append([moved(302, target.format(port=server.port))])
        with pytest.raises(BadResponse, match="a redirect may not leave the host or https") as no:
            session().get(server.url)
    assert str(no.value).startswith(f"{server.url} redirects to ")
    assert len(server.requests) == 1


def test_redirect_from_https_to_http_is_refused(tmp_path: Path) -> None:
    with tls_server(tmp_path).running() as server:
        server.answers.append([moved(302, f"http://localhost:{server.port}/")])
        with pytest.raises(BadResponse, match="may not leave the host or https"):
            session(ca_file=tmp_path / "ca.pem").get(server.url)


def test_redirect_that_drops_the_body_is_refused() -> None:
    with HostileServer().running() as server:
        server.answers += [[moved(302, server.url)], [moved(308, server.url)], [whole(b"ok")]]
        with pytest.raises(BadResponse, match="the request would lose its body"):
            session().post(server.url, data=b"{}")
        assert session().post(server.url, data=b"{}").content == b"ok"


def test_redirect_is_refused_where_none_is_allowed() -> None:
    with HostileServer().running() as server:
        server.answers.append([moved(307, server.url)])
        with pytest.raises(BadResponse, match="this request is never redirected"):
            session(follow_redirects=False).post(server.url, data=b"secret")
    assert len(server.requests) == 1


def test_redirects_in_a_circle_end() -> None:
    with HostileServer().running() as server:
        server.answers.append([moved(302, server.url)])
        with pytest.raises(RequestException, match="Exceeded 5 redirects"):
            session().get(server.url)


def test_observer_receives_the_time_of_every_response() -> None:
    dates: list[datetime] = []
    answered(whole(b""), on_date=dates.append)
    assert dates == [datetime(2026, 5, 1, 10, 20, 30, tzinfo=UTC)]


@pytest.mark.parametrize("text", ["", "yesterday", "Fri, 99 May 2026 10:20:30 GMT", "1", "\x00"])
def test_odd_date_header_counts_as_none(text: str) -> None:
    assert response_date({"Date": text}) is None
    assert response_date({}) is None


REFUSALS = {
    "429 with seconds": (b"HTTP/1.0 429 Too Many Requests", b"Retry-After: 60", 60),
    "429 with a date": (
        b"HTTP/1.1 429 Too Many Requests",
        b"Date: Fri, 01 May 2026 10:20:30 GMT\r\nRetry-After: Fri, 01 May 2026 10:21:30 GMT",
        60,
    ),
    "429 without": (b"HTTP/1.0 429 Too Many Requests", b"X-Other: 1", 2),
    "429 with a year": (b"HTTP/1.1 429 Too Many Requests", b"Retry-After: 31536000", 120),
    "503 with seconds": (b"HTTP/1.1 503 Service Unavailable", b"Retry-After: 60", 60),
    "503 without": (b"HTTP/1.1 503 Service Unavailable", b"X-Other: 1", 0),
    "200": (b"HTTP/1.1 200 OK", b"Retry-After: 60", 0),
}


@pytest.mark.parametrize(("start", "header", "seconds"), REFUSALS.values(), ids=REFUSALS)
def test_refusal_delays_all_requests_to_the_host(start: bytes, header: bytes, seconds: int) -> None:
    KNOWN_TIMES.clear()
    answer = start + b"\r\n" + header + b"\r\nContent-Length: 0\r\n\r\n"
    with HostileServer([answer]).running() as server:
        session(limiter=HostLimiter(1000)).get(server.url)
        (times,) = KNOWN_TIMES.values()
        assert list(KNOWN_TIMES) == [f"localhost:{server.port}"]
    # Seconds since boot: a busy machine may take some from the refusal to this line.
    held_seconds = times.wait_seconds(time.clock_gettime(time.CLOCK_BOOTTIME))
    assert held_seconds <= seconds
    assert held_seconds > seconds - 30 if seconds else held_seconds <= 0


def test_each_try_waits_for_the_rate() -> None:
    KNOWN_TIMES.clear()
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    retry = Retry(3, status_forcelist=[503], allowed_methods=None, raise_on_status=False)
    with HostileServer([busy]).running() as server, Session() as limited:
        limits = HttpLimits(
            max_bytes=LIMIT, timeout_seconds=60, deadline_seconds=60, limiter=HostLimiter(10)
        )
        bound(limited, limits, retry)
        began = time.monotonic()
        limited.get(server.url)
        assert len(server.requests) == 4
        assert time.monotonic() - began >= 0.3
