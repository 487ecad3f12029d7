import os
import signal
import subprocess
import sys
import tempfile
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


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own folders are private."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@contextmanager
def another_process(ledger_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Hold the lock in another process while the block runs."""
    command = [sys.executable, "-c", HOLD, str(ledger_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_second_process_is_refused_with_holders_pid(ledger_path: Path) -> None:
    with another_process(ledger_path) as holder:
        with pytest.raises(AlreadyRunning) as caught, InstanceLock(ledger_path):
            pass
        assert holder_pid(ledger_path) == holder.pid
    assert str(caught.value) == (
        f"another s2mirror (process {holder.pid}) uses this ledger; stop it first, or leave the "
        "work to it: `s2mirror status` shows its progress"
    )
    assert caught.value.exit_code == 4


def test_killed_holder_frees_lock_at_once(ledger_path: Path) -> None:
    with another_process(ledger_path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert holder_pid(ledger_path) is None
        with InstanceLock(ledger_path):
            assert holder_pid(ledger_path) == os.getpid()


def test_lock_is_free_after_its_block(ledger_path: Path) -> None:
    for _ in range(2):
        with InstanceLock(ledger_path):
            pass
    assert holder_pid(ledger_path) is None


def test_one_process_cannot_lock_twice(ledger_path: Path) -> None:
    with (
        InstanceLock(ledger_path),
        pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"),
        InstanceLock(ledger_path),
    ):
        pass


def test_two_ledgers_have_two_locks(ledger_path: Path) -> None:
    with InstanceLock(ledger_path), InstanceLock(ledger_path.with_name("other.db")):
        assert holder_pid(ledger_path) == os.getpid()


def test_missing_ledger_has_no_holder(ledger_path: Path) -> None:
    assert holder_pid(ledger_path) is None
    assert not ledger_path.parent.exists()


def test_lock_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError) as caught, InstanceLock(tmp_path / "file" / "ledger.db"):
        pass
    assert str(caught.value) == (
        f"cannot open the lock file {tmp_path / 'file'}/ledger.db.lock: File exists; "
        "check that its folder exists and that this user may write there"
    )


def refusal(ledger_path: Path) -> str:
    with pytest.raises(LedgerError) as caught, InstanceLock(ledger_path):
        pass
    return str(caught.value)


@pytest.fixture
def lock_file(ledger_path: Path) -> Path:
    ledger_path.parent.mkdir()
    return ledger_path.with_name("ledger.db.lock")


@pytest.mark.parametrize("exists", [True, False])
def test_linked_lock_file_is_refused_untouched(
    ledger_path: Path, lock_file: Path, *, exists: bool
) -> None:
    target = ledger_path.with_name("precious")
    if exists:
        target.write_text("precious bytes")
    lock_file.symlink_to(target)
    assert refusal(ledger_path) == (
        f"the lock file {lock_file} is a symbolic link, which s2mirror does not follow; find out "
        "who made it, and remove it"
    )
    assert holder_pid(ledger_path) is None
    assert target.exists() is exists
    assert not exists or target.read_text() == "precious bytes"


@pytest.mark.parametrize("kind", ["hard link", "pipe"])
def test_lock_file_of_other_kind_is_refused_untouched(
    ledger_path: Path, lock_file: Path, kind: str
) -> None:
    target = ledger_path.with_name("precious")
    target.write_text("precious bytes")
    if kind == "pipe":
        os.mkfifo(lock_file)
    else:
        lock_file.hardlink_to(target)
    assert refusal(ledger_path) == (
        f"the lock file {lock_file} is not a plain file of one name; s2mirror does not write to "
        "it: find out who made it, and remove it"
    )
    assert target.read_text() == "precious bytes"


def test_lock_file_is_for_its_owner_alone(ledger_path: Path, lock_file: Path) -> None:
    lock_file.touch(0o666)
    with InstanceLock(ledger_path):
        assert lock_file.stat().st_mode & 0o777 == 0o600
    lock_file.unlink()
    with InstanceLock(ledger_path):
        assert lock_file.stat().st_mode & 0o777 == 0o600


def test_old_pid_in_file_is_not_believed(ledger_path: Path, lock_file: Path) -> None:
    with another_process(ledger_path) as holder:
        lock_file.write_text("1\n")
        assert holder_pid(ledger_path) == holder.pid
    assert holder_pid(ledger_path) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act as another user")
def test_other_users_see_holder_without_opening_file(public_folder: Path) -> None:
    ledger_path = public_folder / "ledger.db"
    look = (
        "import os, sys; from pathlib import Path; from s2mirror.adapters.lock import holder_pid;"
        "os.setuid(65534); print(holder_pid(Path(sys.argv[1])))"
    )
    with InstanceLock(ledger_path):
        command = [sys.executable, "-c", look, str(ledger_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == f"{os.getpid()}\n", done.stderr
