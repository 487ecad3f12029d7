"""The S3 store on botocore: list a product, read an object from any byte."""

import re
import time
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import PurePosixPath
from typing import Any, Final

from s2mirror.adapters.objectstore.body import MinRate, read_body
from s2mirror.adapters.objectstore.boto3_client import StoreOptions, new_client
from s2mirror.adapters.objectstore.error_map import ErrorMap, retry_after_seconds
from s2mirror.adapters.objectstore.http_session import DEADLINE_TIMEOUTS
from s2mirror.bounded_http import response_date
from s2mirror.errors import HostileInput, StoreUnavailable
from s2mirror.model import Listing, RemoteFile
from s2mirror.naming import check_remote_path
from s2mirror.rate_limit import RateLimiter


class S3Store:
    """The object store port on botocore. Any thread may use it.

    It sends no HEAD, one request per page of a listing and one per read, and retries nothing:
    the caller counts attempts.
    """

    def __init__(self, options: StoreOptions) -> None:
        self._bucket = options.bucket
        self._on_date = options.on_date
        self._min_rate = MinRate(
            bytes_per_second=options.min_rate_bytes_per_second,
            seconds=options.min_rate_period_seconds,
        )
        self._rate_limiter = RateLimiter(options.requests_per_minute)
        self._listing_seconds = options.read_timeout_seconds * DEADLINE_TIMEOUTS
        self._error_map = ErrorMap(options.endpoint, self.probe)
        self._client: Any = new_client(options)
        events = self._client.meta.events
        events.register("before-call.s3", self._note_request)
        events.register("after-call.s3", self._note_response)

    def wait_seconds(self) -> float:
        """Return how long the next request should wait for the account's rate limit."""
        return self._rate_limiter.wait_seconds(time.monotonic())

    def _note_request(self, **_: object) -> None:
        self._rate_limiter.sent(time.monotonic())

    def _note_response(self, http_response: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
        date = response_date(http_response.headers)
        if date is not None and self._on_date is not None:
            self._on_date(date)
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
        what = f"listing {s3_prefix}"
        with self._error_map.explained(what):
            for page in self._pages(s3_prefix, what):
                for found in page.get("Contents", []):
                    add_object(found, s3_prefix, files, folders)
        check_tree(s3_prefix, files, folders)
        return Listing(files=tuple(files), folders=tuple(folders))

    def _pages(self, s3_prefix: str, what: str) -> Iterator[dict[str, Any]]:
        """Yield the pages of a listing. Raises StoreUnavailable for one that does not end."""
        tokens: list[str] = []
        ends = time.monotonic() + self._listing_seconds
        while len(tokens) < MAX_PAGES and time.monotonic() < ends:
            token = {"ContinuationToken": tokens[-1]} if tokens else {}
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=s3_prefix, **token)
            _check_listing(page, what)
            yield page
            if not page.get("IsTruncated"):
                return
            tokens.append(page["NextContinuationToken"])
            if tokens[-1] in tokens[:-1]:
                break
        raise StoreUnavailable(
            f"{what}: the listing does not end: after {len(tokens)} pages the store repeats a "
            f"page, or has more than {MAX_PAGES} pages or needs more than "
            f"{self._listing_seconds:.0f} s; will be tried again"
        )

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
            f"{what}: the response is not a listing (a login or error page?); will be tried again"
        )


MAX_PAGES: Final = 50
"""Of 1000 objects each, ten times what is accepted: a store may send shorter pages."""
MAX_FILE_BYTES: Final = 4 * 1024**3
"""The largest band of a real product has 0.14 GB."""
MAX_FILES: Final = 5000
"""A real product has about 100."""
MAX_KEY_BYTES: Final = 1024
"""The longest key that S3 allows."""
_ETAG: Final = re.compile(r"[!-~]{1,128}")
"""Visible characters: an ETag becomes a header of a request."""


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
        folders.append(check_remote_path(path.rstrip("/")))
        return
    etag = str(found["ETag"]).strip('"')
    path = check_remote_path(path)
    if not _ETAG.fullmatch(etag):
        raise HostileInput(
            f"listing {s3_prefix}: {path} has the ETag {etag[:100]!r}; expected 1 to 128 visible "
            "characters. Nothing was downloaded"
        )
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
