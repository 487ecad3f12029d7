"""The S3 store on boto3: list a product, read an object from any byte, explain every refusal."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, SSLError
from urllib3.exceptions import HTTPError

from s2mirror.errors import (
    CredentialError,
    HostileInput,
    MirrorError,
    StoreChanged,
    StoreError,
    StoreUnavailable,
)
from s2mirror.model import Listing, RemoteFile
from s2mirror.naming import check_relative_path

# Reads of 64 to 256 KiB are the fastest that Python makes: larger ones are mapped and unmapped
# by malloc each time.
CHUNK_BYTES: Final = 256 * 1024
MAX_FILE_BYTES: Final = 4 * 1024**3
"""The largest band of a real product has 0.14 GB."""
MAX_FILES: Final = 5000
"""A real product has about 100."""
MAX_KEY_BYTES: Final = 1024
"""The longest key that S3 allows."""
_AGAIN: Final = "will be tried again"
_NEW_KEY: Final = (
    "the key pair is wrong or has expired; make a new one at "
    "https://eodata-s3keysmanager.dataspace.copernicus.eu, give it to the mirror, and reload it"
)
_CLOCK: Final = "this machine's clock is wrong; set it; work goes on by itself"
_BY_CODE: Final[Mapping[str, tuple[type[MirrorError], str]]] = {
    "RequestTimeTooSkewed": (CredentialError, _CLOCK),
    "InvalidAccessKeyId": (CredentialError, _NEW_KEY),
    "SignatureDoesNotMatch": (CredentialError, _NEW_KEY),
    "UserSuspended": (CredentialError, _NEW_KEY),
    "ExpiredToken": (CredentialError, _NEW_KEY),
    "SlowDown": (StoreUnavailable, _AGAIN),
}
_BY_STATUS: Final[Mapping[int, tuple[type[MirrorError], str]]] = {
    401: (CredentialError, _NEW_KEY),
    404: (StoreChanged, "it is gone since it was listed; will be listed anew"),
    412: (StoreChanged, "it changed since it was listed; will be listed anew"),
    **dict.fromkeys((408, 429, 500, 502, 503, 504), (StoreUnavailable, _AGAIN)),
}
_OTHERWISE: Final = (StoreError, "not retried")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """Where the store is, and how to talk to it."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    region: str = "default"
    connections: int = 4
    connect_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 60.0
    ca_file: Path | None = None

    def __repr__(self) -> str:
        """Show where, never with which key."""
        return f"StoreOptions(endpoint={self.endpoint!r}, bucket={self.bucket!r})"


class S3Store:
    """The object store port on boto3. Any thread may use it.

    It sends no HEAD, one request per page of a listing and one per read, and retries nothing:
    the caller counts tries.
    """

    def __init__(self, options: StoreOptions) -> None:
        self._bucket = options.bucket
        self._endpoint = options.endpoint
        # Pre-signed URLs are refused by CDSE; path style and header signatures are what it takes.
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
            ),
        )

    def probe(self) -> None:
        """List one object, to prove that endpoint, bucket and keys work together."""
        with self._explained(f"listing bucket {self._bucket!r}"):
            self._client.list_objects_v2(Bucket=self._bucket, MaxKeys=1)

    def list_product(self, s3_prefix: str) -> Listing:
        """Return every object below *s3_prefix*; empty if there is none yet."""
        files: list[RemoteFile] = []
        folders: list[str] = []
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=s3_prefix
        )
        with self._explained(f"listing {s3_prefix}"):
            for page in pages:
                if "Name" not in page:
                    raise StoreUnavailable(
                        f"listing {s3_prefix}: the answer is no listing (a login or error page?); "
                        "will be tried again"
                    )
                for found in page.get("Contents", []):
                    _sort_in(found, s3_prefix, files, folders)
        _check_tree(s3_prefix, files, folders)
        return Listing(files=tuple(files), folders=tuple(folders))

    def read(self, file: RemoteFile, *, start_byte: int = 0) -> Iterator[bytes]:
        """Yield the bytes of *file* from *start_byte*, of the version that was listed."""
        if start_byte >= file.size_bytes:
            return
        wanted = {"Range": f"bytes={start_byte}-"} if start_byte else {}
        with self._explained(f"reading {file.key}"):
            answer = self._client.get_object(
                Bucket=self._bucket, Key=file.key, IfMatch=f'"{file.etag}"', **wanted
            )
            with answer["Body"] as body:
                _check_version(answer, file, start_byte)
                skip = 0 if "ContentRange" in answer else start_byte
                yield from _exactly(body, skip, file, start_byte)

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise self._refusal(error, what) from error
        except SSLError as error:
            raise StoreError(
                f"{what}: {self._endpoint} has no certificate that this machine trusts: {error}; "
                "set network.ca_file if it is signed by a CA of your own"
            ) from error
        except (BotoCoreError, HTTPError, OSError) as error:
            raise StoreUnavailable(f"{what}: {error}; will be tried again") from error
        except (KeyError, TypeError, ValueError) as error:
            raise StoreUnavailable(
                f"{what}: the answer is not an S3 store's ({error!r}; from a proxy perhaps?); "
                "will be tried again"
            ) from error

    def _refusal(self, error: ClientError, what: str) -> MirrorError:
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code = str(error.response.get("Error", {}).get("Code", ""))
        said = f"{what}: the S3 store answered {status} {code}"
        if status == HTTPStatus.FORBIDDEN and code not in _BY_CODE:
            return self._forbidden(said, what)
        kind, advice = _BY_CODE.get(code) or _BY_STATUS.get(status) or _OTHERWISE
        return kind(f"{said}: {advice}")

    def _forbidden(self, said: str, what: str) -> MirrorError:
        """Tell a refused object from a refused key, by asking whether the key can still list."""
        if not what.startswith("listing bucket"):
            self.probe()
            return StoreError(f"{said}: the key works, but may not have this object")
        return CredentialError(
            f"{said}: the key may not list the bucket; check store.bucket and the key's rights"
        )


