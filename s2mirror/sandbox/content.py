"""Content of generated files: deterministic, incompressible, cheap even at real sizes."""

import hashlib
import random
import struct
import zlib
from functools import lru_cache
from typing import Final

_BLOCK_BYTES: Final = 1024 * 1024
_JP2_SIGNATURE: Final = bytes.fromhex("0000000c6a5020200d0a870a00000014667479706a703220")


def file_content(path: str, size_bytes: int, seed: str) -> bytes:
    """Return the content of the file at *path*: at least one byte, equal for equal *seed*.

    XML and HTML files are well-formed text of about the given size, PNG files are valid. All other
    files are the first bytes of their format and noise, of exactly the given size.
    """
    suffix = path.rpartition(".")[2]
    if suffix in ("xml", "html", "xsl", "xsd"):
        return _text(path, size_bytes, seed)
    if suffix == "png":
        return _png(seed)
    head = {"jp2": _JP2_SIGNATURE, "jpg": b"\xff\xd8\xff\xe0"}.get(suffix, b"")
    return _noise(head, max(1, size_bytes), f"{seed}/{path}")


def _text(path: str, size_bytes: int, seed: str) -> bytes:
    name = path.rpartition("/")[2].partition(".")[0]
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} source="{seed}" file="{path}">\n<!--'
    tail = f"-->\n</{name}>\n"
    filler = hashlib.sha256(f"{seed}/{path}".encode()).hexdigest()
    left = max(0, size_bytes - len(head) - len(tail))
    return f"{head}{(filler * (left // len(filler) + 1))[:left]}{tail}".encode()


def _noise(head: bytes, size_bytes: int, seed: str) -> bytes:
    """Return *head* and noise; large files repeat one block, each time after its number."""
    start = head + hashlib.sha256(seed.encode()).digest()
    if size_bytes <= _BLOCK_BYTES:
        return (start + random.Random(seed).randbytes(size_bytes))[:size_bytes]
    count = size_bytes // _BLOCK_BYTES + 1
    blocks = (struct.pack(">Q", number) + _block() for number in range(count))
    return b"".join([start, *blocks])[:size_bytes]


@lru_cache(maxsize=1)
def _block() -> bytes:
    return random.Random(0).randbytes(_BLOCK_BYTES)


def _png(seed: str) -> bytes:
    """Return a valid image of 8 by 8 grey pixels."""
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + random.Random(f"{seed}{row}").randbytes(8) for row in range(8))
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, body) for kind, body in chunks)


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    check = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)
