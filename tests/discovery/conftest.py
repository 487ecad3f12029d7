from pathlib import Path

import pytest
from discovery_kit import Watch, catalog_of, watch_of
from kit import Kit

from s2mirror.sandbox import Sandbox


@pytest.fixture
def kit(tmp_path: Path, sandbox: Sandbox) -> Kit:
    return Kit(tmp_path, sandbox, sections={"download": "tries_per_file = 1"})


@pytest.fixture
def watch(tmp_path: Path, sandbox: Sandbox) -> Watch:
    """Return a search of the sandbox's catalog, over HTTP."""
    return watch_of(tmp_path, catalog_of(sandbox))
