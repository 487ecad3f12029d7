"""One Copernicus Data Space on loopback for all tests of a process, emptied before each."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from kit import Kit

from s2mirror.sandbox import Sandbox

# contracts.py holds tests under another name; pytest shall explain their assertions too.
pytest.register_assert_rewrite("contracts")
# Two busy cores make honest examples slow; a time limit per example would only cry wolf.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


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
