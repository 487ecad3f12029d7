"""One sandbox for all tests of a process, cleared before each test."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from kit import Kit
from leaks import LEAKS

from s2mirror.host_limiter import KNOWN_TIMES
from s2mirror.sandbox import Sandbox

# contracts.py has tests under another name; pytest explains their assertions too.
pytest.register_assert_rewrite("contracts")
# No time limit: on two busy cores, valid examples are slow. The examples are the same in every run,
# so that no unrelated change fails; HYPOTHESIS_PROFILE=default tries others.
settings.register_profile(
    "patient",
    deadline=None,
    derandomize=True,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "patient"))


@pytest.fixture(scope="session")
def running_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def sandbox(running_sandbox: Sandbox) -> Sandbox:
    """Return the sandbox without a limit of requests, which few tests are about."""
    running_sandbox.clear()
    for proxy in (running_sandbox.stac_proxy, running_sandbox.odata_proxy):
        proxy.rate_limit.requests = None
    KNOWN_TIMES.clear()
    return running_sandbox


@pytest.fixture
def kit(tmp_path: Path, sandbox: Sandbox) -> Kit:
    return Kit(tmp_path, sandbox)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that leaves a readable secret: see ``leaks.py``."""
    LEAKS.plant(os.environ)
    report = yield
    for name, text in report.sections:
        LEAKS.look(text, name)
    if call.when == "teardown" and (found := LEAKS.harvest()):
        report.outcome, report.longrepr = "failed", "\n".join(found)
    return report


@pytest.fixture
def capsys(capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    """Search printed text for secrets before a test reads it."""
    unwatched = capsys.readouterr

    def readouterr() -> Any:  # noqa: ANN401 - pytest names no type for it
        said = unwatched()
        LEAKS.look(said.out + said.err, "what was printed")
        return said

    capsys.readouterr = readouterr  # type: ignore[method-assign]  # the one road to it
    return capsys
