"""Sends botocore's requests: to the store's own address only, and with bounded responses.

botocore would read a listing or an error of any size, at any pace, and parse any XML. Here such a
response is read completely, within limits, and checked before botocore parses it. Only the body of
an object is left to ``body.py``, which has limits of its own.
"""

import socket
from collections.abc import Iterator
from typing import Any, Final
from xml.etree.ElementTree import ParseError

from botocore.awsrequest import AWSHTTPConnectionPool, AWSHTTPSConnectionPool, AWSResponse
from botocore.exceptions import HTTPClientError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from s2mirror.bounded_stream import HEADER_BYTES, LimitExceeded, bounded_pools, read_body

MAX_DOCUMENT_BYTES: Final = 2 * 1024**2
"""A page of a listing has up to 1000 keys, with about 400 B of XML each."""
DEADLINE_TIMEOUTS: Final = 3
"""The deadline of a response, as a multiple of the time-out between two of its parts."""
_MAX_ERROR_BYTES: Final = 64 * 1024
_ERROR_STATUS: Final = 300
_MAX_DEPTH: Final = 12
"""Listings have 4 levels, errors have 2."""
_MAX_ELEMENTS: Final = 30_000
"""A page of 1000 keys has about 7000."""
_SOCKET_OPTIONS: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
)


class _NoRedirect:
    """A pool of connections that returns redirects like other responses."""

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
        pools = bounded_pools(
            {"http": _HttpPool, "https": _HttpsPool},
            deadline_seconds=timeout[1] * DEADLINE_TIMEOUTS,
            max_bytes=MAX_DOCUMENT_BYTES + HEADER_BYTES,
        )
        self._pool_classes_by_scheme.update(pools)  # type: ignore[attr-defined]  # as in botocore's

    def answer(self, request: Any, **_: object) -> Any:  # noqa: ANN401 - botocore's
        """Send a request instead of botocore, as a handler of its event ``before-send``.

        A document is returned as it was read, an object with its body still to be read.
        """
        is_object, request.stream_output = request.stream_output, True
        try:
            response: Any = self.send(request)
        except HTTPClientError as error:
            raise _cause(error) from error
        is_error = response.status_code >= _ERROR_STATUS
        if is_object and not is_error:
            return response
        body = _read_document(response.raw, is_error=is_error)
        return AWSResponse(response.url, response.status_code, response.headers, _Read(body))


class _Read:
    """A body that has been read."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        """Yield the body."""
        yield self._body


def _cause(error: HTTPClientError) -> Exception:
    """Return the exceeded limit that botocore has wrapped, or *error* itself."""
    cause = error.kwargs.get("error")
    return cause if isinstance(cause, LimitExceeded) else error


def _read_document(raw: Any, *, is_error: bool) -> bytes:  # noqa: ANN401 - urllib3's
    """Return a body that botocore may parse; an unusable one of an error response is left out."""
    body = read_body(raw, _MAX_ERROR_BYTES if is_error else MAX_DOCUMENT_BYTES, cut=is_error)
    raw.release_conn()
    try:
        _check_document(body)
    except LimitExceeded:
        if not is_error:
            raise
        body = b""
    return body


def _check_document(body: bytes) -> None:
    """Raise LimitExceeded for XML that is malformed, deep, of too many parts, or has entities."""
    if not body:
        return
    try:
        parser = DefusedXMLParser(target=_Shape(), encoding="utf-8", forbid_dtd=True)
        parser.feed(body)
        parser.close()
    except (ParseError, DefusedXmlException, ValueError) as error:
        what = type(error).__name__ if isinstance(error, DefusedXmlException) else str(error)
        raise LimitExceeded(f"the response is not the XML of an S3 store ({what})") from error


class _Shape:
    """Counts the elements of a document and their depth, and builds nothing."""

    def __init__(self) -> None:
        self._depth = self._count = 0

    def start(self, _tag: str, _attributes: dict[str, str]) -> None:
        """Count an element. Raises ValueError for one too many or too deep."""
        self._depth += 1
        self._count += 1
        if self._depth > _MAX_DEPTH or self._count > _MAX_ELEMENTS:
            raise ValueError(f"deeper than {_MAX_DEPTH} levels or more than {_MAX_ELEMENTS} parts")

    def end(self, _tag: str) -> None:
        """Leave an element."""
        self._depth -= 1

    def close(self) -> None:
        """End the document."""
