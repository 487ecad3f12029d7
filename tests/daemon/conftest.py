from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_kit import IMPATIENT, Running
from kit import Kit

from s2mirror.sandbox import Sandbox


@pytest.fixture
def kit(tmp_path: Path, sandbox: Sandbox) -> Kit:
    """Return a kit whose daemon polls every second."""
    return Kit(tmp_path, sandbox, sections=dict(IMPATIENT))


@pytest.fixture
def daemon(kit: Kit) -> Iterator[Running]:
    """Yield a daemon that is not started yet; kill it at the end."""
    with Running(kit) as running:
        yield running
