"""The preview image of a product, from the archive."""

from collections.abc import Iterable
from typing import Final

from s2mirror.adapters.archive import Archive
from s2mirror.errors import MirrorError
from s2mirror.model import LedgerEntry
from s2mirror.naming import check_relative_path
from s2mirror.preview_model import Outcome, Preview

_MAX_BYTES: Final = 20_000_000
_MEDIA_TYPES: Final = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}
"""By the first bytes of a file; a file that begins otherwise is not sent."""
_SUFFIXES: Final = (".jpg", ".jpeg", ".png")


def has_image(archive: Archive, entry: LedgerEntry, previews: Iterable[Preview]) -> bool:
    """Return whether there is an image file for :func:`read_image`."""
    return any(archive.tree.is_file(archive.root / path) for path in _paths(entry, previews))


def read_image(
    archive: Archive, entry: LedgerEntry, previews: Iterable[Preview]
) -> tuple[bytes, str] | None:
    """Return the best preview image of a product with its media type; None if there is none."""
    for path in _paths(entry, previews):
        try:
            with archive.tree.open(archive.root / path, "rb") as file:
                content = file.read(_MAX_BYTES + 1)
        except (MirrorError, OSError):
            continue
        kinds = (kind for start, kind in _MEDIA_TYPES.items() if content.startswith(start))
        if (kind := next(kinds, None)) and len(content) <= _MAX_BYTES:
            return content, kind
    return None


def _paths(entry: LedgerEntry, previews: Iterable[Preview]) -> Iterable[str]:
    """Yield the paths of a product's images, relative to the archive root, the best first."""
    for preview in previews:
        if preview.outcome is Outcome.MADE:
            yield from filter(_is_safe, preview.paths)
    if entry.path is not None:
        yield f"{entry.path}/{entry.product.id}-ql.jpg"


def _is_safe(path: str) -> bool:
    try:
        return check_relative_path(path).endswith(_SUFFIXES)
    except (MirrorError, AttributeError):
        return False
