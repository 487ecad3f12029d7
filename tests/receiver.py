"""A receiver of alerts: an HTTP server that keeps what it gets, and a command that does."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """What has arrived, and how to respond. Pings and Apprise's json:// post to it."""

    url: str = ""
    port: int = 0
    status: int = 200
    body: bytes = b"OK"
    location: str = ""
    got: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and body of each request."""

    def pings(self, path: str = "/ping") -> list[str]:
        """Return the ends of the paths of pings: "" for success, "/start", "/fail"."""
        return [got[1].removeprefix(path) for got in self.got if got[1].startswith(path)]

    def messages(self, path: str = "/notify") -> list[Any]:
        """Return the parsed messages of Apprise."""
        return [json.loads(body) for _, got, body in self.got if got.startswith(path)]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver on this machine."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            receiver.got.append((self.command, self.path, self.rfile.read(size).decode()))
            self.send_response(receiver.status)
            if receiver.location:
                self.send_header("Location", receiver.location)
            self.send_header("Content-Length", str(len(receiver.body)))
            self.end_headers()
            self.wfile.write(receiver.body)

        do_GET = do_POST  # noqa: N815 - the name of the library

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_address[1]
    receiver.url = f"http://127.0.0.1:{receiver.port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
