from dataclasses import replace

import pytest
from adapters_builders import deaf_port, fresh_store, store
from contracts import read_from

from s2mirror.adapters.objectstore import S3Store, StoreOptions
from s2mirror.errors import (
    CredentialError,
    HostileInput,
    KeyRefused,
    MirrorError,
    QuotaError,
    StoreBusy,
    StoreChanged,
    StoreError,
    StoreSlow,
    StoreUnavailable,
    StoreUnreachable,
)
from s2mirror.model import RemoteFile
from s2mirror.sandbox import Answer, Fault, Sandbox

PREFIX = "Sentinel-2/MSI/L2A/2026/05/27/X.SAFE/"
KEY = f"{PREFIX}MTD.xml"
CONTENT = bytes(range(256)) * 8
NEW_KEY = (
    "the key pair is wrong or has expired; create a new one at "
    "https://eodata-s3keysmanager.dataspace.copernicus.eu, set it in the mirror, and reload the "
    "daemon"
)
NETWORK = "check the network, its DNS and store.endpoint; will be tried again"
CLOCK = "this machine's clock is wrong; set it; downloads resume by themselves"
AGAIN = "will be tried again"
FEWER = "it asks for fewer requests; will be tried again"


@pytest.fixture
def file(sandbox: Sandbox) -> RemoteFile:
    sandbox.store.put({KEY: CONTENT})
    (found,) = store(sandbox).list_product(PREFIX).files
    return found


def refuse(sandbox: Sandbox, status: int, code: str = "", *, path: str = "MTD") -> None:
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode() if code else b""
    answer = Answer(status=status, body=body, headers={"Content-Type": "application/xml"})
    sandbox.s3_proxy.inject(Fault(path=path, answer=answer, times=None))


def trouble(s3: S3Store, file: RemoteFile, start_byte: int = 0) -> MirrorError:
    with pytest.raises(MirrorError) as caught:
        read_from(s3, file, start_byte)
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "kind", "advice"),
    [
        (400, "InvalidRequest", StoreError, "not retried"),
        (400, "ExpiredToken", KeyRefused, NEW_KEY),
        (401, "", KeyRefused, NEW_KEY),
        (403, "InvalidAccessKeyId", KeyRefused, NEW_KEY),
        (403, "SignatureDoesNotMatch", KeyRefused, NEW_KEY),
        (403, "UserSuspended", KeyRefused, "the account is suspended"),
        (403, "RequestTimeTooSkewed", CredentialError, CLOCK),
        (
            403,
            "AccessDenied",
            StoreError,
            "the key works, but has no permission to read this object",
        ),
        (404, "NoSuchKey", StoreChanged, "it no longer exists; its product will be listed again"),
        (408, "RequestTimeout", StoreUnavailable, AGAIN),
        (412, "PreconditionFailed", StoreChanged, "it changed after it was listed; its product w"),
        (416, "InvalidRange", StoreError, "not retried"),
        (429, "TooManyRequests", StoreBusy, FEWER),
        (429, "", StoreBusy, FEWER),
        (400, "RequestTimeout", StoreUnavailable, AGAIN),
        (404, "NoSuchBucket", StoreUnreachable, "check store.bucket and store.endpoint"),
        (403, "QuotaExceeded", QuotaError, "the account's download quota is used up"),
        (500, "InternalError", StoreUnavailable, AGAIN),
        (502, "", StoreUnavailable, AGAIN),
        (503, "SlowDown", StoreBusy, FEWER),
        (503, "ServiceUnavailable", StoreUnavailable, AGAIN),
        (504, "", StoreUnavailable, AGAIN),
        (501, "NotImplemented", StoreError, "not retried"),
    ],
)
def test_each_error_response_has_kind_and_advice(
    sandbox: Sandbox, file: RemoteFile, status: int, code: str, kind: type, advice: str
) -> None:
    refuse(sandbox, status, code)
    error = trouble(store(sandbox), file)
    assert type(error) is kind
    assert str(error).startswith(f"reading {KEY}: the S3 store answered {status} ")
    assert f": {advice}" in str(error)
    assert code in str(error)


