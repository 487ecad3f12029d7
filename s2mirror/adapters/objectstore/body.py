"""Reads the body of a response: of the listed version, complete, and not too slowly.

Bytes are read from the socket into one buffer, which is yielded again and again: nothing is copied,
and no memory is returned to the system and allocated again. The layers above the socket are not
used, because each of them waits until its buffer is full and hides a slow connection.
"""

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from io import RawIOBase
from typing import Any, Final

from s2mirror.bounded_stream import HEADER_BYTES, limit, unbounded
from s2mirror.errors import StoreChanged, StoreSlow, StoreUnavailable
from s2mirror.model import RemoteFile

BUFFER_BYTES: Final = 256 * 1024
"""From 64 KiB on, larger buffers make nothing faster."""
YIELD_SECONDS: Final = 0.5
"""A partly filled buffer is yielded after this time, so that a stop takes no longer to be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MinRate:
    """A connection that is slower than this rate over this period is closed."""

    bytes_per_second: int
    seconds: float


class _RateMeter:
    """Measures the rate of received bytes. Only waiting counts, not the use of the bytes."""

    def __init__(self, min_rate: MinRate) -> None:
        self.min_rate = min_rate
        self._size_bytes = 0
        self._waited_seconds = 0.0

    def add(self, size_bytes: int, waited_seconds: float) -> None:
        """Add bytes received after a wait. Raises StoreSlow if their rate is below the minimum."""
        self._size_bytes += size_bytes
        self._waited_seconds += waited_seconds
        if self._waited_seconds < self.min_rate.seconds:
            return
        rate = self._size_bytes / self._waited_seconds
        if rate < self.min_rate.bytes_per_second:
            raise StoreSlow(
                f"received only {rate:.0f} B/s for {self._waited_seconds:.0f} s "
                f"(store.min_rate is {self.min_rate.bytes_per_second} B/s); "
                "will be tried again on another connection"
            )
        self._size_bytes, self._waited_seconds = 0, 0.0


def check_version(response: dict[str, Any], file: RemoteFile, start_byte: int) -> None:
    """Check that a response is the store's, of the listed version, and starts at *start_byte*."""
    content_range = response.get("ContentRange")
    expected = f"bytes {start_byte}-{file.size_bytes - 1}/{file.size_bytes}"
    if content_range is not None and content_range != expected:
        raise StoreChanged(
            f"reading {file.key}: requested {expected}, received {content_range}; "
            "will be listed again"
        )
    if "ETag" not in response:
        raise StoreUnavailable(
            f"reading {file.key}: the response has no ETag, so it is not from an S3 store (a login "
            "or error page of a proxy?); will be tried again"
        )
    if str(response["ETag"]).strip('"') != file.etag:
        raise StoreChanged(
            f"reading {file.key}: its ETag is {response['ETag']}, but {file.etag} was listed; "
            "will be listed again"
        )


def read_body(
    response: dict[str, Any], file: RemoteFile, start_byte: int, min_rate: MinRate
) -> Iterator[memoryview]:
    """Yield the bytes of *file* from *start_byte*, each piece valid until the next is read."""
    with response["Body"] as body:
        check_version(response, file, start_byte)
        skip_bytes = 0 if "ContentRange" in response else start_byte
        yield from _exactly(_pieces(body, _RateMeter(min_rate)), skip_bytes, file, start_byte)


def _exactly(
    pieces: Iterator[memoryview], skip_bytes: int, file: RemoteFile, start_byte: int
) -> Iterator[memoryview]:
    """Yield the bytes after the first *skip_bytes*, exactly as many as the file has."""
    missing_bytes = file.size_bytes - start_byte
    for piece in pieces:
        wanted = piece[skip_bytes:]
        skip_bytes = max(0, skip_bytes - len(piece))
        missing_bytes -= len(wanted)
        if missing_bytes < 0:
            break
        if wanted:
            yield wanted
    if missing_bytes:
        raise StoreUnavailable(
            f"reading {file.key}: received {abs(missing_bytes)} B too "
            f"{'few' if missing_bytes > 0 else 'many'} of {file.size_bytes}; will be tried again"
        )


def _pieces(body: Any, meter: _RateMeter) -> Iterator[memoryview]:  # noqa: ANN401 - urllib3's, below botocore
    """Yield what is received; return the connection to the pool after the last byte."""
    http = body._fp  # noqa: SLF001 - http.client's response, which botocore reads likewise
    if http.length is None:
        yield from _in_chunks(http, meter)
    elif (yield from _from_socket(http, http.length, meter)) == 0:
        http.close()
        body.release_conn()


def _in_chunks(http: HTTPResponse, meter: _RateMeter) -> Iterator[memoryview]:
    """Yield what is received of a body of unknown length, or in chunks, as a proxy sends it.

    One read may wait for many small parts of the framing, so it has a deadline of its own.
    """
    while True:
        since = time.monotonic()
        limit(http, meter.min_rate.seconds, BUFFER_BYTES + HEADER_BYTES)
        piece = http.read1(BUFFER_BYTES)
        meter.add(len(piece), time.monotonic() - since)
        if not piece:
            return
        yield memoryview(piece)


def _from_socket(
    http: Any,  # noqa: ANN401 - as in _pieces
    missing_bytes: int,
    meter: _RateMeter,
) -> Generator[memoryview, None, int]:
    """Yield what is received, and return how many bytes are missing."""
    # Bytes received together with the headers are in a buffer above the socket.
    piece = http.read1(BUFFER_BYTES)
    missing_bytes -= len(piece)
    yield memoryview(piece)
    socket = unbounded(http)
    buffer = memoryview(bytearray(min(missing_bytes, BUFFER_BYTES)))
    while missing_bytes and piece:
        piece = buffer[: _fill(socket, buffer[:missing_bytes], meter)]
        missing_bytes -= len(piece)
        yield piece
    return missing_bytes


def _fill(socket: RawIOBase, buffer: memoryview, meter: _RateMeter) -> int:
    """Read until the buffer is full or YIELD_SECONDS are over; return how many bytes were read.

    A TLS socket returns 16 KiB at most. With pieces that small, the threads that hash and write
    would spend their time waiting for each other.
    """
    filled_bytes, waited_seconds, since = 0, 0.0, time.monotonic()
    while filled_bytes < len(buffer) and waited_seconds < YIELD_SECONDS:
        size_bytes = socket.readinto(buffer[filled_bytes:])
        waited_seconds = time.monotonic() - since
        if not size_bytes:
            break
        filled_bytes += size_bytes
    meter.add(filled_bytes, waited_seconds)
    return filled_bytes
