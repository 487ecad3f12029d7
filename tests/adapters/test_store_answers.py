"""Responses that no S3 store should send: redirects, endless listings, bombs, slow bytes."""

import pytest
from adapters_builders import fresh_store, store
from contracts import read_from

from s2mirror.errors import MirrorError, StoreError, StoreUnreachable
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
