"""HTTP/1.1 messages on asyncio streams, as far as a reverse proxy needs them."""

from asyncio import IncompleteReadError, StreamReader
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

_CHUNK_BYTES: Final = 64 * 1024
_NO_BODY_STATUSES: Final = (204, 304)
# These headers concern one connection only.
_HOP_HEADERS: Final = ("connection", "keep-alive", "transfer-encoding", "expect")


@dataclass(frozen=True, slots=True)
class Head:
    """The start line and the headers of a message, in the original order and case."""

    start: str
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        """Return a header's value, or ``""``."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    def end_to_end(self) -> "Head":
        """Return the head without the headers of one connection."""
        kept = ((key, value) for key, value in self.headers if key.lower() not in _HOP_HEADERS)
        return Head(self.start, tuple(kept))

    def replacing(self, changes: Mapping[str, str]) -> "Head":
        """Return the head with some headers set; an empty value removes the header."""
        names = {name.lower() for name in changes}
        kept = [(key, value) for key, value in self.headers if key.lower() not in names]
        added = [(key, value) for key, value in changes.items() if value]
        return Head(self.start, (*kept, *added))

    def encode(self) -> bytes:
        """Return the bytes on the wire."""
        lines = [self.start, *(f"{key}: {value}" for key, value in self.headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def read_head(reader: StreamReader) -> Head | None:
    """Return the next message's head, or None after the peer closed the connection."""
    try:
        block = await reader.readuntil(b"\r\n\r\n")
    except IncompleteReadError as error:
        if error.partial:
            raise
        return None
    start, *lines = block[:-4].decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Head(start, tuple((key, value.strip()) for key, _, value in pairs))


def body_length(head: Head, *, is_answer: bool, method: str = "") -> int | None:
    """Return the number of body bytes after a head; None if the head does not contain it."""
    if is_answer and (method == "HEAD" or status_of(head) in _NO_BODY_STATUSES):
        return 0
    if "chunked" in head.get("transfer-encoding").lower():
        return None
    if length := head.get("content-length"):
        return int(length)
    return None if is_answer else 0


async def read_body(reader: StreamReader, head: Head, length: int | None) -> AsyncIterator[bytes]:
    """Yield the body of the message with this *head*, without its framing."""
    if length is not None:
        async for piece in _counted(reader, length):
            yield piece
    elif "chunked" in head.get("transfer-encoding").lower():
        while size := int((await reader.readline()).split(b";")[0], 16):
            async for piece in _counted(reader, size):
                yield piece
            await reader.readline()
        await reader.readline()
    else:
        while piece := await reader.read(_CHUNK_BYTES):
            yield piece


async def _counted(reader: StreamReader, length: int) -> AsyncIterator[bytes]:
    left = length
    while left:
        piece = await reader.read(min(left, _CHUNK_BYTES))
        if not piece:
            raise IncompleteReadError(b"", left)
        left -= len(piece)
        yield piece


def status_of(head: Head) -> int:
    """Return the status in the head of a response."""
    return int(head.start.split(" ", 2)[1])
