from collections.abc import Iterator
from pathlib import Path

import pytest
from crashing import CrashServer
from kit import Kit, tiny
from steady import SteadyKit

from s2mirror.sandbox import Sandbox


@pytest.fixture
def kit(tmp_path: Path, sandbox: Sandbox) -> Kit:
    return SteadyKit(tmp_path, sandbox)


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory, running_sandbox: Sandbox
) -> Iterator[CrashServer]:
    """Start a server that has done everything once, with a product that is gone again."""
    warm = Kit(tmp_path_factory.mktemp("warm"), running_sandbox)
    with CrashServer(tmp_path_factory.mktemp("crashes")) as running:
        running_sandbox.clear()
        running_sandbox.publish(tiny())
        assert running.warm_up(["sync", "--config", str(warm.config)], warm.secrets) == 0
        running_sandbox.clear()
        yield running
