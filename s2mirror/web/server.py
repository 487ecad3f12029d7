"""The HTTP server of the page: one thread of the daemon, with limits for its clients."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from s2mirror.config.web import Address
from s2mirror.errors import UsageError
from s2mirror.service.logs import log
from s2mirror.service.wiring import Mirror
from s2mirror.web.reader import Reader

MIN_TOKEN_CHARACTERS: Final = 16
_MAX_HEAD_BYTES: Final = 16 * 1024
"""Of request line and headers together."""
_MAX_CONNECTIONS: Final = 32
_STOP_SECONDS: Final = 2.0
_ALIVE_SECONDS: Final = 60.0
_INSTALL: Final = 'pip install "s2mirror[web]"'


class PageServer:
    """Serves the page of a mirror in a thread of its own, if the configuration asks for it.

    Nothing that happens here ends the daemon: :attr:`problem` says why there is no page.
    """

    def __init__(self, mirror: Mirror, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._mirror = mirror
        self._reader = Reader(mirror)
        self._clock = clock
        self._beat_at = clock()
        self._server: Any = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self.address: Address | None = None
        """Where the page is, once it is served."""
        self.problem = ""
        """Why there is no page although one is configured, and what to do; else empty."""

    def start(self) -> None:
        """Listen, and serve until :meth:`stop`; set :attr:`problem` if that is not possible."""
        listen = self._mirror.settings.web.listen
        if listen is None:
            return
        try:
            token = self._token(listen)
            listener = _listener(listen)
            self.address = Address(listen.host, listener.getsockname()[1])
            self._server = self._new_server(token)
        except (UsageError, OSError, ImportError) as error:
            self.problem = _explained(error, listen)
            log.error("page.refused", reason=self.problem)
            return
        self._thread = threading.Thread(
            target=self._serve, args=(listener,), name="page", daemon=True
        )
        self._thread.start()
        log.info("page.started", url=f"http://{self.address}/")

    def beat(self) -> None:
        """Note that the daemon works; without this for a minute, ``/healthz`` reports a failure."""
        self._beat_at = self._clock()

    def is_alive(self) -> bool:
        """Return whether the daemon noted within the last minute that it works."""
        return self._clock() - self._beat_at < _ALIVE_SECONDS

    def stop(self) -> None:
        """End the server within two seconds; a thread that hangs is given up."""
        self._stopping = True
        if self._server is not None:
            self._server.should_exit = self._server.force_exit = True
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
        self._reader.close()

    def _token(self, listen: Address) -> str | None:
        """Return the token that readers need, if any. Raises UsageError if it is missing."""
        secret = self._mirror.settings.secrets.web_token
        if secret is None and not listen.is_loopback:
            raise UsageError(
                "other machines can reach this address, and no token is set. Set "
                "S2MIRROR_WEB_TOKEN, or listen on 127.0.0.1"
            )
        token = None if secret is None else secret.get_secret_value()
        if token is not None and len(token) < MIN_TOKEN_CHARACTERS:
            raise UsageError(
                f"S2MIRROR_WEB_TOKEN has fewer than {MIN_TOKEN_CHARACTERS} characters. Make one "
                "with `openssl rand -hex 32`"
            )
        return token

    def _new_server(self, token: str | None) -> Any:  # noqa: ANN401 - imported late
        # Only a daemon with a page needs these libraries.
        import uvicorn  # noqa: PLC0415

        from s2mirror.web.app import page_app  # noqa: PLC0415
        from s2mirror.web.connection import BoundedProtocol  # noqa: PLC0415
        from s2mirror.web.guard import Access  # noqa: PLC0415

        access = Access(token=token, hosts=frozenset(self._mirror.settings.web.hosts))
        return uvicorn.Server(
            uvicorn.Config(
                page_app(self._reader, access, self.is_alive),
                http=BoundedProtocol,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
                limit_concurrency=_MAX_CONNECTIONS,
            )
        )

    def _serve(self, listener: socket.socket) -> None:
        try:
            with listener:
                asyncio.run(self._server.serve([listener]))
        except Exception as error:  # noqa: BLE001 - the page must not end the daemon
            log.exception("page.crashed")
            self.problem = f"the status page ended with an unexpected error: {error!r}"
        else:
            if not self._stopping:
                self.problem = "the status page ended without a stop"


def _listener(listen: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    return socket.create_server(tuple(listen), family=family)


def _explained(error: Exception, listen: Address) -> str:
    if isinstance(error, ImportError):
        why = f"{error.name} is not installed. Run `{_INSTALL}`"
    elif isinstance(error, OSError):
        advice = "End the program that uses it, or set another web.listen"
        why = f"{os.strerror(error.errno or 0)}. {advice}"
    else:
        why = str(error)
    return f"the status page cannot be served at {listen}: {why}"
