"""Hooks do not outlive their run, do not flood the mirror, and do not read its secrets."""

import os
import re
import resource
import subprocess
import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from s2mirror.adapters.hook import run_command
from s2mirror.stop import StopFlag

LEFT_RUNNING = {
    "background": "sleep 3000 & echo $! > notes; exit 0",
    "session": "setsid sh -c 'echo $$ > notes; exec sleep 3000' &\nuntil [ -s notes ]; do :; done",
    "orphan": "(setsid sh -c 'echo $$ > notes; exec sleep 3000' &)\nuntil [ -s notes ]; do :; done",
    "deaf": "setsid sh -c 'trap \"\" TERM HUP; echo $$ > notes; while :; do sleep 1; done' &\n"
    "until [ -s notes ]; do :; done",
}
READ_ENVIRONMENTS = """
from datetime import timedelta
from s2mirror.adapters.hook import run_command
from s2mirror.stop import StopFlag
hook = ["/bin/sh", "-c", "cat /proc/[0-9]*/environ > {folder}/environ; exit 0"]
print(run_command(hook, timedelta(seconds=100), StopFlag()).reason)
"""
AS_ANOTHER_USER = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--inh-caps=+dac_override", "--ambient-caps=+dac_override"),
)
"""Root may read every environment; this user may not."""


def run(script: str) -> str:
    return run_command(["/bin/sh", "-c", script], timedelta(seconds=200), StopFlag()).reason


def is_gone(pid: str) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return b") Z" in Path("/proc", pid, "stat").read_bytes()
    return True


@pytest.mark.parametrize("script", LEFT_RUNNING.values(), ids=LEFT_RUNNING)
def test_processes_that_a_hook_leaves_are_ended(tmp_path: Path, script: str) -> None:
    assert run(f"cd {tmp_path}\n{script}") == ""
    assert is_gone((tmp_path / "notes").read_text().strip())


def test_fork_bomb_is_ended_with_its_hook(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    grow = f"grow() {{ echo >> {notes}; sleep 0.2; grow & grow & wait; }}; grow & sleep 1"
    assert run(grow) == ""
    size_bytes = notes.stat().st_size
    time.sleep(0.5)
    assert notes.stat().st_size == size_bytes


def test_flood_of_output_takes_no_memory(tmp_path: Path) -> None:
    seen = tmp_path / "memory"
    flood = f"head -c 60000000 /dev/zero; grep VmRSS /proc/$PPID/status > {seen}; echo end; exit 1"
    failure = run(flood)
    assert failure.endswith("end")
    assert len(failure) < 500
    assert int(seen.read_text().split()[1]) < 30_000


@pytest.mark.parametrize("size_bytes", [0, 10, 1_000_000])
def test_document_is_standard_input(tmp_path: Path, size_bytes: int) -> None:
    copy, document = tmp_path / "copy", b"x" * size_bytes
    command = ["/bin/sh", "-c", f"cat > {copy}"]
    assert run_command(command, timedelta(seconds=200), StopFlag(), document).reason == ""
    assert copy.read_bytes() == document


def test_document_that_is_not_read_blocks_no_one() -> None:
    command = ["/bin/true"]
    assert run_command(command, timedelta(seconds=200), StopFlag(), b"x" * 5_000_000).reason == ""


def test_hook_is_killed_before_the_mirror() -> None:
    assert run("read score < /proc/self/oom_score_adj; exit $((score - 500))") == ""


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NPROC)[0] == resource.RLIM_INFINITY,
    reason="this user may have any number of tasks",
)
def test_fork_bomb_leaves_tasks_for_the_mirror() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    found = re.search(r"Max processes (\d+)", run("cat /proc/self/limits | head -9; exit 1"))
    assert found
    assert int(found[1]) <= soft * 3 // 4


def test_hook_that_kills_its_supervisor_has_failed() -> None:
    assert run("kill -9 $PPID") == "ended together with its supervisor"


LACKING = """
import resource
from datetime import timedelta
from s2mirror.adapters.hook import run_command
from s2mirror.stop import StopFlag
resource.setrlimit(resource.{limit}, ({amount}, {amount}))
try:
    print(run_command(["/bin/true"], timedelta(seconds=100), StopFlag()).reason)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("limit", "amount", "words"),
    [
        ("RLIMIT_NOFILE", 5, "OSError [Errno 24] Too many open files"),
        ("RLIMIT_AS", 4_000_000, "ResourceError the process that runs the hook ended with exit"),
    ],
)
def test_hook_without_resources_raises_and_reports_nothing(
    limit: str, amount: int, words: str
) -> None:
    program = LACKING.format(limit=limit, amount=amount)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith(words), done.stderr


def test_hook_ends_with_the_mirror(tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/notes; exec sleep 3000"
    program = (
        "from datetime import timedelta\n"
        "from s2mirror.adapters.hook import run_command\n"
        "from s2mirror.stop import StopFlag\n"
        f"run_command(['/bin/sh', '-c', {script!r}], timedelta(days=1), StopFlag())"
    )
    notes, give_up_at = tmp_path / "notes", time.monotonic() + 100
    with subprocess.Popen([sys.executable, "-c", program]) as mirror:
        while not (notes.exists() and notes.read_text()):
            assert time.monotonic() < give_up_at
            time.sleep(0.02)
        mirror.kill()
    while not is_gone(notes.read_text().strip()):
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def test_hook_cannot_read_secrets_of_its_parents(tmp_path: Path) -> None:
    """The hook reads the environment of every process that its user may read."""
    user = AS_ANOTHER_USER if os.geteuid() == 0 else ()
    done = subprocess.run(
        [*user, sys.executable, "-c", READ_ENVIRONMENTS.format(folder=tmp_path)],
        env={**os.environ, "S2MIRROR_S3_SECRET_KEY": "planted-in-environ"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("\n", "")
    read = (tmp_path / "environ").read_bytes()
    assert b"PATH=" in read, "its own, at least"
    assert b"planted-in-environ" not in read
