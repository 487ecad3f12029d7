"""How the body of an answer is read: of the right version, every byte that is due, not too slowly.

Bytes go from the socket straight into one buffer, which is yielded over and over: no copies, and no
memory that is given back to the system and asked for again. The layers above the socket are left
out, as each of them would wait until the buffer is full, and a slow connection would go unnoticed.
"""

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Final

from s2mirror.errors import StoreChanged, StoreSlow, StoreUnavailable
from s2mirror.model import RemoteFile

BUFFER_BYTES: Final = 256 * 1024
"""From 64 KiB on, larger buffers make nothing faster."""
MOMENT_SECONDS: Final = 0.5
"""After so long what came is handed on, however little: nobody waits longer to see a stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MinRate:
    """A connection that is slower than this for so long is given up."""

    bytes_per_second: int
    seconds: float


class _Watch:
    """Notices when bytes come too slowly. Only waiting counts, not what is done with the bytes."""

    def __init__(self, min_rate: MinRate) -> None:
        self._min_rate = min_rate
        self._size_bytes = 0
        self._waited_seconds = 0.0

    def heard(self, size_bytes: int, waited_seconds: float) -> None:
        """Take note of what came after a wait. Raises StoreSlow if it is too little by now."""
        self._size_bytes += size_bytes
        self._waited_seconds += waited_seconds
        if self._waited_seconds < self._min_rate.seconds:
            return
        rate = self._size_bytes / self._waited_seconds
        if rate < self._min_rate.bytes_per_second:
            raise StoreSlow(
                f"only {rate:.0f} B/s came for {self._waited_seconds:.0f} s "
                f"(store.min_rate is {self._min_rate.bytes_per_second} B/s); "
                "will be tried again on another connection"
            )
        self._size_bytes, self._waited_seconds = 0, 0.0


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


def read_body(
    answer: dict[str, Any], file: RemoteFile, start_byte: int, min_rate: MinRate
) -> Iterator[memoryview]:
    """Yield the bytes of *file* from *start_byte*, each piece valid until the next is asked for."""
    with answer["Body"] as response:
        check_version(answer, file, start_byte)
        skip_bytes = 0 if "ContentRange" in answer else start_byte
        yield from _exactly(_pieces(response, _Watch(min_rate)), skip_bytes, file, start_byte)


def _exactly(
    pieces: Iterator[memoryview], skip_bytes: int, file: RemoteFile, start_byte: int
) -> Iterator[memoryview]:
    """Yield the bytes after the first *skip_bytes*, exactly as many as are wanted."""
    due_bytes = file.size_bytes - start_byte
    for piece in pieces:
        wanted = piece[skip_bytes:]
        skip_bytes = max(0, skip_bytes - len(piece))
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


def _pieces(response: Any, watch: _Watch) -> Iterator[memoryview]:  # noqa: ANN401 - urllib3's, below botocore
    """Yield what comes, and let the connection be used again if all of it came."""
    http = response._fp  # noqa: SLF001 - http.client's answer, the way botocore gets there too
    if http.length is None:
        # Of unknown length, or in chunks: rare (a proxy does that), so it need not be fast.
        while piece := http.read1(BUFFER_BYTES):
            yield memoryview(piece)
        return
    if (yield from _from_socket(http, http.length, watch)) == 0:
        http.close()
        response.release_conn()


def _from_socket(
    http: Any,  # noqa: ANN401 - see above
    due_bytes: int,
    watch: _Watch,
) -> Generator[memoryview, None, int]:
    """Yield what comes, and return how many bytes have not come."""
    # What came along with the head lies in a buffer above the socket, and is read from there.
    piece = http.read1(BUFFER_BYTES)
    due_bytes -= len(piece)
    yield memoryview(piece)
    buffer = memoryview(bytearray(min(due_bytes, BUFFER_BYTES)))
    while due_bytes and piece:
        piece = buffer[: _fill(http.fp.raw, buffer[:due_bytes], watch)]
        due_bytes -= len(piece)
        yield piece
    return due_bytes


def _fill(socket: Any, room: memoryview, watch: _Watch) -> int:  # noqa: ANN401 - http.client's
    """Read until there is no room left, or for a moment; return how many bytes came.

    By TLS a socket gives 16 KiB at most. Hashing and writing so little at a time would have the
    threads spend their time on waiting for each other.
    """
    filled_bytes, waited_seconds, since = 0, 0.0, time.monotonic()
    while filled_bytes < len(room) and waited_seconds < MOMENT_SECONDS:
        size_bytes = socket.readinto(room[filled_bytes:])
        waited_seconds = time.monotonic() - since
        if not size_bytes:
            break
        filled_bytes += size_bytes
    watch.heard(filled_bytes, waited_seconds)
    return filled_bytes
