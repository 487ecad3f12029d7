from collections.abc import Iterator

import pytest
from crashing import CrashServer
from kit import Kit, tiny

from s2mirror.sandbox import Sandbox


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory, running_sandbox: Sandbox
) -> Iterator[CrashServer]:
    """Start a server that has run every step once, for a product that is removed again."""
    warm = Kit(tmp_path_factory.mktemp("warm"), running_sandbox)
    with CrashServer(tmp_path_factory.mktemp("crashes")) as running:
        running_sandbox.clear()
        running_sandbox.publish(tiny())
        assert running.warm_up(["sync", "--config", str(warm.config)], warm.secrets) == 0
        running_sandbox.clear()
        yield running
