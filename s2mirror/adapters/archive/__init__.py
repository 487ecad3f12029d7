"""The archive on disk: staging, one rename to publish, quarantine, trash."""

from s2mirror.adapters.archive.archive import Archive
from s2mirror.adapters.archive.filesystem import NETWORK_KINDS, filesystem_kind
from s2mirror.adapters.archive.stage import Stage, file_digest

__all__ = ["NETWORK_KINDS", "Archive", "Stage", "file_digest", "filesystem_kind"]
