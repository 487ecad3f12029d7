"""A Ceph cluster of one: a monitor, a manager and an OSD that stores its objects in a file."""

import uuid
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

from daemons import LOOPBACK, Daemon, free_port, listens, run

DISK_BYTES = 8 << 30  # a sparse file, which uses only the space that is written

# The keys are valid as long as the folder exists; every daemon reads its key in the one keyring.
CONFIG = """\
[global]
fsid = {fsid}
mon host = v2:{host}:{mon_port}
public addr = {host}
# Said twice: without this one the OSD's heartbeats listen on every address of the machine.
cluster addr = {host}
keyring = {folder}/keyring
run dir = {folder}
admin socket = {folder}/$name.asok
log file =
log to stderr = true
err to stderr = true
mon data = {folder}/mon
mgr data = {folder}/mgr
osd data = {folder}/osd
rgw data = {folder}/rgw

# One disk, so one copy, and no waiting for others.
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
osd pool default pg num = 4
osd pool default pg autoscale mode = off
rgw rados pool pg num min = 4

# Do not gather changes for a second before each is agreed on: the gateway makes ten pools.
paxos propose interval = 0.02
paxos min wait = 0.01

osd objectstore = bluestore
bluestore block size = {disk_bytes}
# The least it takes, in bytes.
osd memory target = 939524096
mgr initial modules =
"""

RIGHTS = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
    "mgr.only": {"mon": "allow *", "osd": "allow *"},
    "osd.0": {"mon": "allow profile osd", "osd": "allow *", "mgr": "allow profile osd"},
    "client.rgw": {"mon": "allow rwx", "osd": "allow rwx"},
}


class Cluster:
    """A cluster in *folder*; runs inside ``with`` and stops in the reverse order of its start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fsid = str(uuid.uuid4())
        self._mon_port = free_port()
        self._started = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._write_config()
            self._write_keyring()
            self._start_monitor()
            self.start("ceph-mgr", "--id", "only")
            self._start_osd()
        except BaseException:
            self._started.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The OSD before the monitor: without one it no longer listens to SIGTERM.
        self._started.close()

    def run(self, program: str, *words: str) -> str:
        """Run one of Ceph's tools to its end and return what it printed."""
        return run([program, "--conf", self._config, *words], cwd=self._folder)

    def start(self, program: str, *words: str) -> Daemon:
        """Start one of Ceph's daemons; it is stopped before all daemons that were started
        earlier."""
        command = [program, "--conf", self._config, "--foreground", *words]
        daemon = Daemon(command, log=self._folder / f"{program}.log")
        self._started.callback(daemon.stop)
        return daemon

    @property
    def _config(self) -> Path:
        return self._folder / "ceph.conf"

    def _write_config(self) -> None:
        text = CONFIG.format(
            fsid=self._fsid,
            host=LOOPBACK,
            mon_port=self._mon_port,
            folder=self._folder,
            disk_bytes=DISK_BYTES,
        )
        self._config.write_text(text)

    def _write_keyring(self) -> None:
        keyring = self._folder / "keyring"
        keyring.touch(mode=0o600)
        for name, rights in RIGHTS.items():
            caps = chain.from_iterable(("--cap", *right) for right in rights.items())
            make = ["ceph-authtool", keyring, "--gen-key", "--name", name, *caps]
            run(make, cwd=self._folder)

    def _start_monitor(self) -> None:
        keyring = str(self._folder / "keyring")
        monmap = str(self._folder / "monmap")
        address = f"[v2:{LOOPBACK}:{self._mon_port}]"
        create = ["monmaptool", "--create", "--fsid", self._fsid, "--addv", "a", address, monmap]
        run(create, cwd=self._folder)
        self.run("ceph-mon", "--mkfs", "--id", "a", "--monmap", monmap, "--keyring", keyring)
        monitor = self.start("ceph-mon", "--id", "a")
        monitor.wait_until(lambda: listens(self._mon_port))

    def _start_osd(self) -> None:
        name = str(uuid.uuid4())
        self.run("ceph", "osd", "new", name, "0")
        (self._folder / "osd").mkdir()
        self.run("ceph-osd", "--id", "0", "--mkfs", "--osd-uuid", name)
        osd = self.start("ceph-osd", "--id", "0")
        osd.wait_until(lambda: "1 up" in self.run("ceph", "osd", "stat"))
