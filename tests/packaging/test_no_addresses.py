"""The package index is the user's choice: no file of the project names one."""

import re
import tomllib
from itertools import chain
from typing import Final

import pytest
from checkout import ROOT

READ_BY_PIP_OR_MAKE: Final = (
    "Makefile",
    "constraints.txt",
    "pyproject.toml",
    "README.md",
    "CONTRIBUTING.md",
    "Dockerfile",
    ".ci/run",
    "config/compose.yaml",
    "config/kubernetes.yaml",
    "systemd/s2mirror.service",
    "systemd/s2mirror-sync.service",
)
NAMES_AN_INDEX: Final = re.compile(
    r"index-url|find-links|trusted-host|--hash|https?://\S*(simple|pypi|pythonhosted)|PIP_\w*(INDEX|LINKS)"
)
PIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!]+")


@pytest.mark.parametrize("name", READ_BY_PIP_OR_MAKE)
def test_no_file_names_a_package_index(name: str) -> None:
    assert NAMES_AN_INDEX.findall((ROOT / name).read_text()) == []


def test_constraints_are_only_names_and_exact_versions() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    odd = [line for line in lines if not line.startswith("#") and not PIN.fullmatch(line)]
    assert odd == []


def test_every_dependency_is_pinned() -> None:
    pinned = {normal(line.split("==")[0]) for line in constraints()}
    assert asked_for() - pinned - {"s2mirror"} == set()


def asked_for() -> set[str]:
    """Return the dependencies in pyproject.toml, with extras and without versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    return {normal(re.split(r"[^A-Za-z0-9._-]", requirement)[0]) for requirement in asked}


def constraints() -> list[str]:
    """Return the pins of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if "==" in line]


def normal(name: str) -> str:
    """Return a distribution's normalized *name* (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
