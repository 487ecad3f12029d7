"""Runs s2mirror commands in processes of their own that can end or stop themselves at a step.

A step is any operation that changes the state after a crash: a file opened for writing, a chunk
written, an fsync, a rename, a folder created or removed, a file removed, an SQL statement that
writes. Steps are recorded by an audit hook and SQLite's own trace, so the program is the one that
users run. The process ends itself, with a real SIGKILL, right before the first step that matches a
pattern, or stops itself, with SIGSTOP, before every step in turn: all threads are stopped then, so
what is on disk is what a SIGKILL there leaves. It does not stop at a statement inside a
transaction: nothing of the statement is on disk before the COMMIT.

As a program, this is the server that forks a process per command, so that imports run once.
"""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

KILLED = -signal.SIGKILL
_STOPPED = "stopped"
_SHOWN = 1000
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = ("os.rename", "os.mkdir", "os.rmdir", "os.remove")
_STATEMENTS = ("INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "COMMIT", "BEGIN")


@dataclass(frozen=True, slots=True)
class Step:
    """One recorded step: the operation and its target."""

    kind: str
    target: str
    other: str = ""
    """The target of a rename."""


class CrashServer:
    """Starts commands, records their steps, and kills or stops them. A context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Start the server."""
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._pipe(self._process.stdin).close()
        self._process.wait(300)

    def run(
        self,
        arguments: list[str],
        environment: dict[str, str],
        *,
        kill_before: str = "",
        kill_after_seconds: float | None = None,
    ) -> tuple[int, list[Step]]:
        """Run a command; return its exit code (KILLED after a kill) and its steps.

        The command is killed before the first step whose kind and target, joined by a space, match
        that regular expression.
        """
        code = self._order(
            arguments=arguments,
            environment=environment,
            kill_before=kill_before,
            kill_after_seconds=kill_after_seconds,
            stops=False,
            record=str(self._record),
            warms_up=False,
        )
        return int(code), self._steps()

    def stops(
        self, arguments: list[str], environment: dict[str, str]
    ) -> Iterator[tuple[Step, list[Step]]]:
        """Run a command; yield at each stop, with the next step and the steps before it."""
        answer = self._order(
            arguments=arguments,
            environment=environment,
            kill_before="",
            kill_after_seconds=None,
            stops=True,
            record=str(self._record),
            warms_up=False,
        )
        while answer == _STOPPED:
            *done, coming = self._steps()
            yield coming, done
            answer = self._order()
        assert int(answer) in (0, 1)

    def warm_up(self, arguments: list[str], environment: dict[str, str]) -> int:
        """Run a command in the server itself, so that later ones start faster."""
        return int(self._order(arguments=arguments, environment=environment, warms_up=True))

    @property
    def _record(self) -> Path:
        return self._folder / "steps.jsonl"

    def _steps(self) -> list[Step]:
        # A kill from outside may truncate the last line.
        whole = self._record.read_text(encoding="utf-8").rpartition("\n")[0]
        return [Step(*json.loads(line)) for line in whole.splitlines()]

    def _order(self, **order: object) -> str:
        assert self._process is not None
        self._pipe(self._process.stdin).write(json.dumps(order) + "\n")
        self._pipe(self._process.stdin).flush()
        return self._pipe(self._process.stdout).readline().strip()

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


class _Steps:
    """Records the steps of this process; ends it before the chosen one, or stops it before all."""

    def __init__(self, record: str, kill_before: str, *, stops: bool) -> None:
        self._descriptor = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._kill_before = kill_before
        self._stops = stops
        self._lock = threading.Lock()

    def step(self, kind: str, target: object, other: object = "", *, inside: bool = False) -> None:
        with self._lock:
            name = os.fsdecode(target)  # type: ignore[arg-type]
            if self._kill_before and re.search(self._kill_before, f"{kind} {name}"):
                os.kill(os.getpid(), signal.SIGKILL)
            line = json.dumps([kind, name, os.fsdecode(other)])  # type: ignore[arg-type]
            os.write(self._descriptor, line.encode() + b"\n")
            if self._stops and not inside:
                os.kill(os.getpid(), signal.SIGSTOP)

    def watch(self) -> None:
        """Start to record."""
        sys.addaudithook(self._hear)
        self._wrap_fsync()
        self._wrap_chunks()
        self._wrap_connect()

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            named = isinstance(path, str | bytes | os.PathLike)
            if named and flags & _WRITES and _is_ours(path):
                self.step("open", path)
        elif event == "os.mkdir" and _absolute(arguments[0], arguments[2]).is_dir():
            return
        elif event == "os.rename":
            source, target, *folders = arguments
            self.step("rename", _absolute(source, folders[0]), _absolute(target, folders[1]))
        elif event in _CHANGES:
            self.step(event.removeprefix("os."), _absolute(arguments[0], arguments[-1]))

    def _wrap_connect(self) -> None:
        real = sqlite3.connect

        def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:  # noqa: ANN401
            connection = real(*arguments, **options)
            connection.set_trace_callback(_Statements(self).hear)
            return connection

        sqlite3.connect = connect

    def _wrap_fsync(self) -> None:
        real = os.fsync

        def fsync(descriptor: int) -> None:
            self.step("fsync", Path(f"/proc/self/fd/{descriptor}").readlink())
            real(descriptor)

        os.fsync = fsync  # type: ignore[assignment]

    def _wrap_chunks(self) -> None:
        """Record each chunk of a download, right before it is written."""
        from s2mirror.adapters.archive import Part  # noqa: PLC0415 - only in the forked process

        real = Part.append

        def append(part: Part, chunk: bytes | memoryview) -> None:
            self.step("write", part._file.name)  # noqa: SLF001 - nobody else needs the name
            real(part, chunk)

        Part.append = append  # type: ignore[method-assign]


class _Statements:
    """The statements that one connection runs."""

    def __init__(self, steps: _Steps) -> None:
        self._steps = steps
        self._last = ""
        self._inside = False

    def hear(self, statement: str) -> None:
        # SQLite reports a statement again for each statement of a trigger that it fires.
        text = " ".join(statement.split())[:_SHOWN]
        word = text.upper().partition(" ")[0]
        if word == "BEGIN":
            self._inside = True
        elif word in ("COMMIT", "ROLLBACK") and " TO " not in text.upper():
            self._inside = False
        if word in _STATEMENTS and text != self._last:
            self._steps.step("sql", text, inside=self._inside)
        self._last = text


def _absolute(path: str | bytes, folder: int) -> Path:
    """Return the path of what an operation names relative to the descriptor *folder*."""
    name = os.fsdecode(path)
    return Path(name) if folder == -1 else Path(f"/proc/self/fd/{folder}").readlink() / name


def _is_ours(path: str | bytes | os.PathLike[str]) -> bool:
    name = os.fsdecode(path)
    if not name.startswith("/"):
        return False  # Whoever opens relative to a descriptor has named the whole path before.
    return name.startswith("/dev/shm/") or not name.startswith(("/dev/", "/proc/"))  # noqa: S108 - a file system


def _serve() -> None:
    from s2mirror.cli import app  # noqa: F401, PLC0415 - likewise
    from s2mirror.cli.main import main  # noqa: PLC0415 - likewise

    for line in sys.stdin:
        order = json.loads(line)
        if order["warms_up"]:
            _warm_up(order, main)
            continue
        child = os.fork()
        if child == 0:
            _obey(order, main)
        if order["kill_after_seconds"] is not None:
            time.sleep(order["kill_after_seconds"])
            os.kill(child, signal.SIGKILL)
        _report_end(child)


def _report_end(child: int) -> None:
    """Print each stop of the command, which the next order continues, and its exit code."""
    _, status = os.waitpid(child, os.WUNTRACED)
    while os.WIFSTOPPED(status):
        print(_STOPPED, flush=True)  # noqa: T201 - the answer
        sys.stdin.readline()
        os.kill(child, signal.SIGCONT)
        _, status = os.waitpid(child, os.WUNTRACED)
    print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - the answer


def _warm_up(order: dict[str, Any], main: Callable[[list[str]], int]) -> None:
    """Run a command in the server itself, so that the processes find its modules loaded."""
    os.environ.update(order["environment"])
    with open(os.devnull, "w", encoding="utf-8") as null, redirect_stdout(null):  # noqa: PTH123
        code = main(order["arguments"])
    print(code, flush=True)  # noqa: T201 - the answer


def _obey(order: dict[str, Any], main: Callable[[list[str]], int]) -> None:
    """Run the ordered command, and end this process."""
    code = 70
    try:
        log = os.open(order["record"] + ".log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(order["environment"])
        _Steps(order["record"], order["kill_before"], stops=order["stops"]).watch()
        code = main(order["arguments"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
