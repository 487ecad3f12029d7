"""A connection of the page's server that ends in time."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

_MAX_SECONDS: Final = 60.0


class BoundedProtocol(H11Protocol):
    """Closes a connection after a minute, whatever its client sends or reads.

    uvicorn alone waits for ever for the first request of a connection, and for a client that does
    not read.
    """

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - of asyncio
        """Begin a connection."""
        super().connection_made(transport)
        self._limit = asyncio.get_running_loop().call_later(_MAX_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection."""
        self._limit.cancel()
        super().connection_lost(exc)