@pytest.mark.parametrize(
    "body",
    [b"", b"rate limit exceeded", b'{"error":"WAF","status":429}', b"<html>Slow</html>", b"<a"],
)
def test_status_429_is_busy_whatever_its_body(
    sandbox: Sandbox, file: RemoteFile, body: bytes
) -> None:
    reset = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "20"}
    answer = Answer(status=429, body=body, headers=reset)
    sandbox.s3_proxy.inject(Fault(path="MTD", answer=answer))
    error = trouble(store(sandbox), file)
    assert type(error) is StoreBusy
    assert error.retry_after_seconds == 20


def test_no_request_has_a_signature_in_its_query(sandbox: Sandbox, file: RemoteFile) -> None:
    reader = store(sandbox)
    reader.probe()
    reader.list_product(PREFIX)
    read_from(reader, file, 1)
    traffic = sandbox.s3_proxy.traffic
    assert [exchange.status for exchange in traffic.exchanges][-3:] == [200, 200, 206]
    assert traffic.matching(r"(?i)[?&](x-amz-|signature=|awsaccesskeyid=)") == []


def test_announced_reset_is_the_wait(sandbox: Sandbox, file: RemoteFile) -> None:
    limit = sandbox.s3_proxy.rate_limit
    limit.requests, limit.window_seconds = 0, 40
    try:
        error = trouble(fresh_store(sandbox), file)
        assert type(error) is StoreBusy
        assert 0 < (error.retry_after_seconds or 0) <= 40
    finally:
        limit.requests, limit.window_seconds = None, 60


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "AccessDenied"])
def test_status_403_is_not_transient(sandbox: Sandbox, file: RemoteFile, code: str) -> None:
    refuse(sandbox, 403, code)
    assert not trouble(store(sandbox), file).transient


def test_key_without_list_right_is_refused(sandbox: Sandbox, file: RemoteFile) -> None:
    refuse(sandbox, 403, "AccessDenied", path="")
    error = trouble(store(sandbox), file)
    assert type(error) is KeyRefused
    assert str(error) == (
        "listing bucket 'eodata': the S3 store answered 403 AccessDenied: "
        "the key may not list the bucket; check store.bucket and the key's rights"
    )
    assert error.exit_code == 6


def test_revoked_key_is_refused_for_every_request(sandbox: Sandbox, file: RemoteFile) -> None:
    s3 = store(sandbox)
    sandbox.store.revoke_key()
    try:
        for act in (s3.probe, lambda: s3.list_product(PREFIX), lambda: list(s3.read(file))):
            with pytest.raises(CredentialError, match="wrong or has expired"):
                act()
    finally:
        sandbox.store.renew_key()


def test_wrong_secret_is_a_credential_error(sandbox: Sandbox) -> None:
    with pytest.raises(CredentialError, match="SignatureDoesNotMatch"):
        store(sandbox, secret_key="wrong").probe()  # noqa: S106 - wrong on purpose


def test_missing_bucket_is_named_in_the_error(sandbox: Sandbox) -> None:
    with pytest.raises(MirrorError, match="listing bucket 'elsewhere': the S3 store answered 404"):
        store(sandbox, bucket="elsewhere").probe()


@pytest.mark.parametrize("cut", ["reset", "close", "shorten"])
@pytest.mark.parametrize("start_byte", [0, 1000])
def test_cut_response_is_a_transient_error(
    sandbox: Sandbox, file: RemoteFile, cut: str, start_byte: int
) -> None:
    sandbox.s3_proxy.inject(Fault(path="MTD", cut_after_bytes=500, cut=cut))  # type: ignore[arg-type]
    error = trouble(fresh_store(sandbox), file, start_byte)
    assert isinstance(error, StoreUnavailable)
    assert error.transient
    assert str(error).startswith(f"reading {KEY}: ")


def test_bytes_before_a_cut_are_yielded(sandbox: Sandbox, file: RemoteFile) -> None:
    sandbox.s3_proxy.inject(Fault(path="MTD", cut_after_bytes=500, cut="shorten"))
    came: list[bytes] = []
    with pytest.raises(StoreUnavailable, match="received 1548 B too few of 2048"):
        came += map(bytes, fresh_store(sandbox).read(file))
    assert b"".join(came) == CONTENT[:500]
    assert b"".join(came) + read_from(fresh_store(sandbox), file, 500) == CONTENT


