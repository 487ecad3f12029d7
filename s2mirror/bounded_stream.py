"""The stream below ``http.client``, with limits on the time, bytes and memory of a response.

A time-out of a socket limits the silence between two bytes: a response of one byte per second never
ends, in its headers or in its body. Here the stream itself has a deadline and a limit of bytes, so
that both apply to everything a server sends: status lines, headers, chunk sizes, trailers and body.
The body is then decompressed within its own limit.
"""

import io
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from http.client import HTTPResponse
from socket import socket
from time import monotonic
from typing import Any, Final

from urllib3 import BaseHTTPResponse, HTTPConnectionPool

HEADER_BYTES: Final = 1024 * 1024
"""For headers and the framing of chunks, beside the body. Those of CDSE have 2 kB."""
_CHUNK_BYTES: Final = 64 * 1024


class LimitExceeded(Exception):
    """A response exceeds its deadline or size, or cannot be decompressed within it.

    It is not an OSError, so that urllib3 neither wraps it nor sends the request again.
    """


def read_body(response: BaseHTTPResponse, max_bytes: int, *, cut: bool = False) -> bytes:
    """Return the decompressed body of at most *max_bytes*; *cut* drops the rest.

    Raises LimitExceeded for a longer body and for one that cannot be decompressed.
    """
    pieces, size_bytes = [], 0
    for piece in _decoded(response):
        size_bytes += len(piece)
        pieces.append(piece)
        if size_bytes > max_bytes:
            response.close()
            if cut:
                break
            raise LimitExceeded(f"the response has more than {max_bytes} B")
    return b"".join(pieces)[:max_bytes]


def _decoded(response: BaseHTTPResponse) -> Iterator[bytes]:
    """Yield the body in pieces of bounded size, decompressed if it is compressed once by gzip."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return _chunks(response)
    if encoding in ("gzip", "x-gzip"):
        return _unpacked(_chunks(response))
    response.close()
    raise LimitExceeded(f"the response is encoded as {encoding[:100]!r}, which was not requested")


def _chunks(response: BaseHTTPResponse) -> Iterator[bytes]:
    while chunk := response.read(_CHUNK_BYTES, decode_content=False):
        yield chunk


def _unpacked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    unpacker, chunk = zlib.decompressobj(zlib.MAX_WBITS | 16), b""
    try:
        for chunk in chunks:
            if unpacker.eof:
                raise LimitExceeded("the response has bytes after the end of its gzip data")
            rest = chunk
            while piece := unpacker.decompress(rest, _CHUNK_BYTES):
                yield piece
                rest = unpacker.unconsumed_tail
    except zlib.error as error:
        raise LimitExceeded(f"the response cannot be decompressed: {error}") from error
    if chunk and not unpacker.eof:
        raise LimitExceeded("the compressed response ends early")


def bounded_pools(
    pools: Mapping[str, type[HTTPConnectionPool]], deadline_seconds: float, max_bytes: int
) -> dict[str, type[HTTPConnectionPool]]:
    """Return *pools*, by scheme, of connections that bound every response from its first byte."""
    response = staticmethod(
        partial(_BoundedResponse, deadline_seconds=deadline_seconds, max_bytes=max_bytes)
    )
    found = {}
    for scheme, pool in pools.items():
        connection = type("Connection", (pool.ConnectionCls,), {"response_class": response})
        found[scheme] = type("Pool", (pool,), {"ConnectionCls": connection})
    return found


def unbounded(response: HTTPResponse) -> io.RawIOBase:
    """Return the stream below *response* without limits, for a reader that has its own."""
    return _meter(response).raw


def limit(response: HTTPResponse, deadline_seconds: float, max_bytes: int) -> None:
    """Apply other limits to the unread part of *response*."""
    _meter(response).limit(deadline_seconds, max_bytes)


def _meter(response: Any) -> "_Meter":  # noqa: ANN401 - its stream is ours, not http.client's
    meter: _Meter = response.fp.raw
    return meter


class _BoundedResponse(HTTPResponse):
    """A response that is read through a ``BoundedStream``."""

    def __init__(  # the arguments of http.client, and the limits
        self,
        sock: socket,
        debuglevel: int = 0,
        method: str | None = None,
        url: str | None = None,
        *,
        deadline_seconds: float,
        max_bytes: int,
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp.close()
        self.fp = _BoundedStream(_Meter(sock, deadline_seconds, max_bytes), max_bytes)


class _BoundedStream(io.BufferedReader):
    """Never allocates more memory than the limit, at any announced length of the response."""

    def __init__(self, meter: "_Meter", max_bytes: int) -> None:
        super().__init__(meter)
        self._max_bytes = max_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        """Read *size* bytes, or to the end."""
        whole = size is None or size < 0
        return super().read(-1 if whole else min(size or 0, self._max_bytes + 1))


class _Meter(io.RawIOBase):
    """The bytes of one response, until the deadline or the limit of bytes."""

    def __init__(self, sock: socket, deadline_seconds: float, max_bytes: int) -> None:
        self._sock = sock
        self.raw = sock.makefile("rb", buffering=0)
        self.limit(deadline_seconds, max_bytes)

    def limit(self, deadline_seconds: float, max_bytes: int) -> None:
        """Restart the count with these limits."""
        self._deadline_seconds = deadline_seconds
        self._ends = monotonic() + deadline_seconds
        self._max_bytes = self._left_bytes = max_bytes

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any, /) -> int | None:  # noqa: ANN401 - any buffer
        """Read some bytes; wait no longer than the connection's time-out and the deadline."""
        timeout = self._sock.gettimeout()
        try:
            self._sock.settimeout(self._wait_seconds(timeout))
            count = self.raw.readinto(buffer)
        except TimeoutError:
            self._wait_seconds(timeout)
            raise
        finally:
            self._sock.settimeout(timeout)
        self._left_bytes -= count or 0
        if self._left_bytes < 0:
            raise LimitExceeded(f"the response has more than {self._max_bytes} B")
        return count

    def _wait_seconds(self, timeout: float | None) -> float:
        left_seconds = self._ends - monotonic()
        if left_seconds <= 0:
            raise LimitExceeded(
                f"the response was not complete within {self._deadline_seconds:.0f} s"
            )
        return left_seconds if timeout is None else min(timeout, left_seconds)

    def close(self) -> None:
        """Release the socket."""
        self.raw.close()
        super().close()
