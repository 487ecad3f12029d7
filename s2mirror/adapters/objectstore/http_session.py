"""Sends botocore's requests: each to the store's own address only."""

import socket
from typing import Any, Final

from botocore.awsrequest import AWSHTTPConnectionPool, AWSHTTPSConnectionPool
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

_SOCKET_OPTIONS: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
)


class _NoRedirect:
    """A pool of connections that returns a redirect as any other response."""

    def urlopen(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - urllib3's
        """Send a request; urllib3 itself would follow a redirect here."""
        return super().urlopen(*arguments, **{**options, "redirect": False})  # type: ignore[misc]


class _HttpPool(_NoRedirect, AWSHTTPConnectionPool):
    pass


class _HttpsPool(_NoRedirect, AWSHTTPSConnectionPool):
    pass


class StoreSession(URLLib3Session):
    """An HTTP session of one store."""

    def __init__(
        self, endpoint: str, *, ca_file: str, timeout: tuple[float, float], connections: int
    ) -> None:
        settings: dict[str, Any] = {
            "verify": ca_file or True,
            "proxies": get_environ_proxies(endpoint),
            "timeout": timeout,
            "max_pool_connections": connections,
            "socket_options": list(_SOCKET_OPTIONS),
        }
        super().__init__(**settings)
        pools: dict[str, type] = {"http": _HttpPool, "https": _HttpsPool}
        self._pool_classes_by_scheme.update(pools)  # type: ignore[attr-defined]  # as in botocore's

    def answer(self, request: Any, **_: object) -> Any:  # noqa: ANN401 - botocore's
        """Send a request in place of botocore: a handler of its event ``before-send``."""
        return self.send(request)
