import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from s2mirror.adapters.lock import InstanceLock, holder_pid
from s2mirror.errors import AlreadyRunning, LedgerError

HOLD = """
import sys, time
from pathlib import Path
from s2mirror.adapters.lock import InstanceLock
with InstanceLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(3600)
"""


@pytest.fixture
def ledger_path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


@contextmanager
def another_process(ledger_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold the lock while the block runs."""
    command = [sys.executable, "-c", HOLD, str(ledger_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_process_is_told_who_holds_the_lock(ledger_path: Path) -> None:
    with another_process(ledger_path) as holder:
        with pytest.raises(AlreadyRunning) as caught, InstanceLock(ledger_path):
            pass
        assert holder_pid(ledger_path) == holder.pid
    assert str(caught.value) == (
        f"another s2mirror (process {holder.pid}) works with this ledger; "
        "stop it first, or let it do the work: `s2mirror status` shows how far it is"
    )
    assert caught.value.exit_code == 4


def test_a_killed_holder_frees_the_lock_at_once(ledger_path: Path) -> None:
    with another_process(ledger_path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert holder_pid(ledger_path) is None
        with InstanceLock(ledger_path):
            assert holder_pid(ledger_path) == os.getpid()


def test_the_lock_is_free_after_its_block(ledger_path: Path) -> None:
    for _ in range(2):
        with InstanceLock(ledger_path):
            pass
    assert holder_pid(ledger_path) is None


def test_one_process_cannot_take_the_lock_twice(ledger_path: Path) -> None:
    with (
        InstanceLock(ledger_path),
        pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"),
        InstanceLock(ledger_path),
    ):
        pass


def test_two_ledgers_have_two_locks(ledger_path: Path) -> None:
    with InstanceLock(ledger_path), InstanceLock(ledger_path.with_name("other.db")):
        assert holder_pid(ledger_path) == os.getpid()


def test_no_ledger_has_no_holder(ledger_path: Path) -> None:
    assert holder_pid(ledger_path) is None
    assert not ledger_path.parent.exists()


def test_a_lock_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError) as caught, InstanceLock(tmp_path / "file" / "ledger.db"):
        pass
    assert str(caught.value) == (
        f"cannot open the lock file {tmp_path / 'file'}/ledger.db.lock: File exists; "
        "check that its folder exists and that this user may write there"
    )
