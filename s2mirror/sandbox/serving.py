"""Runs asyncio servers in a separate thread."""

import asyncio
import socket
import ssl
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Thread
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette

from s2mirror.errors import OutsideError
from s2mirror.sandbox.proxy import Proxy

_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 30
_POLL_SECONDS: Final = 0.005


class LoopThread:
    """An event loop in a separate thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda *_: None)  # aborted connections are expected
        self._thread = Thread(target=self._loop.run_forever, name="s2mirror-sandbox", daemon=True)
        self._thread.start()

    def start(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        """Start *work* on the loop and return its future."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Stop the loop and end the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_SECONDS)
        self._loop.close()


@contextmanager
def loop_thread() -> Iterator[LoopThread]:
    """Yield a running loop and stop it afterwards."""
    loop = LoopThread()
    try:
        yield loop
    finally:
        loop.close()


@contextmanager
def listening(loop: LoopThread, proxy: Proxy, tls: ssl.SSLContext) -> Iterator[None]:
    """Start *proxy*, and close its connections afterwards."""
    loop.start(proxy.listen(tls)).result(_START_SECONDS)
    try:
        yield
    finally:
        loop.start(proxy.close()).result(_STOP_SECONDS)


@contextmanager
def served(loop: LoopThread, app: Starlette) -> Iterator[int]:
    """Serve *app* over plain HTTP on loopback; yield its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="error", access_log=False, lifespan="off")
    )
    serving = loop.start(server.serve([listener]))
    deadline = time.monotonic() + _START_SECONDS
    while not server.started:
        if time.monotonic() > deadline:
            raise OutsideError(
                f"a sandbox service was started and was not ready within {_START_SECONDS} s. "
                "Check that the machine is not overloaded, then try again"
            )
        time.sleep(_POLL_SECONDS)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        serving.result(_STOP_SECONDS)
