"""In which order the files of a product come."""

from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import Final

from s2mirror.model import RemoteFile

LARGE_BYTES: Final = 1_000_000
"""At 20 MB/s, the bytes of a smaller file take less time than asking for it and settling it."""


def fetch_order(files: Iterable[RemoteFile]) -> list[RemoteFile]:
    """Return *files*, largest first, but behind each large one a small one while there are any.

    So the small ones hide behind the large: while one connection asks for them, the others are
    full. What small ones are left come last, and let all connections end at about the same time.
    """
    order = sorted(files, key=lambda file: file.size_bytes, reverse=True)
    large = [file for file in order if file.size_bytes >= LARGE_BYTES]
    pairs = zip_longest(large, order[len(large) :])
    return [file for file in chain.from_iterable(pairs) if file is not None]
