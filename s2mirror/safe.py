"""What makes a SAFE whole beside its files."""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final

_ROOT_FOLDERS: Final = ("AUX_DATA", "HTML", "rep_info")
_GRANULE_FOLDERS: Final = ("AUX_DATA", "IMG_DATA", "QI_DATA")


def needed_folders(paths: Iterable[str]) -> frozenset[str]:
    """Return the folders that Sen2Cor and others expect, empty or not, given a product's files.

    An object store has no empty folders, so the root's ``AUX_DATA``, for one, never comes along.
    """
    granules = {
        PurePosixPath(*parts[:2])
        for parts in (PurePosixPath(path).parts for path in paths)
        if parts[0] == "GRANULE" and len(parts) > 1
    }
    inner = {str(granule / name) for granule in granules for name in _GRANULE_FOLDERS}
    return frozenset(inner.union(_ROOT_FOLDERS))
