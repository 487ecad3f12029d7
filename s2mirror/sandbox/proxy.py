"""A TLS reverse proxy that injects faults and records every request."""

import asyncio
import fcntl
import http
import socket
import ssl
import struct
import termios
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Final

from s2mirror.sandbox.faults import (
    Answer,
    Exchange,
    Fault,
    FaultPlan,
    Firewall,
    RateLimit,
    Traffic,
)
from s2mirror.sandbox.wire import Head, body_length, read_body, read_head, status_of

_HEAD_BYTES: Final = 256 * 1024
_DRIPS_PER_SECOND: Final = 20
_SETTLE_SECONDS: Final = 0.02
_SETTLED_CHECKS: Final = 3
_NO_LINGER: Final = struct.pack("ii", 1, 0)

ReadWhole = Callable[[str], bytes | None]
"""Return the whole object at a path of the service, for ``Fault.ignore_range``."""


@dataclass(frozen=True, slots=True)
class _Call:
    """One request in progress, with its fault and its record."""

    head: Head
    fault: Fault
    exchange: Exchange


@dataclass(frozen=True, slots=True)
class _Reply:
    """The response to the client."""

    head: Head
    length: int | None
    body: AsyncIterator[bytes]


class Proxy:
    """A proxy in front of one service: ``inject`` arms faults, ``traffic`` records requests.

    The proxy does not change the Host header or the path, so signatures stay valid.
    """

    def __init__(
        self,
        *,
        read_whole: ReadWhole | None = None,
        rate_limit: RateLimit | Firewall | None = None,
    ) -> None:
        self.faults = FaultPlan()
        self.rate_limit = rate_limit or RateLimit()
        self.traffic = Traffic()
        self.port = 0
        self._read_whole = read_whole
        self._upstream_port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def inject(self, *faults: Fault) -> None:
        """Arm *faults*; each applies to the next requests that it matches."""
        self.faults.add(*faults)

    def reset(self) -> None:
        """Disarm all faults, start a new record and a new rate window."""
        self.rate_limit.restart()
        self.faults.clear()
        self.traffic.forget()

    async def listen(self, tls: ssl.SSLContext) -> None:
        """Listen on an ephemeral port; call :meth:`forward_to` before the first request."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, ssl=tls, limit=_HEAD_BYTES
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def forward_to(self, port: int) -> None:
        """Set the loopback port of the service, which uses no TLS."""
        self._upstream_port = port

    async def close(self) -> None:
        """Stop listening and close every connection."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self.traffic.connected()
        try:
            while (head := await read_head(reader)) and await self._handle(head, reader, writer):
                pass
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            pass  # the client disconnected or sent no HTTP; the record has the sent bytes
        finally:
            self.traffic.disconnected()
            writer.close()

    async def _handle(self, head: Head, reader: StreamReader, writer: StreamWriter) -> bool:
        """Respond to one request; return whether the connection can serve another."""
        method, path, _ = head.start.split(" ", 2)
        exchange = Exchange(
            method=method, path=path, range=head.get("range"), agent=head.get("user-agent")
        )
        call = self._admitted(_Call(head, self.faults.take(method, path), exchange))
        self.traffic.begin(exchange)
        try:
            return await self._answer(call, reader, writer)
        finally:
            self.traffic.end(exchange)

    def _admitted(self, call: _Call) -> _Call:
        """Return the call with the headers or the refusal of the rate limit."""
        passes, headers = self.rate_limit.admit()
        fault = replace(call.fault, headers={**headers, **call.fault.headers})
        if not passes:
            fault = Fault(headers=headers, answer=self.rate_limit.refusal())
        return replace(call, fault=fault)

    async def _answer(self, call: _Call, reader: StreamReader, writer: StreamWriter) -> bool:
        if call.fault.silent:
            while await reader.read(_HEAD_BYTES):
                pass
            return False
        if call.head.get("expect"):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request_body = read_body(reader, call.head, body_length(call.head, is_answer=False))
        await asyncio.sleep(call.fault.delay_seconds)
        if call.fault.answer is not None:
            async for _ in request_body:
                pass
            return await _send(call, _canned(call.fault.answer), writer)
        return await self._forward(call, request_body, writer)

    async def _forward(
        self, call: _Call, request_body: AsyncIterator[bytes], writer: StreamWriter
    ) -> bool:
        upstream, upstream_writer = await asyncio.open_connection(
            "127.0.0.1", self._upstream_port, limit=_HEAD_BYTES
        )
        try:
            await _pass_on(call.head, request_body, upstream_writer)
            head = await read_head(upstream)
            if head is None:
                return False
            length = body_length(head, is_answer=True, method=call.exchange.method)
            reply = _Reply(head, length, read_body(upstream, head, length))
            return await _send(call, await self._widened(call, reply), writer)
        finally:
            upstream_writer.close()

    async def _widened(self, call: _Call, reply: _Reply) -> _Reply:
        """Return the whole object instead of a range, if the fault requires it."""
        if not call.fault.ignore_range or status_of(reply.head) != http.HTTPStatus.PARTIAL_CONTENT:
            return reply
        if self._read_whole is None:
            return reply
        whole = await asyncio.to_thread(self._read_whole, call.exchange.path)
        if whole is None:
            return reply
        changes = {"Content-Range": "", "Content-Length": str(len(whole))}
        head = Head("HTTP/1.1 200 OK", reply.head.headers).replacing(changes)
        return _Reply(head, len(whole), _pieces(whole))


