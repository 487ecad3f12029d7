"""A real S3 store: Ceph's RADOS Gateway, which CDSE runs too, over a cluster of one."""

import re
import secrets
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

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
REQUEST_SECONDS = 60
_MARK: Final = "settled-"

# The gateway's log has a line for the start and one for the end of a request.
_BEGUN: Final = "starting new request req="
_OVER: Final = "beast: 0x"
# The latter: … "GET /eodata/KEY HTTP/1.1" 206 99995 - "AGENT" bytes=5- latency=…
_ANSWERED: Final = re.compile(
    r'beast: .*?"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/1\.1" (?P<status>\d+) (?P<sent>\d+) '
    r'\S+ "[^"]*" (?P<range>\S+) latency='
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One request in the gateway's own log."""

    method: str
    key: str
    """The object; empty for a listing."""
    status: int
    sent_bytes: int
    range: str
    """The Range header, or ``-``."""


class CephStore:
    """The running store at ``endpoint``, with one user and the bucket ``eodata``."""

    def __init__(self, cluster: Cluster, keys: tuple[str, str] | None = None) -> None:
        own = secrets.token_hex(10).upper(), secrets.token_urlsafe(30)
        self.access_key, self.secret_key = keys or own
        self.bucket = BUCKET
        self._cluster = cluster
        self._port = free_port()
        self._forgotten_bytes = self._started_at_byte = 0
        self._gateway = self._start()
        self._admin(
            *("user", "create", "--display-name", USER),
            *("--access-key", self.access_key, "--secret-key", self.secret_key),
        )
        self._s3 = self.client()
        self._s3.create_bucket(Bucket=BUCKET)

    @property
    def endpoint(self) -> str:
        """The URL of the store; a restart does not change it."""
        return f"http://{LOOPBACK}:{self._port}"

    def client(self, **credentials: str) -> "S3Client":
        """Return a boto3 client that never retries, by default with the user's keys."""
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
        """Suspend the user: every request is answered with 403 UserSuspended."""
        self._admin("user", "suspend")

    def enable(self) -> None:
        """Enable the suspended user."""
        self._admin("user", "enable")

    def add_key(self, pair: tuple[str, str] | None = None) -> tuple[str, str]:
        """Add a key pair of the user, this one or a new one; return it."""
        access_key, secret_key = pair or (secrets.token_hex(10).upper(), secrets.token_urlsafe(30))
        given = ("--access-key", access_key, "--secret-key", secret_key)
        self._admin("key", "create", "--key-type", "s3", *given)
        return access_key, secret_key

    def remove_key(self, access_key: str) -> None:
        """Remove a key pair, which is then unknown."""
        self._admin("key", "rm", "--key-type", "s3", "--access-key", access_key)

    def answered(self) -> list[Answered]:
        """Return every request that was answered since :meth:`forget`, in order."""
        self._settle()
        found = map(_answered, _ANSWERED.finditer(self._said(self._forgotten_bytes)))
        return [it for it in found if not it.key.startswith(_MARK)]

    def forget(self) -> None:
        """Start a new record of requests."""
        self._settle()
        self._forgotten_bytes = self._gateway.log.stat().st_size

    def _said(self, start_byte: int) -> str:
        with self._gateway.log.open("rb") as log:
            log.seek(start_byte)
            return log.read().decode(errors="replace")

    def _settle(self) -> None:
        """Wait until the log has the end of every request that was begun.

        The log is written after the responses. Earlier requests are logged before this mark.
        """
        mark = f"{_MARK}{uuid.uuid4().hex}"
        with closing(HTTPConnection(LOOPBACK, self._port, timeout=REQUEST_SECONDS)) as asking:
            asking.request("GET", f"/{mark}")
            asking.getresponse().read()

        def settled() -> bool:
            said = self._said(self._started_at_byte)
            return mark in said and said.count(_BEGUN) == said.count(_OVER)

        self._gateway.wait_until(settled)

    def restart(self, *, max_concurrent_requests: int | None = None) -> None:
        """Restart the gateway; a request beyond the limit is answered with 503 SlowDown."""
        self._gateway.stop()
        self._started_at_byte = self._gateway.log.stat().st_size
        self._gateway = self._start(max_concurrent_requests)

    def _start(self, max_concurrent_requests: int | None = None) -> Daemon:
        # Without tcp_nodelay, every small response waits 40 ms for the client's ACK.
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


def _answered(line: re.Match[str]) -> Answered:
    path, _, _ = line["path"].partition("?")
    return Answered(
        method=line["method"],
        key=unquote(path).removeprefix(f"/{BUCKET}").removeprefix("/"),
        status=int(line["status"]),
        sent_bytes=int(line["sent"]),
        range=line["range"],
    )


@contextmanager
def running_ceph(keys: tuple[str, str] | None = None) -> Iterator[CephStore]:
    """Install and start a store on free loopback ports, and stop it again."""
    ensure_packages(PACKAGES)
    with swept_folder("s2mirror-ceph-") as folder, Cluster(folder) as cluster:
        yield CephStore(cluster, keys)
