"""Test servers listen on loopback only, and neither they nor their folders outlive the tests."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.servers

PATIENCE_SECONDS = 150
LISTENS = "0A"
LOOPBACK_HEX = ("0100007F", "00000000000000000000000001000000")
# Background processes of a shell ignore SIGINT, and so would their child processes.
TEST_RUN = """
import signal, time
from daemons import Daemon, swept_folder
signal.signal(signal.SIGINT, signal.default_int_handler)
with swept_folder("s2mirror-leave-nothing-") as folder:
    sleeper = Daemon(["sh", "-c", "echo $$ > p; mv p pid; exec sleep 600"], log=folder / "log")
    sleeper.wait_until((folder / "pid").exists)
    print(folder, flush=True)
    try:
        time.sleep(600)
    finally:
        sleeper.stop()
"""


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def sockets_open_to_others() -> set[str]:
    """Return the inodes of all TCP sockets that listen on more than loopback."""
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path("/proc/net", table).read_text().splitlines()[1:]
    ]
    return {
        f"socket:[{row[9]}]"
        for row in rows
        if row[3] == LISTENS and row[1].partition(":")[0] not in LOOPBACK_HEX
    }


def sockets_of_servers() -> set[str]:
    """Return the sockets of every process whose folder is one of these tests'."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if "/s2mirror-" in str((process / "cwd").readlink()):
                found |= {str(descriptor.readlink()) for descriptor in (process / "fd").iterdir()}
        except OSError:
            continue  # ended meanwhile, or not readable
    return {target for target in found if target.startswith("socket:")}


@pytest.mark.usefixtures("pgstac", "ceph")
def test_no_server_listens_beyond_this_machine() -> None:
    mine = sockets_of_servers()
    assert mine
    assert not mine & sockets_open_to_others()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_servers_end_with_their_tests(ending: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TEST_RUN],
        cwd=Path(__file__).parent,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as tests:
        folder = Path(tests.stdout.readline().strip())
        server = int((folder / "pid").read_text())
        tests.send_signal(ending)
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while (folder.exists() or not is_gone(server)) and time.monotonic() < give_up_at:
        time.sleep(0.05)
    assert is_gone(server)
    assert list(tmp_path.iterdir()) == []
