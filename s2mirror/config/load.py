"""Reads the configuration, and reports all of its faults at once."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from s2mirror.config.areas import GEOMETRY_KEYS, Area
from s2mirror.config.credentials import Secrets, read_secrets
from s2mirror.config.errors import SECRETS_BELONG, Fault, did_you_mean, faults_in, shown
from s2mirror.config.schema import Settings
from s2mirror.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration, and notes on values that were repaired or may be an error."""

    settings: Settings
    notes: tuple[str, ...]


def load_settings(
    path: Path, *, environment: Mapping[str, str] = os.environ, late_geometry: bool = False
) -> Loaded:
    """Return the settings in the TOML file *path*, with the secrets found by *environment*.

    With *late_geometry*, the geometry of an area is read and checked on first use only: for
    commands that only read the ledger. Raises ConfigError with every fault at once, each as ``FILE:
    place: expected …; got …``.
    """
    return parse_settings(
        _read(path), source=path, environment=environment, late_geometry=late_geometry
    )


def parse_settings(
    document: Mapping[str, Any],
    *,
    source: Path,
    environment: Mapping[str, str],
    late_geometry: bool = False,
) -> Loaded:
    """Return the settings in a parsed TOML *document*; *source* is its path."""
    reading = read_secrets(environment)
    context = {"folder": source.absolute().parent, "late_geometry": late_geometry}
    outcome = _validated(document, context, reading.secrets)
    faults = [fault.message(str(source)) for fault in _faults(document, outcome)]
    faults += [fault.message("environment") for fault in reading.faults]
    if faults or isinstance(outcome, list):
        raise ConfigError(*faults)
    return Loaded(outcome, (*_repairs(outcome.area), *reading.notes))


def example_text() -> str:
    """Return the annotated configuration that `s2mirror init` writes."""
    return files("s2mirror.config").joinpath("example.toml").read_text("utf-8")


def _validated(
    document: Mapping[str, Any], context: Mapping[str, Any], secrets: Secrets
) -> Settings | list[Fault]:
    try:
        return Settings.model_validate({**document, "secrets": secrets}, context=dict(context))
    except ValidationError as error:
        return list(faults_in(error, Settings))


def _faults(document: Mapping[str, Any], outcome: Settings | list[Fault]) -> Iterator[Fault]:
    if "secrets" in document:
        yield Fault("secrets", SECRETS_BELONG)
    yield from outcome if isinstance(outcome, list) else ()
    yield from _faults_between(document.get("area"))
    if not isinstance(outcome, list):
        yield from _unknown_areas(outcome)


def _unknown_areas(settings: Settings) -> Iterator[Fault]:
    """Yield the areas of processing entries that are not configured."""
    known = {area.name for area in settings.area}
    for index, entry in enumerate(settings.process):
        for name in entry.areas:
            if name not in known:
                words = (
                    f"expected the name of an area; got {shown(name)}{did_you_mean(name, known)}"
                )
                yield Fault(f"process[{index}].areas", words)


def _faults_between(areas: object) -> Iterator[Fault]:
    """Yield the faults in the combination of an area's values."""
    seen: dict[str, int] = {}
    for index, area in enumerate(areas if isinstance(areas, list) else ()):
        if not isinstance(area, dict):
            continue
        yield from _faults_in_choice(index, area)
        name = area.get("name")
        first = seen.setdefault(name, index) if isinstance(name, str) else index
        if first != index:
            words = f"expected a name of its own; got {shown(name)}, which area[{first}] has"
            yield Fault(f"area[{index}].name", words)


def _faults_in_choice(index: int, area: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield a fault unless exactly one key gives the geometry; a misspelt key has its own fault."""
    given = [key for key in GEOMETRY_KEYS if key in area]
    misspelt = any(
        get_close_matches(key, GEOMETRY_KEYS) for key in set(area) - set(Area.model_fields)
    )
    if len(given) > 1 or not (given or misspelt):
        came = " and ".join(given) or "none"
        yield Fault(f"area[{index}]", f"expected one of {', '.join(GEOMETRY_KEYS)}; got {came}")


def _repairs(areas: tuple[Area, ...]) -> Iterator[str]:
    for index, area in enumerate(areas):
        for key, repairs in area.repairs.items():
            yield from (f"area[{index}].{key}: {repair}" for repair in repairs)


def _read(path: Path) -> dict[str, Any]:
    """Return the TOML document in *path*. Raises ConfigError if it cannot be read."""
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; `s2mirror init` writes one to edit") from None
    except OSError as error:
        words = (
            f"cannot be read: {error.strerror}; give a readable file, or write one with "
            "`s2mirror init`"
        )
        raise ConfigError(f"{path}: {words}") from error
    except UnicodeDecodeError as error:
        words = f"expected UTF-8 text; got another byte at {error.start}; save the file as UTF-8"
        raise ConfigError(f"{path}: {words}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: expected TOML; it is nested too deeply") from error
    except ValueError as error:
        words = (
            f"is not valid TOML: {error}; correct it, or see the file that `s2mirror init` writes"
        )
        raise ConfigError(f"{path}: {words}") from error
