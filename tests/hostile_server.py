"""A server that sends exactly the bytes of a test, at the rate of the test."""

import re
import socket
import ssl
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

HEAD = b"HTTP/1.1 200 OK\r\nDate: Fri, 01 May 2026 10:20:30 GMT\r\n"


def whole(body: bytes, *headers: bytes) -> bytes:
    """Return a complete response."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return HEAD + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def bomb(mebibytes: int) -> bytes:
    """Return a gzip response that expands to a thousand times its size."""
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(bytes(1024**2)) for _ in range(mebibytes)) + packer.flush()
    return whole(packed, b"Content-Encoding: gzip")


class HostileServer:
    """Answers every request with the next pieces of bytes; the last answer is repeated."""

    def __init__(self, *answers: Iterable[bytes], pause_seconds: float = 0.0) -> None:
        self.answers = list(answers)
        self._pause_seconds = pause_seconds
        self._context: ssl.SSLContext | None = None
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        self.connections = 0

    @property
    def url(self) -> str:
        scheme = "https" if self._context else "http"
        return f"{scheme}://localhost:{self.port}/"

    def with_tls(self, context: ssl.SSLContext) -> Self:
        self._context = context
        return self

    @contextmanager
    def running(self) -> Iterator[Self]:
        thread = threading.Thread(target=self._accept, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._closing.set()
            self._listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                while request := _request(connection):
                    self.requests.append(request)
                    for piece in self._next():
                        connection.sendall(piece)
                        if self._pause_seconds and self._closing.wait(self._pause_seconds):
                            return

    def _next(self) -> Iterable[bytes]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def _request(connection: socket.socket) -> bytes:
    """Return the next request with its body; empty if there is none."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (piece := connection.recv(64 * 1024)):
            return b""
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(body) < int(length[1]):
        body += connection.recv(64 * 1024)
    return head + b"\r\n\r\n" + body
