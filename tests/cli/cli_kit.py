"""Commands within the test's own process, which is fast, and on a terminal."""

import json
import os
import pty
import subprocess
import termios
from dataclasses import dataclass
from typing import Any

import pytest
from kit import PATIENCE_SECONDS, Kit
from leaks import LEAKS

from s2mirror.cli.main import main


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Cli:
    kit: Kit
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Outcome:
        """Run a command with the kit's configuration."""
        return self.bare(*arguments, "--config", str(self.kit.config))

    def bare(self, *arguments: str) -> Outcome:
        """Run a command without adding arguments."""
        self.capsys.readouterr()
        code = main(arguments)
        said = self.capsys.readouterr()
        return Outcome(code, said.out, said.err)

    def json(self, *arguments: str) -> Any:  # noqa: ANN401 - parsed JSON
        outcome = self(*arguments, "--json")
        assert outcome.out, outcome.err
        return json.loads(outcome.out)


class Terminal:
    """A process on a terminal of *columns* columns; all its output is kept."""

    def __init__(self, command: list[str], environment: dict[str, str], columns: int = 100) -> None:
        # Both would take precedence over the size of the terminal.
        sizeless = {k: v for k, v in environment.items() if k not in ("COLUMNS", "LINES")}
        self._leader, follower = pty.openpty()
        termios.tcsetwinsize(follower, (40, columns))
        self.process = subprocess.Popen(
            command,
            env=sizeless | {"TERM": "xterm-256color"},
            stdin=follower,
            stdout=follower,
            stderr=follower,
            start_new_session=True,
        )
        os.close(follower)
        self.shown = ""

    def read(self) -> bool:
        """Wait for more output; return False once the process has ended."""
        try:
            self.shown += os.read(self._leader, 65536).decode(errors="replace")
        except OSError:
            LEAKS.look(self.shown, "the output of a terminal")
            return False
        return True

    def read_until(self, text: str) -> None:
        while text not in self.shown and self.read():
            pass
        LEAKS.look(self.shown, "the output of a terminal")
        assert text in self.shown, self.shown

    def read_to_end(self) -> int:
        """Return the exit code."""
        while self.read():
            pass
        os.close(self._leader)
        return self.process.wait(timeout=PATIENCE_SECONDS)
