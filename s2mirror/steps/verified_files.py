"""Compare the files of a product on disk with its file list in the ledger."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from s2mirror.adapters.archive import Stage, Tree
from s2mirror.errors import FileLost, PathRefused
from s2mirror.model import VerifiedFile


def is_whole(tree: Tree, folder: Path, files: Sequence[VerifiedFile]) -> bool:
    """Return whether a folder has every one of *files*, byte by byte. Reads all of them."""
    return all(_is_intact(tree, folder, file) for file in files)


def drop_damaged(tree: Tree, stage: Stage, files: Iterable[VerifiedFile]) -> None:
    """Drop the complete staged files that differ from the file list. Reads all of them."""
    for file in files:
        if stage.has(file.path) and not _is_intact(tree, stage.folder, file):
            stage.drop(file.path)


def _is_intact(tree: Tree, folder: Path, file: VerifiedFile) -> bool:
    with suppress(FileLost, PathRefused):
        return (
            tree.file_bytes(own := folder / file.path) == file.size_bytes
            and tree.file_digest(own, file.digest.algorithm) == file.digest.hexdigest
        )
    return False
