import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from s2mirror.errors import UsageError
from s2mirror.sandbox import ProductSpec, Sandbox, SandboxProduct, make_product

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def s3(sandbox: Sandbox, **changes: object) -> "S3Client":
    options = {
        "endpoint_url": sandbox.s3_endpoint,
        "aws_access_key_id": sandbox.access_key,
        "aws_secret_access_key": sandbox.secret_key,
        "region_name": "default",
        "verify": str(sandbox.ca_file),
        "config": Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    }
    return boto3.client("s3", **{**options, **changes})


def tool(name: str) -> str:
    """Return the path of a program in the virtual environment or on PATH."""
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return shutil.which(name, path=beside) or name


def code_of(action: Callable[..., object], **arguments: object) -> str:
    with pytest.raises(ClientError) as caught:
        action(Bucket="eodata", **arguments)
    return str(caught.value.response["Error"]["Code"])


def files_below(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def product(sandbox: Sandbox) -> SandboxProduct:
    found = make_product(ProductSpec(level="L1C", scale=0.0005))
    sandbox.publish(found)
    return found


@pytest.fixture(scope="module")
def real_files(product: SandboxProduct) -> dict[str, bytes]:
    """The files that a client without support for folder keys downloads."""
    return {path: content for path, content in product.files.items() if not path.endswith("/")}


@pytest.mark.long
def test_boto3_lists_and_reads_unchanged(sandbox: Sandbox, product: SandboxProduct) -> None:
    client = s3(sandbox)
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket="eodata", Prefix=product.prefix, PaginationConfig={"PageSize": 30}
    )
    listed = {entry["Key"]: entry["Size"] for page in pages for entry in page["Contents"]}
    assert listed == {key: len(content) for key, content in product.keys.items()}
    with ThreadPoolExecutor(4) as pool:
        read = pool.map(lambda key: client.get_object(Bucket="eodata", Key=key), listed)
        assert [answer["Body"].read() for answer in read] == [product.keys[key] for key in listed]


@pytest.mark.long
def test_rclone_copies_unchanged(
    sandbox: Sandbox, product: SandboxProduct, real_files: dict[str, bytes], tmp_path: Path
) -> None:
    remote = (
        f":s3,provider=Other,endpoint='{sandbox.s3_endpoint}',region=default,force_path_style=true,"
        f"env_auth=true:eodata/{product.prefix}"
    )
    command = [tool("rclone"), "copy", "--config", os.devnull, "--ca-cert", str(sandbox.ca_file)]
    subprocess.run(
        [*command, remote, tmp_path / "out"],
        check=True,
        env={**os.environ, **sandbox.environment()},
        timeout=300,
    )
    assert files_below(tmp_path / "out") == real_files


@pytest.mark.long
def test_s5cmd_copies_unchanged(
    sandbox: Sandbox, product: SandboxProduct, real_files: dict[str, bytes], tmp_path: Path
) -> None:
    command = [tool("s5cmd"), "--endpoint-url", sandbox.s3_endpoint, "cp"]
    subprocess.run(
        [*command, f"s3://eodata/{product.prefix}*", f"{tmp_path}/"],
        check=True,
        env={**os.environ, **sandbox.environment(), "SSL_CERT_FILE": str(sandbox.ca_file)},
        stdout=subprocess.DEVNULL,
        timeout=300,
    )
    assert files_below(tmp_path) == real_files


def test_wrong_secret_is_403_signature_does_not_match(
    sandbox: Sandbox, product: SandboxProduct
) -> None:
    client = s3(sandbox, aws_secret_access_key="wrong" * 8)
    assert code_of(client.list_objects_v2, Prefix=product.prefix) == "SignatureDoesNotMatch"
    assert code_of(client.get_object, Key=min(product.keys)) == "SignatureDoesNotMatch"
    assert code_of(client.head_object, Key=min(product.keys)) == "403"


def test_unknown_key_is_403_invalid_access_key(sandbox: Sandbox, product: SandboxProduct) -> None:
    client = s3(sandbox, aws_access_key_id="AKIAIOSFODNN7EXAMPLE")
    assert code_of(client.get_object, Key=min(product.keys)) == "InvalidAccessKeyId"


def test_renewed_key_works_and_revoked_key_does_not(
    sandbox: Sandbox, product: SandboxProduct
) -> None:
    old = s3(sandbox)
    sandbox.store.revoke_key()
    sandbox.store.renew_key()
    assert code_of(old.get_object, Key=min(product.keys)) == "InvalidAccessKeyId"
    assert s3(sandbox).head_object(Bucket="eodata", Key=min(product.keys))


def test_presigned_url_is_refused_as_at_cdse(sandbox: Sandbox, product: SandboxProduct) -> None:
    params = {"Bucket": "eodata", "Key": min(product.keys)}
    url = s3(sandbox).generate_presigned_url("get_object", Params=params)
    answer = requests.get(url, verify=str(sandbox.ca_file), timeout=30)
    assert (answer.status_code, "InvalidAccessKeyId" in answer.text) == (403, True)


