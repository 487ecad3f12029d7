"""Checks of a listing: it has no key, name or size that an honest store would not send."""

from collections import Counter
from pathlib import PurePosixPath
from typing import Any, Final

from s2mirror.errors import HostileInput
from s2mirror.model import RemoteFile
from s2mirror.naming import check_relative_path

MAX_FILE_BYTES: Final = 4 * 1024**3
"""The largest band of a real product has 0.14 GB."""
MAX_FILES: Final = 5000
"""A real product has about 100."""
MAX_KEY_BYTES: Final = 1024
"""The longest key that S3 allows."""


def add_object(
    found: dict[str, Any], s3_prefix: str, files: list[RemoteFile], folders: list[str]
) -> None:
    """Add one listed object to *files* or *folders*. Raises HostileInput for an impossible one."""
    key, size_bytes = str(found["Key"]), int(found["Size"])
    if not key.startswith(s3_prefix) or len(key.encode()) > MAX_KEY_BYTES:
        raise HostileInput(
            f"listing {s3_prefix}: the key {key[:300]!r} does not belong to it, or is longer than "
            f"the {MAX_KEY_BYTES} B that S3 allows. Nothing was downloaded"
        )
    path, number = key.removeprefix(s3_prefix), len(files) + len(folders) + 1
    if not 0 <= size_bytes <= MAX_FILE_BYTES or number > MAX_FILES:
        raise HostileInput(
            f"listing {s3_prefix}: object number {number}, {key}, has {size_bytes} B; at most "
            f"{MAX_FILES} objects of {MAX_FILE_BYTES} B are accepted. Nothing was downloaded"
        )
    if not path:
        return
    if path.endswith("/") and size_bytes == 0:
        folders.append(check_relative_path(path.rstrip("/")))
        return
    etag = str(found["ETag"]).strip('"')
    path = check_relative_path(path)
    files.append(RemoteFile(path=path, key=key, size_bytes=size_bytes, etag=etag))


def check_tree(s3_prefix: str, files: list[RemoteFile], folders: list[str]) -> None:
    """Raise HostileInput for a name that is listed twice, or both as a file and as a folder."""
    names = Counter(file.path for file in files)
    needed = {str(parent) for name in (*names, *folders) for parent in PurePosixPath(name).parents}
    needed.update(folders)
    for name, times in names.items():
        if times > 1 or name in needed:
            raise HostileInput(
                f"listing {s3_prefix}: {name} is listed twice, or both as a file and as a folder, "
                "which no SAFE has. Nothing was downloaded"
            )
