import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError, IncompleteReadError, ResponseStreamingError
from kit import wait_until

from s2mirror.sandbox import Answer, Fault, ProductSpec, Sandbox, SandboxProduct, make_product

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY_END = "MTD_DS.xml"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def product(sandbox: Sandbox) -> SandboxProduct:
    found = make_product(ProductSpec(level="L1C"))
    sandbox.publish(found)
    return found


@pytest.fixture(autouse=True)
def _clean(sandbox: Sandbox) -> Iterator[None]:
    yield
    for proxy in (sandbox.s3_proxy, sandbox.stac_proxy, sandbox.identity_proxy):
        proxy.reset()


@pytest.fixture(scope="module")
def client(sandbox: Sandbox) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=sandbox.s3_endpoint,
        aws_access_key_id=sandbox.access_key,
        aws_secret_access_key=sandbox.secret_key,
        region_name="default",
        verify=str(sandbox.ca_file),
        config=Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            max_pool_connections=8,
        ),
    )


def content_of(product: SandboxProduct) -> bytes:
    return next(body for path, body in product.files.items() if path.endswith(KEY_END))


def key_of(product: SandboxProduct) -> str:
    return next(key for key in product.keys if key.endswith(KEY_END))


def read(client: "S3Client", product: SandboxProduct, **more: str) -> tuple[int, bytes]:
    answer = client.get_object(Bucket="eodata", Key=key_of(product), **more)
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Body"].read()


def landing(sandbox: Sandbox) -> Iterator[bytes]:
    """Request the landing page over a socket that reports a missing TLS close."""
    with asked(sandbox) as connection:
        while piece := connection.recv(65536):
            yield piece


