from collections.abc import Iterator
from pathlib import Path

import pytest
from discovery_kit import Watch, catalog_of, watch_of
from hypothesis import settings
from kit import Kit

from s2mirror.sandbox import Sandbox

# Two busy cores make honest examples slow; a time limit per example would only cry wolf.
settings.register_profile("discovery", deadline=None)
settings.load_profile("discovery")


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
    return Kit(tmp_path, sandbox, sections={"download": "tries_per_file = 1"})


@pytest.fixture
def watch(tmp_path: Path, sandbox: Sandbox) -> Watch:
    """Return a search of the sandbox's catalogue, over HTTP."""
    return watch_of(tmp_path, catalog_of(sandbox))
