"""Real disks for tests: small ones, and one that becomes read-only during a write."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kit import wait_until


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[None]:
    """Mount a small file system at *folder*; skip the test if that is not permitted."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


class FailingDisk:
    """An ext4 file system that becomes read-only at an error, as by default on Linux.

    A remount would be refused while a file is open for writing; this is not.
    """

    def __init__(self, image: Path, folder: Path) -> None:
        self._image, self._folder = image, folder

    def make(self) -> bool:
        """Create and mount the disk; return whether that, and an error in it, are possible here."""
        self._folder.mkdir(parents=True)
        with self._image.open("wb") as file:
            file.truncate(40 * 1024 * 1024)
        self._run("mkfs.ext4", "-q", "-O", "^has_journal", str(self._image))
        return os.geteuid() == 0 and self._mount().returncode == 0 and self._trigger.exists()

    def fail(self) -> None:
        """Trigger a file system error."""
        self._trigger.write_text("1", encoding="ascii")

    def lose(self, path: Path) -> None:
        """Make the bytes of a file, and those written after it, unreadable like a bad sector."""
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        inside = path.relative_to(self._folder)
        blocks = self._run("debugfs", "-R", f"blocks /{inside}", str(self._image)).stdout.split()
        block_bytes = os.statvfs(self._folder).f_bsize
        os.truncate(self._image, min(int(block) for block in blocks) * block_bytes)

    def repair(self) -> None:
        """Repair the disk as an operator would: unmount it when it is not in use, check it, mount
        it."""
        wait_until(lambda: self._run("umount", str(self._folder)).returncode == 0, "unmounted")
        # The mount namespace of another test may keep the disk mounted for some time.
        wait_until(lambda: not self._loop_devices(), "not mounted anywhere")
        assert list(self._folder.iterdir()) == [], "nothing is written below the mount point"
        checked = self._run("e2fsck", "-f", "-p", str(self._image))
        assert checked.returncode <= 1, checked
        wait_until(lambda: self._mount().returncode == 0, "mounted")

    def remove(self) -> None:
        """Unmount the disk in any case."""
        self._run("umount", "--lazy", str(self._folder))

    @property
    def _trigger(self) -> Path:
        device = self._run("findmnt", "-no", "SOURCE", str(self._folder)).stdout.strip()
        return Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error"

    def _loop_devices(self) -> str:
        return self._run("losetup", "--associated", str(self._image)).stdout

    def _mount(self) -> "subprocess.CompletedProcess[str]":
        options = "loop,errors=remount-ro"
        return self._run("mount", "-o", options, str(self._image), str(self._folder))

    def _run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command, capture_output=True, text=True, check=False)


@contextmanager
def failing_disk(image: Path, folder: Path) -> Iterator[FailingDisk]:
    """Yield such a disk at *folder*; skip the test if that is not possible."""
    disk = FailingDisk(image, folder)
    try:
        if not disk.make():
            pytest.skip("this machine cannot mount an ext4 file system that is to fail")
        yield disk
    finally:
        disk.remove()