def _sort_in(
    found: dict[str, Any], s3_prefix: str, files: list[RemoteFile], folders: list[str]
) -> None:
    """Add one listed object to *files* or *folders*. Raises HostileInput for what no SAFE has."""
    key, size_bytes = str(found["Key"]), int(found["Size"])
    if not key.startswith(s3_prefix) or len(key.encode()) > MAX_KEY_BYTES:
        raise HostileInput(
            f"key {key[:300]!r} was listed for {s3_prefix}, to which it does not belong, or is "
            f"longer than the {MAX_KEY_BYTES} B that S3 allows. Nothing was fetched"
        )
    path, number = key.removeprefix(s3_prefix), len(files) + len(folders) + 1
    if not 0 <= size_bytes <= MAX_FILE_BYTES or number > MAX_FILES:
        raise HostileInput(
            f"{key} has {size_bytes} B, as object number {number} of its product; "
            f"at most {MAX_FILE_BYTES} B and {MAX_FILES} objects are taken. Nothing was fetched"
        )
    if not path:
        return
    if path.endswith("/") and size_bytes == 0:
        folders.append(check_relative_path(path.rstrip("/")))
        return
    etag = str(found["ETag"]).strip('"')
    path = check_relative_path(path)
    files.append(RemoteFile(path=path, key=key, size_bytes=size_bytes, etag=etag))


def _check_tree(s3_prefix: str, files: list[RemoteFile], folders: list[str]) -> None:
    """Raise HostileInput for a name that is listed twice, or both as a file and as a folder."""
    names = Counter(file.path for file in files)
    needed = {str(parent) for name in (*names, *folders) for parent in PurePosixPath(name).parents}
    needed.update(folders)
    for name, times in names.items():
        if times > 1 or name in needed:
            raise HostileInput(
                f"{s3_prefix}{name} was listed twice, or both as a file and as a folder; "
                "no SAFE is like that. Nothing was fetched"
            )


def _check_version(answer: dict[str, Any], file: RemoteFile, start_byte: int) -> None:
    """Make sure that an answer is the store's, of the listed version, and starts where asked."""
    content_range = answer.get("ContentRange")
    expected = f"bytes {start_byte}-{file.size_bytes - 1}/{file.size_bytes}"
    if content_range is not None and content_range != expected:
        raise StoreChanged(
            f"reading {file.key}: asked for {expected}, got {content_range}; will be listed anew"
        )
    if "ETag" not in answer:
        raise StoreUnavailable(
            f"reading {file.key}: the answer has no ETag, so it is not an S3 store's (a login or "
            "error page of a proxy?); will be tried again"
        )
    if str(answer["ETag"]).strip('"') != file.etag:
        raise StoreChanged(
            f"reading {file.key}: its ETag is {answer['ETag']}, listed was {file.etag}; "
            "will be listed anew"
        )


def _exactly(body: Any, skip: int, file: RemoteFile, start_byte: int) -> Iterator[bytes]:  # noqa: ANN401 - botocore's StreamingBody has no types
    """Yield the bytes after *skip*, exactly as many as are wanted."""
    due_bytes = file.size_bytes - start_byte
    while chunk := body.read(CHUNK_BYTES):
        wanted = chunk[skip:] if skip else chunk
        skip = max(0, skip - len(chunk))
        due_bytes -= len(wanted)
        if due_bytes < 0:
            break
        if wanted:
            yield wanted
    if due_bytes:
        raise StoreUnavailable(
            f"reading {file.key}: {abs(due_bytes)} B too {'few' if due_bytes > 0 else 'many'} "
            f"of {file.size_bytes} came; will be tried again"
        )