def _canned(answer: Answer) -> _Reply:
    phrase = http.HTTPStatus(answer.status).phrase
    head = Head(f"HTTP/{answer.version} {answer.status} {phrase}", tuple(answer.headers.items()))
    length = str(len(answer.body))
    return _Reply(
        head.replacing({"Content-Length": length}), len(answer.body), _pieces(answer.body)
    )


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), _HEAD_BYTES):
        yield content[start : start + _HEAD_BYTES]


async def _pass_on(head: Head, body: AsyncIterator[bytes], writer: StreamWriter) -> None:
    is_chunked = "chunked" in head.get("transfer-encoding").lower()
    framing = {"Transfer-Encoding": "chunked"} if is_chunked else {}
    writer.write(head.end_to_end().replacing({"Connection": "close", **framing}).encode())
    async for piece in body:
        writer.write(_framed(piece, is_chunked=is_chunked))
        await writer.drain()
    if is_chunked:
        writer.write(b"0\r\n\r\n")


async def _send(call: _Call, reply: _Reply, writer: StreamWriter) -> bool:
    """Send a reply with the fault's changes; return whether the connection stays open."""
    fault, exchange = call.fault, call.exchange
    exchange.status = status_of(reply.head)
    is_chunked = reply.length is None
    writer.write(_reply_head(call, reply).encode())
    async for piece in _shaped(reply.body, fault):
        exchange.sent_bytes += len(piece)
        writer.write(_framed(piece, is_chunked=is_chunked))
        await writer.drain()
        if fault.bytes_per_second:
            await asyncio.sleep(len(piece) / fault.bytes_per_second)
    if fault.cut_after_bytes is not None and fault.cut != "shorten":
        await _break(fault, writer)
        return False
    if is_chunked:
        writer.write(b"0\r\n\r\n")
    await writer.drain()
    is_kept = call.head.get("connection").lower() != "close"
    return is_kept and not reply.head.start.startswith("HTTP/1.0")


def _reply_head(call: _Call, reply: _Reply) -> Head:
    fault = call.fault
    framing = {"Transfer-Encoding": "chunked"} if reply.length is None else {}
    if fault.cut == "shorten" and fault.cut_after_bytes is not None and reply.length is not None:
        framing = {"Content-Length": str(min(fault.cut_after_bytes, reply.length))}
    return reply.head.end_to_end().replacing({**framing, **fault.headers})


async def _shaped(body: AsyncIterator[bytes], fault: Fault) -> AsyncIterator[bytes]:
    """Yield the body with the fault's flipped byte, cut and rate."""
    sent = 0
    async for whole in body:
        piece = _flipped(whole, sent, fault.flip_byte)
        if fault.cut_after_bytes is not None:
            piece = piece[: fault.cut_after_bytes - sent]
        sent += len(piece)
        for drop in _drops(piece, fault.bytes_per_second):
            yield drop
        if sent == fault.cut_after_bytes:
            return


def _flipped(piece: bytes, offset: int, flip_byte: int | None) -> bytes:
    if flip_byte is None or not offset <= flip_byte < offset + len(piece):
        return piece
    at = flip_byte - offset
    return piece[:at] + bytes([piece[at] ^ 0xFF]) + piece[at + 1 :]


def _drops(piece: bytes, bytes_per_second: int | None) -> list[bytes]:
    step = max(1, (bytes_per_second or 0) // _DRIPS_PER_SECOND) if bytes_per_second else len(piece)
    return [piece[start : start + step] for start in range(0, len(piece), step or 1)]


def _framed(piece: bytes, *, is_chunked: bool) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece


async def _break(fault: Fault, writer: StreamWriter) -> None:
    """End the connection before the end of the body, by a reset or a close."""
    await writer.drain()
    if fault.cut == "close":
        return
    raw: socket.socket = writer.get_extra_info("socket")
    await _wait_until_received(writer, raw)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()


async def _wait_until_received(writer: StreamWriter, raw: socket.socket) -> None:
    """Wait until the client's machine has received all sent bytes, even if the client reads slowly.

    A reset drops bytes in transit, and none that were received. The event loop can send bytes
    between two checks, so several checks in a row must find none in transit.
    """
    quiet = 0
    while quiet < _SETTLED_CHECKS and not writer.is_closing():
        await asyncio.sleep(_SETTLE_SECONDS)
        (in_transit,) = struct.unpack("i", fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, bytes(4)))
        quiet = 0 if in_transit else quiet + 1
