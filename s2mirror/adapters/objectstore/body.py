"""How the body of an answer is read: of the right version, and every byte that is due."""

from collections.abc import Iterator
from typing import Any, Final

from s2mirror.errors import StoreChanged, StoreUnavailable
from s2mirror.model import RemoteFile

# Reads of 64 to 256 KiB are the fastest that Python makes: larger ones are mapped and unmapped
# by malloc each time.
CHUNK_BYTES: Final = 256 * 1024


def check_version(answer: dict[str, Any], file: RemoteFile, start_byte: int) -> None:
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


def exactly(body: Any, skip: int, file: RemoteFile, start_byte: int) -> Iterator[bytes]:  # noqa: ANN401 - botocore's StreamingBody has no types
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