def test_ignored_range_is_skipped_by_the_reader(sandbox: Sandbox, file: RemoteFile) -> None:
    sandbox.s3_proxy.inject(Fault(path="MTD", ignore_range=True, times=None))
    for start_byte in (1, 700, 2047):
        assert read_from(store(sandbox), file, start_byte) == CONTENT[start_byte:]


def test_response_of_another_version_is_rejected(sandbox: Sandbox, file: RemoteFile) -> None:
    sandbox.s3_proxy.inject(Fault(path="MTD", headers={"ETag": '"other"'}))
    error = trouble(store(sandbox), file)
    assert type(error) is StoreChanged
    assert str(error) == (
        f'reading {KEY}: its ETag is "other", but {file.etag} was listed; will be listed again'
    )


def test_response_with_another_range_is_rejected(sandbox: Sandbox, file: RemoteFile) -> None:
    sandbox.s3_proxy.inject(Fault(path="MTD", headers={"Content-Range": "bytes 6-2047/2048"}))
    error = trouble(store(sandbox), file, 5)
    assert type(error) is StoreChanged
    assert "requested bytes 5-2047/2048, received bytes 6-2047/2048; will be listed again" in str(
        error
    )


def test_response_longer_than_listed_is_rejected(sandbox: Sandbox, file: RemoteFile) -> None:
    shorter = replace(file, size_bytes=100)
    with pytest.raises(StoreUnavailable, match="received 1948 B too many of 100"):
        list(store(sandbox).read(shorter))


def test_silent_store_times_out(sandbox: Sandbox, file: RemoteFile) -> None:
    sandbox.s3_proxy.inject(Fault(path="MTD", silent=True))
    error = trouble(store(sandbox, read_timeout_seconds=0.3), file)
    assert type(error) is StoreUnavailable


def test_unreachable_store_charges_no_product(sandbox: Sandbox, file: RemoteFile) -> None:
    with deaf_port() as port:
        error = trouble(fresh_store(sandbox, endpoint=f"https://127.0.0.1:{port}"), file)
    assert type(error) is StoreUnreachable
    assert str(error).endswith(NETWORK)


def test_unresolvable_host_name_charges_no_product(sandbox: Sandbox, file: RemoteFile) -> None:
    error = trouble(store(sandbox, endpoint="https://nowhere.invalid"), file)
    assert type(error) is StoreUnreachable
    assert str(error).endswith(NETWORK)


@pytest.mark.long
def test_untrusted_certificate_charges_no_product(sandbox: Sandbox, file: RemoteFile) -> None:
    error = trouble(store(sandbox, ca_file=None), file)
    assert type(error) is StoreUnreachable
    assert str(error).endswith("set network.ca_file if it is signed by a CA of your own")


@pytest.mark.parametrize(
    "body", [b"<html>Please log in</html>", b"nonsense", b"<ListBucketResult><Contents>", b""]
)
def test_foreign_listing_is_never_an_empty_one(sandbox: Sandbox, body: bytes) -> None:
    sandbox.s3_proxy.inject(Fault(answer=Answer(status=200, body=body)))
    with pytest.raises(StoreUnavailable) as caught:
        store(sandbox).list_product(PREFIX)
    assert str(caught.value).startswith(f"listing {PREFIX}: ")
    assert str(caught.value).endswith("will be tried again")


def test_response_without_etag_is_a_transient_error(sandbox: Sandbox, file: RemoteFile) -> None:
    sandbox.s3_proxy.inject(Fault(path="MTD", answer=Answer(status=200, body=CONTENT)))
    assert trouble(store(sandbox), file).transient


def listing_of(key: str, size_bytes: int) -> bytes:
    return (
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>eodata</Name>'
        f"<IsTruncated>false</IsTruncated><Contents><Key>{key}</Key><Size>{size_bytes}</Size>"
        '<ETag>"a"</ETag></Contents></ListBucketResult>'
    ).encode()


