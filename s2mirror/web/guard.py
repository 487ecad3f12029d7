"""Decides whether a request is answered, and sets the headers of every response."""

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})
"""These say only yes or no, and need no token: orchestrators ask without one."""
_METHODS: Final = ("GET", "HEAD")
_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may read the page."""

    token: str | None
    """The password, or the Bearer token; None if every program of this machine may read."""
    hosts: Collection[str]
    """Accepted host names, besides IP addresses and ``localhost``."""

    def refusal(self, method: str, path: str, headers: Headers) -> Response | None:
        """Return the response to a request that is refused; None if it may be answered."""
        if method not in _METHODS:
            text = "This page is read-only: it answers GET and HEAD.\n"
            return PlainTextResponse(text, 405, {"Allow": ", ".join(_METHODS)})
        if not self._knows_host(headers.get("host", "")):
            # A hostile web page could point its own name at this address, and read the answer.
            text = "This host name is not known here; add it to web.hosts in the configuration.\n"
            return PlainTextResponse(text, 421)
        if self.token is None or path in OPEN_PATHS or self._is_authorized(headers):
            return None
        text = "Give the token of this page as the password; any user name is accepted.\n"
        challenge = {"WWW-Authenticate": 'Basic realm="s2mirror", charset="UTF-8"'}
        return PlainTextResponse(text, 401, challenge)

    def _knows_host(self, header: str) -> bool:
        name = _without_port(header.lower())
        return name == "localhost" or name in self.hosts or _is_ip_address(name)

    def _is_authorized(self, headers: Headers) -> bool:
        scheme, _, value = headers.get("authorization", "").partition(" ")
        given = {"bearer": value.strip(), "basic": _password(value)}.get(scheme.lower(), "")
        return hmac.compare_digest(given.encode(), str(self.token).encode())


class Guard:
    """An ASGI application that answers only what :class:`Access` permits.

    *policy* is the Content-Security-Policy of every response.
    """

    def __init__(self, app: ASGIApp, access: Access, policy: str) -> None:
        self._app = app
        self._access = access
        self._headers = {"Content-Security-Policy": policy, **_HEADERS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            """Send a message of the response with the headers of every response."""
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    found.setdefault(name, value)
            await send(message)

        refusal = self._access.refusal(scope["method"], scope["path"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive, send_guarded)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _password(encoded: str) -> str:
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return text.partition(":")[2]
