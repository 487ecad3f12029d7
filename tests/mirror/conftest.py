from collections.abc import Iterator
from pathlib import Path

import pytest
from crashing import CrashServer
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


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashServer]:
    with CrashServer(tmp_path_factory.mktemp("crashes")) as running:
        yield running
