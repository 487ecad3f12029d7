"""Runs one hook in a separate process, and ends all processes that the hook has started.

The mirror starts this file as a program; it imports nothing but the standard library. The hook and
all its descendants stay below this process, even if they detach, because the parent of an orphan is
the nearest subreaper (PR_SET_CHILD_SUBREAPER of prctl(2)). Its environment, which the hook can read
as ``/proc/PPID/environ``, holds no secret.

Standard input: its end, also through the death of the mirror, is the request to end the hook.
Standard output: one line with the result, then the end of the hook's output.
"""

import ctypes
import errno
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

EXITED: Final = "exited"
NOT_STARTED: Final = "not-started"
ENDED: Final = "ended"
TAIL_BYTES: Final = 4096
_PR_SET_CHILD_SUBREAPER: Final = 36
_OOM_SCORE: Final = "500"
"""Of 1000: when memory is short, the kernel ends the hook and not the mirror."""
_TASKS_PERCENT: Final = 75
"""Of the tasks that user and cgroup may have; the rest is for the mirror's own threads."""
_CHUNK_BYTES: Final = 65_536
_TICK_SECONDS: Final = 0.05
_CALM_SECONDS: Final = 0.001
"""After each full chunk of output: a flood costs little processor time."""
_KILL_SECONDS: Final = 5.0


class Supervisor:
    """One hook, and the processes that it has started."""

    def __init__(self, grace_seconds: float, document: int, command: Sequence[str]) -> None:
        self._grace_seconds = grace_seconds
        self._document = document
        self._command = command
        self._tail = bytearray()
        self._output = -1

    def run(self) -> str:
        """Run the hook to its end; return the result line."""
        try:
            self._output, writing = os.pipe()
            hook = subprocess.Popen(  # noqa: S603 - the operator's own command, without a shell
                self._command,
                stdin=self._document,
                stdout=writing,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return f"{NOT_STARTED} {error.errno}"
        except MemoryError:
            return f"{NOT_STARTED} {errno.ENOMEM}"
        os.close(writing)
        asked = self._wait(hook)
        if asked:
            self._terminate(hook)
        code = hook.returncode
        end_descendants()
        self._read_rest()
        return ENDED if asked or code is None else f"{EXITED} {code}"

    @property
    def tail(self) -> bytes:
        """The end of the hook's output."""
        return bytes(self._tail)

    def _wait(self, hook: "subprocess.Popen[bytes]") -> bool:
        """Wait for the end of the hook; return whether the mirror asked to end it first."""
        while hook.poll() is None:
            if 0 in self._read(0, self._output):
                return True
        return False

    def _terminate(self, hook: "subprocess.Popen[bytes]") -> None:
        with suppress(ProcessLookupError):
            os.killpg(hook.pid, signal.SIGTERM)
        give_up_at = time.monotonic() + self._grace_seconds
        while hook.poll() is None and time.monotonic() < give_up_at:
            self._read(self._output)

    def _read(self, *descriptors: int) -> list[int]:
        """Read some output, if there is any; return the descriptors that are readable."""
        readable, _, _ = select.select(descriptors, (), (), _TICK_SECONDS)
        if self._output in readable:
            chunk = os.read(self._output, _CHUNK_BYTES)
            self._tail += chunk
            del self._tail[:-TAIL_BYTES]
            time.sleep(_CALM_SECONDS if chunk else _TICK_SECONDS)
        return readable

    def _read_rest(self) -> None:
        """Read the rest of the pipe; no process is left that could write more."""
        os.set_blocking(self._output, False)
        with suppress(BlockingIOError):
            while chunk := os.read(self._output, _CHUNK_BYTES):
                self._tail += chunk
                del self._tail[:-TAIL_BYTES]


def end_descendants() -> None:
    """Kill every process below this one.

    All of them are stopped first, until there is no new one: a fork bomb would be faster.
    """
    stopped: set[int] = set()
    give_up_at = time.monotonic() + _KILL_SECONDS
    while (found := _descendants()) and time.monotonic() < give_up_at:
        new = found - stopped
        _send(signal.SIGSTOP if new else signal.SIGKILL, new or found)
        stopped |= new
        _reap()


def _send(number: signal.Signals, processes: set[int]) -> None:
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _descendants() -> set[int]:
    """Return the processes below this one that have not ended."""
    parents = dict(_parents())
    found: set[int] = set()
    level = {os.getpid()}
    while level:
        level = {process for process, parent in parents.items() if parent in level} - found
        found |= level
    return found


def _parents() -> Iterator[tuple[int, int]]:
    """Yield every process that has not ended, with its parent."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - processes may end between two reads
        with suppress(OSError, ValueError):
            # proc_pid_stat(5): PID (NAME) STATE PPID; the name may contain anything.
            state, parent = (
                Path("/proc", name, "stat").read_bytes().rpartition(b") ")[2].split()[:2]
            )
            if state not in (b"Z", b"X"):
                yield int(name), int(parent)


def _limit_tasks() -> None:
    """Leave tasks for the mirror: a limit of a process counts all tasks of its user."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    limits = [limit for limit in (soft, *_cgroup_limits()) if limit != resource.RLIM_INFINITY]
    if limits:
        most = min(limits) * _TASKS_PERCENT // 100
        resource.setrlimit(resource.RLIMIT_NPROC, (most, hard))


def _cgroup_limits() -> Iterator[int]:
    """Yield the limits of tasks of this process's cgroup and of those above it (version 2)."""
    with suppress(OSError):
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        for line in lines:
            if line.startswith("0::/"):
                folder = Path("/sys/fs/cgroup", line.removeprefix("0::/"))
                yield from map(_tasks_limit, (folder, *folder.parents[:-3]))


def _tasks_limit(folder: Path) -> int:
    try:
        return int((folder / "pids.max").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such file; "max"
        return resource.RLIM_INFINITY


def main(arguments: Sequence[str]) -> None:
    """Run the hook; *arguments* are the seconds of grace, its standard input, and the command."""
    grace_seconds, document, *command = arguments
    signal.signal(signal.SIGTERM, _end_at_once)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")
    with suppress(OSError, ValueError):
        _limit_tasks()
    supervisor = Supervisor(float(grace_seconds), int(document), command)
    result = supervisor.run()
    with suppress(BrokenPipeError):
        sys.stdout.buffer.write(result.encode() + b"\n" + supervisor.tail)
        sys.stdout.buffer.flush()


def _end_at_once(*_: object) -> None:
    end_descendants()
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