def test_anonymous_request_is_refused(sandbox: Sandbox) -> None:
    answer = requests.get(f"{sandbox.s3_endpoint}/eodata", verify=str(sandbox.ca_file), timeout=30)
    assert (answer.status_code, "AccessDenied" in answer.text) == (403, True)


def test_keys_have_no_write_permission(sandbox: Sandbox) -> None:
    assert code_of(s3(sandbox).put_object, Key="mine", Body=b"x") == "AccessDenied"


def test_ranges_and_conditions_are_respected(sandbox: Sandbox, product: SandboxProduct) -> None:
    client = s3(sandbox)
    key = f"{product.prefix}INSPIRE.xml"
    content = product.files["INSPIRE.xml"]
    etag = client.head_object(Bucket="eodata", Key=key)["ETag"]
    part = client.get_object(Bucket="eodata", Key=key, Range="bytes=10-", IfMatch=etag)
    assert (part["ResponseMetadata"]["HTTPStatusCode"], part["Body"].read()) == (206, content[10:])
    beyond = f"bytes={len(content)}-"
    assert code_of(client.get_object, Key=key, Range=beyond) == "InvalidRange"
    assert code_of(client.get_object, Key=key, IfMatch='"other"') == "PreconditionFailed"
    assert code_of(client.get_object, Key=f"{key}x") == "NoSuchKey"


@pytest.mark.parametrize("wanted", ["bytes=abc", "bytes=3-1", "bytes=1-2,4-5", "lines=1-2"])
def test_invalid_range_is_416(sandbox: Sandbox, product: SandboxProduct, wanted: str) -> None:
    key = f"{product.prefix}INSPIRE.xml"
    assert code_of(s3(sandbox).get_object, Key=key, Range=wanted) == "InvalidRange"


def test_etags_are_multipart_except_for_empty_objects(
    sandbox: Sandbox, product: SandboxProduct
) -> None:
    sandbox.store.put({f"{product.prefix}empty/": b""})
    listed = s3(sandbox).list_objects_v2(Bucket="eodata", Prefix=product.prefix)["Contents"]
    for entry in listed:
        assert entry["ETag"].endswith('-1"') == bool(entry["Size"]), entry["Key"]


def test_unknown_continuation_token_returns_empty_page(sandbox: Sandbox) -> None:
    page = s3(sandbox).list_objects_v2(Bucket="eodata", ContinuationToken="never-given")
    assert (page["KeyCount"], page["IsTruncated"]) == (0, False)


@pytest.mark.parametrize("minutes", [-16, 16])
def test_skewed_signature_is_403_request_time_too_skewed(
    sandbox: Sandbox, product: SandboxProduct, minutes: int
) -> None:
    client = s3(sandbox)
    signed_at = (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y%m%dT%H%M%SZ")

    def change_date(request: Any, **_: object) -> None:  # noqa: ANN401 - a type of botocore
        request.headers["X-Amz-Date"] = signed_at

    client.meta.events.register("before-send.s3.GetObject", change_date)
    assert code_of(client.get_object, Key=min(product.keys)) == "RequestTimeTooSkewed"


def test_both_endpoints_serve_the_same_objects(sandbox: Sandbox, product: SandboxProduct) -> None:
    key = min(product.keys)
    first = s3(sandbox).get_object(Bucket="eodata", Key=key)["Body"].read()
    second = s3(sandbox, endpoint_url=sandbox.s3_second_endpoint)
    assert second.get_object(Bucket="eodata", Key=key)["Body"].read() == first


def test_withdrawn_product_is_removed_from_catalog_and_store(sandbox: Sandbox) -> None:
    product = make_product(ProductSpec(tile="33UUP", scale=0))
    sandbox.publish(product)
    assert sandbox.keys_of(product.id) == sorted(product.keys)
    sandbox.withdraw(product.id)
    assert sandbox.catalogue.get(product.id) is None
    assert sandbox.keys_of(product.id) == []
    with pytest.raises(UsageError, match="does not contain it"):
        sandbox.withdraw(product.id)


@pytest.mark.long
def test_replaced_product_has_new_files_only(sandbox: Sandbox) -> None:
    spec = ProductSpec(tile="33UVP", scale=0)
    product = make_product(spec)
    sandbox.publish(product)
    fewer = {path: content for path, content in product.files.items() if "rep_info" not in path}
    sandbox.replace(
        SandboxProduct(
            id=product.id,
            collection=product.collection,
            prefix=product.prefix,
            files=fewer,
            item=product.item,
        )
    )
    assert len(sandbox.keys_of(product.id)) == len(fewer) < len(product.files)
