"""The daemon's log cannot be written: the work continues, and health reports it."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
from daemon_kit import Running
from kit import Kit, tiny


@contextmanager
def killed_reader() -> Iterator[int]:
    """Yield the write end of a pipe whose reader was killed."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as reader:
        assert reader.stdin
        reader.kill()
        reader.wait()
        yield reader.stdin.fileno()
        with suppress(BrokenPipeError):
            reader.stdin.close()


@contextmanager
def full_disk() -> Iterator[int]:
    with Path("/dev/full").open("wb") as file:
        yield file.fileno()


@contextmanager
def stalled_reader() -> Iterator[int]:
    """Yield the write end of a pipe that is full, because its reader does not read."""
    reader, writer = os.pipe()
    # Opened again, as O_NONBLOCK would otherwise apply to the daemon's descriptor too.
    filling = os.open(f"/proc/self/fd/{writer}", os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(filling, bytes(4096))
    yield writer
    for descriptor in (reader, writer, filling):
        os.close(descriptor)


@pytest.mark.long
@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (killed_reader, "Broken pipe"),
        (full_disk, "No space left on device"),
        (stalled_reader, "its reader does not read"),
    ],
)
def test_daemon_mirrors_although_its_log_is_lost(
    daemon: Running, kit: Kit, output: Callable[[], AbstractContextManager[int]], reason: str
) -> None:
    kit.sandbox.publish(tiny(25))
    with output() as descriptor:
        daemon.start(log=descriptor)
        daemon.wait_until_held(tiny(25).id)
        kit.sandbox.publish(tiny(27))
        daemon.wait_until_held(tiny(25).id, tiny(27).id)
        daemon.wait_until_unhealthy(f"the log cannot be written ({reason}; ")
        daemon.stop()
    kit.assert_current(tiny(25), tiny(27))
