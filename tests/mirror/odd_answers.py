"""Responses that no service should send, as faults of the sandbox's proxies."""

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

from s2mirror.sandbox import Answer, Fault, Sandbox
from s2mirror.sandbox.proxy import Proxy

BOMB_MEBIBYTES = 600
DEPTH = 100_000
_JSON = {"Content-Type": "application/json"}
_STATUSES = (301, 302, 303, 307, 308)


@contextmanager
def plain_server() -> Iterator[tuple[str, list[str]]]:
    """Yield the URL of a server without TLS, and the paths that were requested there."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            body = b'{"type": "FeatureCollection", "features": [], "links": [], "value": []}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - likewise

        def log_message(self, *_: Any) -> None: ...  # noqa: ANN401 - as in the library

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", paths
    finally:
        server.shutdown()
        server.server_close()


def services(sandbox: Sandbox) -> dict[str, Proxy]:
    """Return the proxy of each service."""
    return {
        "stac": sandbox.stac_proxy,
        "odata": sandbox.odata_proxy,
        "token": sandbox.identity_proxy,
        "process": sandbox.process_proxy,
        "s3": sandbox.s3_proxy,
    }


def gzip_bomb(_: Random, __: str) -> Fault:
    headers = {**_JSON, "Content-Encoding": "gzip"}
    return _answer(_bomb(), headers)


def deep_json(random: Random, _: str) -> Fault:
    opening = random.choice([b"[", b'{"features":['])
    return _answer(opening * DEPTH, _JSON)


def odd_number(random: Random, _: str) -> Fault:
    number = random.choice(["NaN", "Infinity", "1e999", "1" * 5000, "-0"])
    keys = ("type", "numberReturned", "expires_in", "access_token")
    fields = ",".join(f'"{key}": {number}' for key in keys)
    inner = f'[{{"id": {number}, "properties": {number}, "DeletionDate": {number}}}]'
    return _answer(f'{{{fields}, "features": {inner}, "value": {inner}}}'.encode(), _JSON)


def odd_text(random: Random, _: str) -> Fault:
    text = random.choice([r"\ud800", r"\u0000", r"\u001b[2J", r"\u202e", "A" * 1_000_000])
    keys = ("type", "access_token", "error", "error_description", "description")
    fields = ",".join(f'"{key}": "{text}"' for key in keys)
    inner = f'[{{"id": "{text}", "Name": "{text}", "DeletionDate": "{text}"}}]'
    body = f'{{{fields}, "features": {inner}, "value": {inner}}}'.encode()
    return _answer(body, _JSON, status=random.choice([200, 200, 400, 500]))


def wrong_json(random: Random, _: str) -> Fault:
    body = random.choice([b"[]", b"null", b"7", b'"text"', b"{}", b'{"features": {}}', b"\xff\xfe"])
    return _answer(body, _JSON)


def error_page(random: Random, _: str) -> Fault:
    body = b"<html><body>Sign in to this network</body></html>"
    status = random.choice([200, 204, 400, 401, 403, 404, 410, 418, 429, 500, 502, 503, 511])
    return _answer(body if status != 204 else b"", {"Content-Type": "text/html"}, status=status)


def redirect(random: Random, plain_url: str) -> Fault:
    location = plain_url + random.choice(["/", "/v1/search", "/eodata?list-type=2"])
    return _answer(b"", {"Location": location}, status=random.choice(_STATUSES))


def odd_header(random: Random, _: str) -> Fault:
    headers = random.choice(
        [
            {"Retry-After": "999999999999"},
            {"Retry-After": "-1"},
            {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"},
            {"Date": "Thu, 01 Jan 1970 00:00:00 GMT"},
            {"Date": "yesterday"},
            {"x-ratelimit-reset": "9" * 30, "x-ratelimit-remaining": "0"},
        ]
    )
    return _answer(b"{}", headers, status=random.choice([200, 429, 503]))


def odd_xml(random: Random, _: str) -> Fault:
    entity = '<!DOCTYPE a [<!ENTITY a "aaaaaaaa">' + "".join(
        f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9)
    )
    body = random.choice(
        [
            f"{entity}]><ListBucketResult>&j;</ListBucketResult>",
            "<a>" * DEPTH,
            "<ListBucketResult><Contents><Size>NaN</Size></Contents></ListBucketResult>",
            "<a><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken></a>",
        ]
    )
    return _answer(body.encode(), {"Content-Type": "application/xml"})


def slow_drip(random: Random, _: str) -> Fault:
    return Fault(bytes_per_second=random.choice([20, 200]), times=_times(random))


def silence(random: Random, _: str) -> Fault:
    return Fault(silent=True, times=random.choice([1, 2]))


def cut(random: Random, _: str) -> Fault:
    kind = random.choice(["reset", "close", "shorten"])
    return Fault(cut_after_bytes=random.randrange(2000), cut=kind, times=_times(random))


def flipped_byte(random: Random, _: str) -> Fault:
    return Fault(flip_byte=random.randrange(1500), times=_times(random))


ODD_ANSWERS: dict[str, Callable[[Random, str], Fault]] = {
    function.__name__: function
    for function in (
        *(gzip_bomb, deep_json, odd_number, odd_text, wrong_json, error_page, redirect),
        *(odd_header, odd_xml, slow_drip, silence, cut, flipped_byte),
    )
}


def _answer(body: bytes, headers: dict[str, str], *, status: int = 200) -> Fault:
    return Fault(answer=Answer(status=status, headers=headers, body=body), times=None)


def _times(random: Random) -> int | None:
    return random.choice([1, 3, None])


@cache
def _bomb() -> bytes:
    """Return a gzip stream of many members, which is a JSON text with many spaces."""
    member = gzip.compress(b" " * 1024**2)
    return gzip.compress(b'{"features": [') + member * BOMB_MEBIBYTES + gzip.compress(b"]}")
