"""The S3 store on boto3: list a product, read an object from any byte."""

import time
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import boto3
from botocore.config import Config

from s2mirror import USER_AGENT
from s2mirror.adapters.objectstore.body import MinRate, read_body
from s2mirror.adapters.objectstore.error_map import ErrorMap, retry_after_seconds
from s2mirror.errors import HostileInput, StoreUnavailable
from s2mirror.model import Listing, RemoteFile
from s2mirror.naming import check_relative_path
from s2mirror.rate_limit import RateLimiter


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """Address, keys and settings of the store."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    region: str = "default"
    connections: int = 4
    connect_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 60.0
    min_rate_bytes_per_second: int = 10_000
    min_rate_period_seconds: float = 60.0
    """A connection below the minimum rate for this period is closed."""
    requests_per_minute: int = 2000
    ca_file: Path | None = None

    def __repr__(self) -> str:
        """Show endpoint and bucket, never the keys."""
        return f"StoreOptions(endpoint={self.endpoint!r}, bucket={self.bucket!r})"


class S3Store:
    """The object store port on boto3. Any thread may use it.

    It sends no HEAD, one request per page of a listing and one per read, and retries nothing:
    the caller counts attempts.
    """

    def __init__(self, options: StoreOptions) -> None:
        self._bucket = options.bucket
        self._min_rate = MinRate(
            bytes_per_second=options.min_rate_bytes_per_second,
            seconds=options.min_rate_period_seconds,
        )
        self._rate_limiter = RateLimiter(options.requests_per_minute)
        self._error_map = ErrorMap(options.endpoint, self.probe)
        # CDSE refuses pre-signed URLs; it accepts path-style URLs and header signatures.
        self._client: Any = boto3.session.Session().client(
            "s3",
            endpoint_url=options.endpoint,
            region_name=options.region,
            aws_access_key_id=options.access_key,
            aws_secret_access_key=options.secret_key,
            verify=str(options.ca_file) if options.ca_file else None,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": 1, "mode": "standard"},
                max_pool_connections=options.connections,
                connect_timeout=options.connect_timeout_seconds,
                read_timeout=options.read_timeout_seconds,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                tcp_keepalive=True,
                user_agent=USER_AGENT,
            ),
        )
        events = self._client.meta.events
        events.register("before-call.s3", self._note_request)
        events.register("after-call.s3", self._note_response)

    def wait_seconds(self) -> float:
        """Return how long the next request should wait for the account's rate limit."""
        return self._rate_limiter.wait_seconds(time.monotonic())

    def _note_request(self, **_: object) -> None:
        self._rate_limiter.sent(time.monotonic())

    def _note_response(self, http_response: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
        if seconds := retry_after_seconds(http_response.headers):
            self._rate_limiter.hold(seconds, time.monotonic())

    def probe(self) -> None:
        """List one object, to check that endpoint, bucket and keys work together."""
        what = f"listing bucket {self._bucket!r}"
        with self._error_map.explained(what):
            _check_listing(self._client.list_objects_v2(Bucket=self._bucket, MaxKeys=1), what)

    def list_product(self, s3_prefix: str) -> Listing:
        """Return every object below *s3_prefix*; empty if there is none yet."""
        files: list[RemoteFile] = []
        folders: list[str] = []
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=s3_prefix
        )
        what = f"listing {s3_prefix}"
        with self._error_map.explained(what):
            for page in pages:
                _check_listing(page, what)
                for found in page.get("Contents", []):
                    add_object(found, s3_prefix, files, folders)
        check_tree(s3_prefix, files, folders)
        return Listing(files=tuple(files), folders=tuple(folders))

    def read(self, file: RemoteFile, *, start_byte: int = 0) -> Generator[memoryview, None, None]:
        """Yield the bytes of *file* from *start_byte*, of the version that was listed."""
        if start_byte >= file.size_bytes:
            return
        range_header = {"Range": f"bytes={start_byte}-"} if start_byte else {}
        with self._error_map.explained(f"reading {file.key}"):
            response = self._client.get_object(
                Bucket=self._bucket, Key=file.key, IfMatch=f'"{file.etag}"', **range_header
            )
            yield from read_body(response, file, start_byte, self._min_rate)


def _check_listing(page: dict[str, Any], what: str) -> None:
    if "Name" not in page:
        raise StoreUnavailable(
            f"{what}: the response is no listing (a login or error page?); will be tried again"
        )


MAX_FILE_BYTES: Final = 4 * 1024**3
"""The largest band of a real product has 0.14 GB."""
MAX_FILES: Final = 5000
"""A real product has about 100."""
MAX_KEY_BYTES: Final = 1024
"""The longest key that S3 allows."""


def add_object(
    found: dict[str, Any], s3_prefix: str, files: list[RemoteFile], folders: list[str]
) -> None:
    """Add one listed object to *files* or *folders*. Raises HostileInput for an impossible one."""
    key, size_bytes = str(found["Key"]), int(found["Size"])
    if not key.startswith(s3_prefix) or len(key.encode()) > MAX_KEY_BYTES:
        raise HostileInput(
            f"listing {s3_prefix}: the key {key[:300]!r} does not belong to it, or is longer than "
            f"the {MAX_KEY_BYTES} B that S3 allows. Nothing was downloaded"
        )
    path, number = key.removeprefix(s3_prefix), len(files) + len(folders) + 1
    if not 0 <= size_bytes <= MAX_FILE_BYTES or number > MAX_FILES:
        raise HostileInput(
            f"listing {s3_prefix}: object number {number}, {key}, has {size_bytes} B; at most "
            f"{MAX_FILES} objects of {MAX_FILE_BYTES} B are accepted. Nothing was downloaded"
        )
    if not path:
        return
    if path.endswith("/") and size_bytes == 0:
        folders.append(check_relative_path(path.rstrip("/")))
        return
    etag = str(found["ETag"]).strip('"')
    path = check_relative_path(path)
    files.append(RemoteFile(path=path, key=key, size_bytes=size_bytes, etag=etag))


def check_tree(s3_prefix: str, files: list[RemoteFile], folders: list[str]) -> None:
    """Raise HostileInput for a name that is listed twice, or both as a file and as a folder."""
    names = Counter(file.path for file in files)
    needed = {str(parent) for name in (*names, *folders) for parent in PurePosixPath(name).parents}
    needed.update(folders)
    for name, times in names.items():
        if times > 1 or name in needed:
            raise HostileInput(
                f"listing {s3_prefix}: {name} is listed twice, or both as a file and as a folder, "
                "which no SAFE has. Nothing was downloaded"
            )
