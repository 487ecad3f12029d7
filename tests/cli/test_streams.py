"""Output that cannot be written: the work continues, and the exit code is that of the work."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from cli_kit import Cli
from kit import PATIENCE_SECONDS, Kit, tiny

from s2mirror.cli.streams import SafeStream, safe_streams

FULL = "/dev/full"
LOST = "s2mirror: cannot write stdout: No space left on device; the output is incomplete\n"


@contextmanager
def closed_pipe() -> Iterator[int]:
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def run(kit: Kit, command: str, out: int, err: int = subprocess.PIPE) -> tuple[int, str]:
    """Return the exit code, and what was printed on stderr."""
    done = subprocess.run(
        kit.command(*command.split()),
        env=kit.environment(),
        stdout=out,
        stderr=err,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return done.returncode, done.stderr or ""


def test_full_disk_drops_text_and_keeps_error() -> None:
    with Path(FULL).open("w", encoding="utf-8") as file:
        stream = SafeStream(file)
        for _ in range(3):
            assert stream.write("x" * 10_000) == 10_000
            stream.flush()
        assert stream.error is not None
        assert stream.error.strerror == "No space left on device"
        stream.finish()
        file.flush()  # as Python does at exit: no output is left that could fail


def test_closed_pipe_is_no_error() -> None:
    with closed_pipe() as writing, os.fdopen(os.dup(writing), "w") as file:
        stream = SafeStream(file)
        stream.writelines(["no ", "reader\n"])
        stream.flush()
        stream.finish()
        assert stream.error is None


def test_streams_are_restored_after_a_command() -> None:
    before = sys.stdout, sys.stderr
    with safe_streams():
        assert sys.stdout is not before[0]
    assert (sys.stdout, sys.stderr) == before


def test_listing_on_full_disk_ends_with_5(cli: Cli, kit: Kit) -> None:
    kit.mirror().ledger.close()
    with Path(FULL).open("w", encoding="utf-8") as full:
        before, sys.stdout = sys.stdout, full
        try:
            code = cli("list", "--json").code
        finally:
            sys.stdout = before
    assert code == 5


@pytest.mark.parametrize("closed", ["stdin", "stdout", "stderr"])
def test_closed_descriptor_is_never_reused(kit: Kit, closed: str) -> None:
    number = {"stdin": 0, "stdout": 1, "stderr": 2}[closed]
    script = (
        "import os, sys\n"
        "from s2mirror.cli.streams import safe_streams\n"
        "with safe_streams():\n"
        "    print('lost'), print('lost', file=sys.stderr)\n"
        f"    opened = os.open({str(kit.folder / 'product')!r}, os.O_RDWR | os.O_CREAT)\n"
        "os._exit(0 if opened > 2 else 1)\n"
    )
    command = f'exec {number}>&-; exec {sys.executable} -c "$0"'
    done = subprocess.run(["sh", "-c", command, script], check=False, capture_output=True)
    assert (done.returncode, (kit.folder / "product").read_bytes()) == (0, b"")


@pytest.mark.long
@pytest.mark.parametrize("command", ["list --json", "list", "audit", "export csv", "status"])
def test_closed_pipe_ends_quietly_with_0(kit: Kit, command: str) -> None:
    kit.sandbox.publish(tiny())
    kit.cycle()
    with closed_pipe() as writing:
        assert run(kit, command, writing) == (0, "")


@pytest.mark.long
@pytest.mark.parametrize(("command", "code"), [("list --json", 5), ("export csv", 5), ("audit", 0)])
def test_full_disk_is_reported_on_stderr(kit: Kit, command: str, code: int) -> None:
    kit.sandbox.publish(tiny())
    kit.cycle()
    full = os.open(FULL, os.O_WRONLY)
    assert run(kit, command, full) == (code, LOST)
    os.close(full)


@pytest.mark.long
@pytest.mark.parametrize("command", ["sync", "sync --json", "sync --verbose"])
@pytest.mark.parametrize("lost", ["pipe", "disk"])
def test_sync_completes_without_any_output(kit: Kit, command: str, lost: str) -> None:
    products = [tiny(day) for day in (25, 26, 27)]
    kit.sandbox.publish(products)
    with ExitStack() as stack:
        if lost == "pipe":
            out = stack.enter_context(closed_pipe())
        else:
            out = os.open(FULL, os.O_WRONLY)
            stack.callback(os.close, out)
        code, _ = run(kit, command, out, out)
    assert code == 0
    kit.assert_current(*products)
