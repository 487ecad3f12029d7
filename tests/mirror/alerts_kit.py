"""Receivers of alerts for the tests, and an outage to report."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit import Kit
from receiver import Receiver, receiving

PATH = "/ping/5c7e1f3a-0b1d-4f4e-9c39-2f0d8c6a7b11"
_WRITER = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + '\\n')"


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(name="noted")
def _noted(kit: Kit) -> Path:
    """Configure a command that appends each message to a file; return the file."""
    path = kit.folder / "messages.jsonl"
    command = json.dumps([sys.executable, "-c", _WRITER, str(path)])
    kit.sections["alerts"] = f'command = {command}\ndelay = "0 s"'
    return path


def messages_in(path: Path) -> list[dict[str, object]]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def lose_archive(kit: Kit) -> None:
    kit.archive.rename(kit.folder / "elsewhere")
    kit.archive.mkdir()


def find_archive(kit: Kit) -> None:
    kit.archive.rmdir()
    (kit.folder / "elsewhere").rename(kit.archive)
