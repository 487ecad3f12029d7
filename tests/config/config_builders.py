"""Configurations for tests: a folder, the TOML text, an environment."""

from collections.abc import Mapping
from pathlib import Path

from s2mirror.config import Loaded, load_settings
from s2mirror.errors import ConfigError

AREA = """
[[area]]
name = "lake"
bbox = [9, 47, 10, 48]
start = 2026-01-01
"""
ARCHIVE = """
[archive]
root = "archive"
"""


def area(**options: str) -> str:
    """Return an [[area]] table of TOML values; an empty value omits the key."""
    defaults = {"name": '"lake"', "bbox": "[9, 47, 10, 48]", "start": "2026-01-01"}
    if set(options) & {"geojson", "wkt", "tiles"}:
        del defaults["bbox"]
    lines = (f"{key} = {value}" for key, value in (defaults | options).items() if value)
    return "\n".join(("[[area]]", *lines, ""))


def load(folder: Path, text: str, environment: Mapping[str, str] | None = None) -> Loaded:
    path = folder / "s2mirror.toml"
    path.write_text(text, "utf-8")
    return load_settings(path, environment=environment or {})


def faults(folder: Path, text: str, environment: Mapping[str, str] | None = None) -> list[str]:
    """Return every fault of a broken configuration, without the folder's path."""
    try:
        load(folder, text, environment)
    except ConfigError as error:
        return [fault.replace(f"{folder}/", "") for fault in error.faults]
    return []
