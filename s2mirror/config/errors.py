"""Faults of a configuration, each with its place."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from difflib import get_close_matches
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

_LONGEST_ECHO: Final = 80
_HUGE: Final = 10**30
_LIKE_A_SECRET: Final = re.compile(
    r"secret|passw|credential|access_?key|api_?key|private_?key|client_?id|^token$", re.IGNORECASE
)
SECRETS_BELONG: Final = (
    "secrets do not belong in this file; give them by S2MIRROR_S3_ACCESS_KEY, "
    "S2MIRROR_S3_SECRET_KEY, S2MIRROR_CLIENT_ID, S2MIRROR_CLIENT_SECRET or the files that these "
    "names with _FILE point to"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: its place, the expected value and the given one."""

    place: str
    words: str

    def message(self, source: str) -> str:
        """Return the error line; *source* is the file, or the environment."""
        return ": ".join(part for part in (source, self.place, self.words) if part)


def shown(value: object) -> str:
    """Return *value* as TOML, shortened; the content of a table is not shown."""
    text = _toml(value)
    return text if len(text) <= _LONGEST_ECHO else f"{text[:_LONGEST_ECHO]}…"


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, int) and abs(value) >= _HUGE:
        return "a huge number"
    if isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint at the known word most similar to *word*, or an empty text."""
    near = get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def item_path_of(location: Iterable[str | int]) -> str:
    """Return a location as a path in the TOML file, such as ``area[1].bbox``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).removeprefix(".")


def keys_of(table: type[BaseModel]) -> dict[str, Any]:
    """Return the fields of *table* by their keys in the TOML file."""
    return {field.alias or name: field for name, field in table.model_fields.items()}


def faults_in(error: ValidationError, table: type[BaseModel]) -> Iterator[Fault]:
    """Yield a fault for each error that pydantic found in a document for *table*."""
    for found in error.errors(include_url=False):
        location = found["loc"]
        if found["type"] == "too_short" and found["input"]:
            continue  # pydantic counts only valid elements; the faulty ones have their own faults
        if found["type"] == "extra_forbidden":
            yield unknown_key(
                item_path_of(location[:-1]), str(location[-1]), _at(table, location[:-1])
            )
        elif found["type"] == "missing":
            field = keys_of(_at(table, location[:-1]))[str(location[-1])]
            yield Fault(
                item_path_of(location), f"required; expected {field.description}; got nothing"
            )
        else:
            cause = found.get("ctx", {}).get("error")
            words = str(cause or _reworded(location, found["type"], found["input"]))
            yield Fault(item_path_of(location), words)


def unknown_key(where: str, key: str, table: type[BaseModel]) -> Fault:
    """Return the fault of an unknown key, with a hint at a similar known one."""
    if _LIKE_A_SECRET.search(key):
        return Fault(where, f"key {key!r}: {SECRETS_BELONG}")
    return Fault(where, f"unknown key {key!r}{did_you_mean(key, keys_of(table))}")


def _at(table: type[BaseModel], location: Iterable[str | int]) -> type[BaseModel]:
    """Return the model of the table at *location*."""
    for part in location:
        if isinstance(part, str):
            kind = keys_of(table)[part].annotation
            table = get_args(kind)[0] if get_args(kind) else kind
    return table


_EXPECTED: Final = {
    "tuple_type": "a list, in [ ]",
    "frozen_set_type": "a list, in [ ]",
    "too_short": "at least one",
    "model_type": "a table of options",
}


def _reworded(location: tuple[str | int, ...], kind: str, value: object) -> str:
    if location == ("area",):
        return f"expected [[area]] tables, at least one; got {shown(value) if value else 'none'}"
    return f"expected {_EXPECTED.get(kind, 'another kind of value')}; got {shown(value)}"
