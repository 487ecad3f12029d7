"""A real S3 store: Ceph's RADOS Gateway over a cluster of one, as CDSE's own store is."""

import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from ceph_cluster import Cluster
from daemons import LOOPBACK, Daemon, free_port, listens, swept_folder
from installing import ensure_packages

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PACKAGES = ("ceph-mon", "ceph-osd", "ceph-mgr", "radosgw", "ceph-common")
BUCKET = "eodata"
USER = "s2mirror-tests"
REGION = "default"
UPLOADS_AT_ONCE = 8


class CephStore:
    """The running store at ``endpoint``, with one user and the bucket ``eodata``."""

    def __init__(self, cluster: Cluster) -> None:
        self.access_key = secrets.token_hex(10).upper()
        self.secret_key = secrets.token_urlsafe(30)
        self.bucket = BUCKET
        self._cluster = cluster
        self._port = free_port()
        self._gateway = self._start()
        self._admin(
            *("user", "create", "--display-name", USER),
            *("--access-key", self.access_key, "--secret-key", self.secret_key),
        )
        self._s3 = self.client()
        self._s3.create_bucket(Bucket=BUCKET)

    @property
    def endpoint(self) -> str:
        """The URL of the store; it stays the same over a restart."""
        return f"http://{LOOPBACK}:{self._port}"

    def client(self, **credentials: str) -> "S3Client":
        """Return a boto3 client that never retries, with the user's keys unless told others."""
        keys = {
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            **credentials,
        }
        config = Config(
            max_pool_connections=UPLOADS_AT_ONCE,
            proxies={},
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
        )
        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name=REGION, config=config, **keys
        )

    def put(self, key: str, body: bytes) -> None:
        """Store one object; its ETag ends in ``-1`` as most of CDSE's do, unless it is empty."""
        place = {"Bucket": BUCKET, "Key": key}
        if not body:
            self._s3.put_object(**place)
            return
        upload = {**place, "UploadId": self._s3.create_multipart_upload(**place)["UploadId"]}
        part = self._s3.upload_part(**upload, PartNumber=1, Body=body)
        parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
        self._s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})

    def load(self, objects: Iterable[tuple[str, bytes]]) -> None:
        """Store many objects, several at once."""
        with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
            for stored in [pool.submit(self.put, key, body) for key, body in objects]:
                stored.result()

    def clear(self) -> None:
        """Delete every object, so that the next test starts from nothing."""
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            keys = [{"Key": item["Key"]} for item in page.get("Contents", [])]
            if keys:
                self._s3.delete_objects(Bucket=BUCKET, Delete={"Objects": keys, "Quiet": True})

    def suspend(self) -> None:
        """Lock the user out: every request answers 403 UserSuspended."""
        self._admin("user", "suspend")

    def enable(self) -> None:
        """Let the suspended user in again."""
        self._admin("user", "enable")

    def restart(self, *, max_concurrent_requests: int | None = None) -> None:
        """Start the gateway anew; a request beyond the limit answers 503 SlowDown."""
        self._gateway.stop()
        self._gateway = self._start(max_concurrent_requests)

    def _start(self, max_concurrent_requests: int | None = None) -> Daemon:
        # Without tcp_nodelay every small answer waits 40 ms for the client's ACK.
        listen = f"beast endpoint={LOOPBACK}:{self._port} tcp_nodelay=1"
        limit = max_concurrent_requests
        gateway = self._cluster.start(
            *("radosgw", "--name", "client.rgw", "--rgw-frontends", listen),
            *(("--rgw-max-concurrent-requests", str(limit)) if limit else ()),
        )
        gateway.wait_until(lambda: listens(self._port))
        return gateway

    def _admin(self, *words: str) -> None:
        self._cluster.run("radosgw-admin", "--name", "client.rgw", *words, "--uid", USER)


@contextmanager
def running_ceph() -> Iterator[CephStore]:
    """Install and start a store on free loopback ports, and stop it again."""
    ensure_packages(PACKAGES)
    with swept_folder("s2mirror-ceph-") as folder, Cluster(folder) as cluster:
        yield CephStore(cluster)