@pytest.mark.parametrize(
    ("path", "size_bytes"),
    [("huge.jp2", 5 * 1024**3), ("../../x", 1), ("/x", 1), ("a/", 7), ("$(id)", 1), ("a b/", 0)],
)
def test_listing_of_impossible_object_is_hostile(
    sandbox: Sandbox, path: str, size_bytes: int
) -> None:
    body = listing_of(PREFIX + path, size_bytes)
    sandbox.s3_proxy.inject(Fault(answer=Answer(status=200, body=body)))
    with pytest.raises(HostileInput):
        store(sandbox).list_product(PREFIX)


def test_listing_over_several_pages_is_complete(sandbox: Sandbox) -> None:
    sandbox.store.put({f"{PREFIX}f{n:04d}": b"" for n in range(1205)})
    assert len(store(sandbox).list_product(PREFIX).files) == 1205


def test_one_read_sends_one_request(sandbox: Sandbox, file: RemoteFile) -> None:
    s3 = store(sandbox)
    sandbox.s3_proxy.traffic.wait_until_idle()
    before = sandbox.s3_proxy.traffic.count()
    list(s3.read(file, start_byte=3))
    list(s3.read(file, start_byte=file.size_bytes))
    sandbox.s3_proxy.traffic.wait_until_idle()
    assert sandbox.s3_proxy.traffic.count() == before + 1


def test_store_options_hide_the_keys() -> None:
    options = StoreOptions(
        endpoint="https://s3",
        bucket="eodata",
        access_key="AKIA",
        secret_key="hidden",  # noqa: S106 - none
    )
    assert repr(options) == "StoreOptions(endpoint='https://s3', bucket='eodata')"


def test_connection_below_minimum_rate_is_closed(sandbox: Sandbox, file: RemoteFile) -> None:
    sandbox.s3_proxy.inject(Fault(path="MTD", bytes_per_second=20))
    slow = store(sandbox, min_rate_bytes_per_second=10_000, min_rate_period_seconds=0.2)
    error = trouble(slow, file)
    assert type(error) is StoreSlow
    assert "(store.min_rate is 10000 B/s)" in str(error)


def test_connection_above_minimum_rate_is_kept(sandbox: Sandbox, file: RemoteFile) -> None:
    sandbox.s3_proxy.inject(Fault(path="MTD", bytes_per_second=4000))
    # So low that a response that is delayed by some seconds is not below it.
    slow = store(sandbox, min_rate_bytes_per_second=30, min_rate_period_seconds=0.1)
    assert read_from(slow, file, 0) == CONTENT


def test_chunked_body_of_unknown_length_is_read(sandbox: Sandbox, file: RemoteFile) -> None:
    headers = {"Content-Length": "", "Transfer-Encoding": "chunked", "ETag": f'"{file.etag}"'}
    body = b"400\r\n%b\r\n400\r\n%b\r\n0\r\n\r\n" % (CONTENT[:1024], CONTENT[1024:])
    sandbox.s3_proxy.inject(
        Fault(path="MTD", answer=Answer(status=200, body=body), headers=headers)
    )
    assert read_from(store(sandbox), file, 0) == CONTENT


def test_completed_read_returns_connection_to_the_pool(sandbox: Sandbox, file: RemoteFile) -> None:
    s3 = fresh_store(sandbox)
    before = sandbox.s3_proxy.traffic.opened_connections
    for _ in range(5):
        assert read_from(s3, file, 0) == CONTENT
    assert sandbox.s3_proxy.traffic.opened_connections == before + 1


def test_requests_wait_near_the_rate_limit(sandbox: Sandbox, file: RemoteFile) -> None:
    s3 = fresh_store(sandbox, requests_per_minute=2)
    assert s3.wait_seconds() == 0
    read_from(s3, file, 0)
    assert 0 < s3.wait_seconds() <= 60


@pytest.mark.parametrize("status", [200, 503])
def test_requests_wait_until_the_stores_reset_time(
    sandbox: Sandbox, file: RemoteFile, status: int
) -> None:
    s3 = fresh_store(sandbox)
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "59"}
    if status == 200:
        sandbox.s3_proxy.inject(Fault(path="MTD", headers=headers))
        read_from(s3, file, 0)
    else:
        sandbox.s3_proxy.inject(Fault(path="MTD", answer=Answer(status=503, headers=headers)))
        trouble(s3, file)
    assert 20 < s3.wait_seconds() <= 59
