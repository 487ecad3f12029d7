"""The page of a mirror without a network: requests go straight to the application."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from builders import NOW

from s2mirror.config import load_settings
from s2mirror.service.wiring import Mirror, open_mirror
from s2mirror.web.app import page_app
from s2mirror.web.guard import Access
from s2mirror.web.reader import Reader

CONFIG = """
[archive]
root = "archive"
[web]
listen = "127.0.0.1:0"
[[area]]
name = "lake"
bbox = [9, 47, 10, 48]
start = 2026-01-01
"""
TOKEN = "a-token-of-enough-characters"  # noqa: S105 - of the tests


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Browser:
    """Sends requests to a page."""

    app: Any
    headers: dict[str, str] = field(default_factory=lambda: {"host": "127.0.0.1:8765"})

    def get(self, target: str, method: str = "GET", **headers: str) -> Answer:
        """Request a path with its query; ``_`` in a name of *headers* stands for ``-``."""
        path, _, query = target.partition("?")
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name.lower(): value for name, value in (self.headers | more).items() if value}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": query.encode(errors="surrogateescape"),
            "headers": [(n.encode("latin-1"), v.encode("latin-1")) for n, v in sent.items()],
            "server": ("127.0.0.1", 8765),
            "client": ("127.0.0.1", 1),
        }
        return asyncio.run(_answer(self.app, scope))


async def _answer(app: Any, scope: dict[str, Any]) -> Answer:  # noqa: ANN401 - an ASGI app
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    await app(scope, receive, send)
    start = messages[0]
    return Answer(
        status=start["status"],
        headers={name.decode().lower(): value.decode() for name, value in start["headers"]},
        body=b"".join(message.get("body", b"") for message in messages[1:]),
    )


def make_mirror(folder: Path, config: str = CONFIG) -> Mirror:
    """Return a mirror that has never run; its clock stands at `NOW`."""
    path = folder / "s2mirror.toml"
    path.write_text(config)
    mirror = open_mirror(load_settings(path, environment={}).settings, create=True)
    return replace(mirror, now=lambda: NOW)


@contextmanager
def page_of(
    mirror: Mirror, *, token: str | None = None, is_alive: Callable[[], bool] = lambda: True
) -> Iterator[Browser]:
    """Yield a browser of the mirror's page."""
    reader = Reader(mirror)
    access = Access(token=token, hosts={"mirror.example.org"})
    try:
        yield Browser(page_app(reader, access, is_alive))
    finally:
        reader.close()
