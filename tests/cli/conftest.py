from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_kit import Cli
from kit import Kit

from s2mirror.sandbox import Sandbox


@pytest.fixture(scope="session")
def running_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def sandbox(running_sandbox: Sandbox) -> Sandbox:
    running_sandbox.clear()
    return running_sandbox


@pytest.fixture
def kit(tmp_path: Path, sandbox: Sandbox) -> Kit:
    return Kit(tmp_path, sandbox)


@pytest.fixture
def cli(kit: Kit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Return the command line, called within this process."""
    for name, secret in kit.secrets.items():
        monkeypatch.setenv(name, secret)
    monkeypatch.chdir(kit.folder)
    return Cli(kit, capsys)