@contextmanager
def asked(sandbox: Sandbox) -> Iterator[ssl.SSLSocket]:
    """Send a request and yield the socket of the response."""
    context = ssl.create_default_context(cafile=str(sandbox.ca_file))
    with (
        socket.create_connection(("localhost", sandbox.stac_proxy.port), timeout=30) as raw,
        context.wrap_socket(
            raw, server_hostname="localhost", suppress_ragged_eofs=False
        ) as connection,
    ):
        connection.sendall(b"GET /v1/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        yield connection


@pytest.mark.long
def test_status_fault_applies_to_next_matches_only(
    sandbox: Sandbox, client: "S3Client", product: SandboxProduct
) -> None:
    slow_down = b"<Error><Code>SlowDown</Code></Error>"
    answer = Answer(status=503, headers={"Retry-After": "1"}, body=slow_down)
    sandbox.s3_proxy.inject(Fault(path=KEY_END, method="GET", times=2, answer=answer))
    for _ in range(2):
        with pytest.raises(ClientError, match="SlowDown") as caught:
            read(client, product)
        assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
    assert read(client, product) == (200, content_of(product))
    assert sandbox.s3_proxy.faults.waiting == 0


def test_fault_changes_no_other_and_no_skipped_request(
    sandbox: Sandbox, client: "S3Client", product: SandboxProduct
) -> None:
    sandbox.s3_proxy.inject(Fault(path=KEY_END, skip=1, answer=Answer(status=500)))
    assert client.head_object(Bucket="eodata", Key=f"{product.prefix}INSPIRE.xml")
    assert read(client, product)[0] == 200
    with pytest.raises(ClientError):
        read(client, product)


def test_reset_cuts_body_after_given_bytes(sandbox: Sandbox) -> None:
    sandbox.stac_proxy.inject(Fault(cut_after_bytes=500, cut="reset"))
    came = []
    # OpenSSL 3 reports a reset as an unexpected end of file.
    with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
        came += landing(sandbox)
    sandbox.stac_proxy.inject(Fault(cut_after_bytes=500, cut="reset"))
    received = landing(sandbox)
    head, body = next(received), next(received)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert len((head + body).partition(b"\r\n\r\n")[2]) == 500


def test_reset_loses_no_bytes_for_slow_reader(sandbox: Sandbox) -> None:
    large = Answer(status=200, body=bytes(4 * MIB))
    sandbox.stac_proxy.inject(Fault(answer=large, cut_after_bytes=3 * MIB, cut="reset"))
    came = landing(sandbox)
    next(came)
    time.sleep(0.5)
    pieces: list[bytes] = []
    with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
        pieces += came
    assert sum(map(len, pieces)) == 3 * MIB


def test_close_cuts_body_after_given_bytes(sandbox: Sandbox) -> None:
    sandbox.stac_proxy.inject(Fault(cut_after_bytes=500, cut="close"))
    head, _, body = b"".join(landing(sandbox)).partition(b"\r\n\r\n")
    assert len(body) == 500
    assert int(head.lower().partition(b"content-length: ")[2].split()[0]) > 500


def test_boto3_notices_cut_body(
    sandbox: Sandbox, client: "S3Client", product: SandboxProduct
) -> None:
    sandbox.s3_proxy.inject(Fault(path=KEY_END, cut_after_bytes=5000, cut="close"))
    with pytest.raises((IncompleteReadError, ResponseStreamingError)):
        read(client, product)
    assert sandbox.s3_proxy.traffic.matching(KEY_END)[0].sent_bytes == 5000


def test_shortened_body_looks_complete(
    sandbox: Sandbox, client: "S3Client", product: SandboxProduct
) -> None:
    sandbox.s3_proxy.inject(Fault(path=KEY_END, cut_after_bytes=5000, cut="shorten"))
    assert read(client, product) == (200, content_of(product)[:5000])
    assert read(client, product) == (200, content_of(product))


def test_exactly_one_byte_is_flipped(
    sandbox: Sandbox, client: "S3Client", product: SandboxProduct
) -> None:
    sandbox.s3_proxy.inject(Fault(path=KEY_END, flip_byte=777))
    _, came = read(client, product)
    whole = content_of(product)
    assert [n for n, byte in enumerate(came) if byte != whole[n]] == [777]


def test_ignored_range_returns_whole_object(
    sandbox: Sandbox, client: "S3Client", product: SandboxProduct
) -> None:
    sandbox.s3_proxy.inject(Fault(path=KEY_END, ignore_range=True))
    assert read(client, product, Range="bytes=100-") == (200, content_of(product))
    assert read(client, product, Range="bytes=100-") == (206, content_of(product)[100:])


def test_slow_body_keeps_to_requested_rate(
    sandbox: Sandbox, client: "S3Client", product: SandboxProduct
) -> None:
    rate = len(content_of(product)) * 2
    sandbox.s3_proxy.inject(Fault(path=KEY_END, bytes_per_second=rate))
    began = time.monotonic()
    assert read(client, product) == (200, content_of(product))
    assert time.monotonic() - began > 0.4


def test_response_is_delayed(sandbox: Sandbox, client: "S3Client", product: SandboxProduct) -> None:
    sandbox.s3_proxy.inject(Fault(path=KEY_END, delay_seconds=0.4))
    began = time.monotonic()
    assert read(client, product)[0] == 200
    assert time.monotonic() - began > 0.4


def test_silent_service_sends_no_response(sandbox: Sandbox) -> None:
    sandbox.stac_proxy.inject(Fault(path="collections", silent=True))
    verify, traffic = str(sandbox.ca_file), sandbox.stac_proxy.traffic
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{sandbox.stac_url}collections", verify=verify, timeout=(30, 0.5))
    assert requests.get(sandbox.stac_url, verify=verify, timeout=30).status_code == 200
    wait_until(lambda: traffic.count("collections") == 1, "the silent request is recorded")
    (silent,) = traffic.matching("collections")
    assert (silent.status, silent.sent_bytes) == (0, 0)


def test_error_page_with_200_replaces_response(sandbox: Sandbox) -> None:
    page = Answer(status=200, headers={"Content-Type": "text/html"}, body=b"<html>login</html>")
    sandbox.stac_proxy.inject(Fault(path="/search", answer=page))
    answer = requests.get(f"{sandbox.stac_url}search", verify=str(sandbox.ca_file), timeout=30)
    assert (answer.status_code, answer.text) == (200, "<html>login</html>")


def test_etag_of_response_is_changed(
    sandbox: Sandbox, client: "S3Client", product: SandboxProduct
) -> None:
    sandbox.s3_proxy.inject(Fault(path=KEY_END, method="HEAD", headers={"ETag": '"new-1"'}))
    assert client.get_object(Bucket="eodata", Key=key_of(product))["ETag"] != '"new-1"'
    assert client.head_object(Bucket="eodata", Key=key_of(product))["ETag"] == '"new-1"'
    assert client.head_object(Bucket="eodata", Key=key_of(product))["ETag"] != '"new-1"'


def test_faults_combine(sandbox: Sandbox, client: "S3Client", product: SandboxProduct) -> None:
    sandbox.s3_proxy.inject(Fault(path=KEY_END, flip_byte=3, cut_after_bytes=10, cut="shorten"))
    _, came = read(client, product)
    assert (len(came), came[3] ^ 0xFF) == (10, content_of(product)[3])


def test_every_request_is_recorded(
    sandbox: Sandbox, client: "S3Client", product: SandboxProduct
) -> None:
    read(client, product, Range="bytes=100-199")
    client.head_object(Bucket="eodata", Key=key_of(product))
    traffic = sandbox.s3_proxy.traffic
    assert traffic.wait_until_idle()
    get, head = traffic.matching(KEY_END)
    assert (get.method, get.range, get.status, get.sent_bytes) == ("GET", "bytes=100-199", 206, 100)
    assert (head.method, head.status, head.sent_bytes) == ("HEAD", 200, 0)
    assert get.ended is not None
    assert get.started <= get.ended
    assert traffic.count(KEY_END, "GET") == 1


def test_concurrent_requests_are_counted(sandbox: Sandbox) -> None:
    traffic = sandbox.stac_proxy.traffic
    sandbox.stac_proxy.inject(Fault(silent=True, times=None))
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(asked(sandbox))
        wait_until(lambda: traffic.open_requests == 3, "three requests are under way")
    assert traffic.wait_until_idle()
    assert (traffic.open_requests, traffic.max_open_requests) == (0, 3)


def test_store_responds_429_beyond_its_rate_limit(sandbox: Sandbox) -> None:
    with limited(sandbox, 3, window_seconds=600) as answer:
        answers = [answer() for _ in range(4)]
        assert [found.status_code for found in answers] == [403, 403, 403, 429]
        left = [found.headers["x-ratelimit-remaining"] for found in answers]
        assert left == ["2", "1", "0", "0"]


def test_store_refuses_as_envoys_rate_limiter_does(sandbox: Sandbox) -> None:
    with limited(sandbox, 0, window_seconds=600) as answer:
        refusal = answer()
    assert (refusal.status_code, refusal.content) == (429, b"")
    assert refusal.headers["x-envoy-ratelimited"] == "true"
    assert refusal.headers["x-ratelimit-limit"] == "0, 0;w=600"
    assert refusal.headers["x-ratelimit-remaining"] == "0"
    assert 0 < int(refusal.headers["x-ratelimit-reset"]) <= 600
    assert "Retry-After" not in refusal.headers


def test_rate_limit_restarts_at_announced_time(sandbox: Sandbox) -> None:
    with limited(sandbox, 1, window_seconds=0.3) as answer:
        used_up = answer()
        assert (used_up.status_code, used_up.headers["x-ratelimit-remaining"]) == (403, "0")
        time.sleep(float(used_up.headers["x-ratelimit-reset"]))
        assert answer().status_code == 403


@contextmanager
def limited(
    sandbox: Sandbox, limit: int, *, window_seconds: float
) -> Iterator[Callable[[], requests.Response]]:
    """Set the store's rate limit; yield a function that sends one request."""
    rate, url = sandbox.s3_proxy.rate_limit, f"{sandbox.s3_endpoint}/eodata"
    rate.requests, rate.window_seconds = limit, window_seconds
    try:
        with requests.Session() as session:
            yield lambda: session.get(url, verify=str(sandbox.ca_file), timeout=30)
    finally:
        rate.requests, rate.window_seconds = None, 60


def test_one_connection_serves_many_requests(sandbox: Sandbox) -> None:
    with requests.Session() as session:
        for _ in range(5):
            session.get(sandbox.stac_url, verify=str(sandbox.ca_file), timeout=30)
    assert sandbox.stac_proxy.traffic.count() == 5
    assert sandbox.stac_proxy.traffic.opened_connections == 1


@pytest.mark.long
def test_client_needs_private_ca(sandbox: Sandbox) -> None:
    with socket.create_connection(("localhost", sandbox.s3_proxy.port)) as raw:
        context = ssl.create_default_context()
        with pytest.raises(ssl.SSLCertVerificationError):
            context.wrap_socket(raw, server_hostname="localhost")


@pytest.mark.long
def test_closed_sandbox_leaves_no_thread_socket_process() -> None:
    threads, sockets, processes = set(threading.enumerate()), listening(), children()
    for _ in range(2):
        with Sandbox() as one:
            ca_file = one.ca_file
            assert len(listening() - sockets) > 5
            assert len(children() - processes) == 1
        assert listening() <= sockets
        assert children() <= processes
        assert not ca_file.exists()
    assert set(threading.enumerate()) <= threads


def listening() -> set[str]:
    """Return this process's listening sockets; ports can belong to other processes."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    open_to_all = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A"}
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(link.readlink()))
    return found & open_to_all


def children() -> set[str]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {number for task in tasks for number in task.read_text().split()}
