from pathlib import Path

import pytest

from s2mirror.adapters.archive import NETWORK_KINDS, filesystem_kind

MOUNTINFO = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /data rw shared:5 - xfs /dev/sdb1 rw
31 30 0:41 / /data/archive rw shared:6 master:2 - nfs4 server:/export rw
32 22 0:42 / /mnt/my\040disk rw - cifs //server/share rw
33 22 0:43 / /mnt/tab\011and\134slash rw - ceph mon:/ rw
34 22 0:44 / /over rw - ext4 /dev/sdc1 rw
35 22 0:45 / /over rw - fuse.sshfs me@there: rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/data/archive/T32TMT", "nfs4"),
        ("/data/archive", "nfs4"),
        ("/data/archive2", "xfs"),
        ("/data", "xfs"),
        ("/database", "ext4"),
        ("/", "ext4"),
        ("/mnt/my disk/s2", "cifs"),
        ("/mnt/my", "ext4"),
        ("/mnt/tab\tand\\slash/s2", "ceph"),
        ("/over/s2", "fuse.sshfs"),
    ],
)
def test_longest_and_latest_mount_point_decides_kind(tmp_path: Path, path: str, kind: str) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTINFO.lstrip(), encoding="utf-8")
    assert filesystem_kind(Path(path), table) == kind


def test_network_file_systems_are_known_as_such() -> None:
    assert {"nfs", "nfs4", "cifs", "fuse.sshfs", "ceph"} <= NETWORK_KINDS
    assert not {"ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay"} & NETWORK_KINDS


def test_kind_is_unknown_without_a_mount_table(tmp_path: Path) -> None:
    assert filesystem_kind(tmp_path, tmp_path / "no such table") == "unknown"


def test_unreadable_mount_line_is_skipped(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text("\n# odd\n" + MOUNTINFO, encoding="utf-8")
    assert filesystem_kind(Path("/data/archive"), table) == "nfs4"


def test_kind_of_a_real_folder_is_known(tmp_path: Path) -> None:
    assert filesystem_kind(tmp_path) != "unknown"
