"""Runs the operator's hook: with bounded output, without secrets, and with nothing left running."""

import ctypes
import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Final

from s2mirror.adapters.hook.supervisor import ENDED, EXITED, NOT_STARTED
from s2mirror.errors import ResourceError
from s2mirror.stop import StopFlag

_SUPERVISOR: Final = Path(__file__).with_name("supervisor.py")
_WITHHELD: Final = ("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_GRACE_SECONDS: Final = 5.0
_KILL_SECONDS: Final = 12.0
_WATCH_SECONDS: Final = 0.2
_ENDING_SECONDS: Final = 1.0
_OUTPUT_SHOWN: Final = 400
_PR_SET_DUMPABLE: Final = 4
_EXHAUSTED: Final = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
_running: Final[set["subprocess.Popen[bytes]"]] = set()


@dataclass(frozen=True, slots=True)
class CommandEnd:
    """How a command ended."""

    reason: str
    """Why it failed; empty if it did not."""
    exit_code: int | None = None
    """None if it was terminated, or never started."""
    output: str = ""
    """The end of its output."""


def run_command(
    arguments: Sequence[str], timeout: timedelta, stop: StopFlag, document: bytes | None = None
) -> CommandEnd:
    """Run a command; return how it ended.

    The command reads *document* from its standard input, which is empty without one.

    When it has ended, so have all processes that it started. Raises OSError or ResourceError if
    the machine has no process, memory or file for it.
    """
    _hide_process()
    supervisor = _start(arguments, document)
    _running.add(supervisor)
    try:
        terminated = _wait(supervisor, timeout, stop)
        output, _ = supervisor.communicate(timeout=_KILL_SECONDS)
    except TimeoutExpired:
        return CommandEnd(f"terminated after {timeout}, but some of its processes remain")
    finally:
        _running.discard(supervisor)
        supervisor.kill()
        supervisor.wait()
    end = _end_of(arguments, output, supervisor.returncode)
    return replace(end, reason=terminated, exit_code=None) if terminated else end


def end_hooks() -> None:
    """Kill every hook that still runs, before the process ends."""
    for supervisor in tuple(_running):
        supervisor.terminate()
        with suppress(TimeoutExpired):
            supervisor.wait(_ENDING_SECONDS)


def _hide_process() -> None:
    """Make this process's memory and ``/proc/PID/environ`` unreadable for others of its user.

    Keys may have come in the environment. Root can read them in any case (PR_SET_DUMPABLE of
    prctl(2)); a debugger of the same user cannot attach any more.
    """
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _start(arguments: Sequence[str], document: bytes | None) -> "subprocess.Popen[bytes]":
    python = [sys.executable, "-I", "-S", str(_SUPERVISOR)]
    with _file_with(document) as file:
        return subprocess.Popen(  # noqa: S603 - the operator's own command, without a shell
            [*python, str(_GRACE_SECONDS), str(file), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_without_secrets(os.environ),
            pass_fds=[file] if file >= 0 else [],
            start_new_session=True,
        )


@contextmanager
def _file_with(document: bytes | None) -> Iterator[int]:
    """Open a file in memory with *document*; without one, yield what stands for no input.

    Unlike a pipe, it blocks no one if the command does not read it.
    """
    if document is None:
        yield subprocess.DEVNULL
        return
    file = os.memfd_create("document")
    try:
        written = 0
        while written < len(document):
            written += os.write(file, document[written:])
        os.lseek(file, 0, os.SEEK_SET)
        yield file
    finally:
        os.close(file)


def _wait(supervisor: "subprocess.Popen[bytes]", timeout: timedelta, stop: StopFlag) -> str:
    """Wait for a command to end; return why it was terminated, or an empty text."""
    until = time.monotonic() + timeout.total_seconds()
    while True:
        with suppress(TimeoutExpired):
            supervisor.wait(_WATCH_SECONDS)
            return ""
        if stop.is_set() or time.monotonic() >= until:
            return "terminated by a stop" if stop.is_set() else f"terminated after {timeout}"


def _end_of(arguments: Sequence[str], output: bytes, supervisor_code: int) -> CommandEnd:
    """Return how a command ended, by the report of its supervisor."""
    if not output and supervisor_code > 0:
        raise ResourceError(
            f"the process that runs the hook ended with exit code {supervisor_code} before the "
            "hook, probably for lack of memory. No product is charged; the hook is started again "
            f"later. Try: {sys.executable} -I -S -c 'import subprocess'"
        )
    line, _, tail = output.partition(b"\n")
    result, _, number = line.decode(errors="replace").partition(" ")
    text = tail.decode(errors="replace")
    if result == EXITED:
        shown = " ".join(text.split())[-_OUTPUT_SHOWN:]
        reason = f"exit code {number}: {shown}" if shown else f"exit code {number}, without output"
        return CommandEnd(reason if int(number) else "", int(number), text)
    if result == NOT_STARTED:
        if int(number) in _EXHAUSTED:
            raise OSError(int(number), os.strerror(int(number)), arguments[0])
        return CommandEnd(f"cannot start {arguments[0]!r}: {os.strerror(int(number))}")
    reason = "terminated" if result == ENDED else "ended together with its supervisor"
    return CommandEnd(reason, output=text)


def _without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a hook: all but what gives access to the mirror's own keys."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("S2MIRROR_") and name not in _WITHHELD
    }
