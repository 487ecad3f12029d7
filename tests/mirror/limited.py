"""Runs s2mirror commands in separate processes with limits, and measures them.

Run as a program, this is a server that forks one process per command: imports are paid once. A
process can have a wrong clock, no permission of root, and a limit of address space that protects
the machine. The server reports the exit code and the peak memory of each process.
"""

import ctypes
import importlib
import json
import os
import pkgutil
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from pathlib import Path
from typing import IO, Any, Self

import boto3
import botocore.loaders

TIMED_OUT = -signal.SIGALRM
_ADDRESS_SPACE_BYTES = 6 * 1024**3
"""Far more than a process uses: each thread reserves some of it."""
_NO_CAPABILITIES = 0x20080522  # version 3 of the structure


@dataclass(frozen=True, slots=True)
class Done:
    """The result of one command."""

    code: int
    peak_bytes: int
    seconds: float
    output: str


class LimitedServer:
    """Starts commands in limited processes. A context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=pipe, stdout=pipe, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        _pipe(self._process.stdin).close()
        self._process.wait(300)

    def run(
        self,
        arguments: list[str],
        environment: dict[str, str],
        *,
        clock_ahead: timedelta = timedelta(0),
        deadline_seconds: int,
    ) -> Done:
        """Run a command; SIGALRM ends it at the deadline."""
        log = self._folder / "output.log"
        order = {
            "arguments": arguments,
            "environment": environment,
            "ahead_seconds": clock_ahead.total_seconds(),
            "deadline_seconds": deadline_seconds,
            "log": str(log),
        }
        assert self._process is not None
        _pipe(self._process.stdin).write(json.dumps(order) + "\n")
        _pipe(self._process.stdin).flush()
        code, peak_kilobytes, seconds = json.loads(_pipe(self._process.stdout).readline())
        output = log.read_text(encoding="utf-8", errors="replace")
        return Done(code, peak_kilobytes * 1024, seconds, output)


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def _serve() -> None:
    main = _import_all()
    for line in sys.stdin:
        order = json.loads(line)
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            _run(order, main)
        _, status, used = os.wait4(child, 0)
        code = os.waitstatus_to_exitcode(status)
        print(json.dumps([code, used.ru_maxrss, time.monotonic() - started]), flush=True)  # noqa: T201


def _import_all() -> Callable[[list[str]], int]:
    """Import every module of the mirror, also those that commands import on use."""
    import s2mirror  # noqa: PLC0415 - only in the server

    for module in pkgutil.walk_packages(s2mirror.__path__, "s2mirror."):
        if "sandbox" not in module.name and "__main__" not in module.name:
            importlib.import_module(module.name)
    # boto3 reads the files that describe S3 once, not once per process.
    botocore.loaders.create_loader = cache(botocore.loaders.create_loader)
    boto3.session.Session().client("s3", region_name="default")
    return importlib.import_module("s2mirror.cli.main").main  # type: ignore[no-any-return]


def _run(order: dict[str, Any], main: Callable[[list[str]], int]) -> None:
    """Become the ordered command, and end."""
    code = 70
    try:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(order["deadline_seconds"])
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE_BYTES, _ADDRESS_SPACE_BYTES))
        os.environ.update(order["environment"])
        _drop_capabilities()
        _set_clock(timedelta(seconds=order["ahead_seconds"]))
        code = main(order["arguments"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _drop_capabilities() -> None:
    """Make file permissions apply to root too."""
    header = (ctypes.c_uint32 * 2)(_NO_CAPABILITIES, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "capset failed")


def _set_clock(ahead: timedelta) -> None:
    """Give every module of s2mirror a wrong clock; libraries keep the right one."""
    if not ahead:
        return

    class OfAny(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, datetime)

    class Shifted(datetime, metaclass=OfAny):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return (datetime.now(UTC) + ahead).astimezone(tz)

    class ShiftedTime:
        def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any name of the module
            return getattr(time, name)

        def time(self) -> float:
            return time.time() + ahead.total_seconds()

    for name, module in list(sys.modules.items()):
        if name.startswith("s2mirror."):
            for attribute, replacement in (("datetime", Shifted), ("time", ShiftedTime())):
                if getattr(module, attribute, None) in (datetime, time):
                    setattr(module, attribute, replacement)


if __name__ == "__main__":
    _serve()
