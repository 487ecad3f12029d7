"""What is wrong with a configuration: each fault with its place, in our own words."""

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
    """One thing to mend: where it is, what was expected and what came."""

    place: str
    words: str

    def told(self, source: str) -> str:
        """Return the line that the operator reads; *source* is the file, or the environment."""
        return ": ".join(part for part in (source, self.place, self.words) if part)


def shown(value: object) -> str:
    """Return *value* as it would stand in a TOML file, shortened; a table shows no content."""
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
    """Return a hint at the known word nearest to *word*, or nothing."""
    near = get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def item_path_of(location: Iterable[str | int]) -> str:
    """Return a location as the TOML file has it: ``area[1].bbox``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).removeprefix(".")


def keys_of(table: type[BaseModel]) -> dict[str, Any]:
    """Return the fields of *table* by their key in the TOML file."""
    return {field.alias or name: field for name, field in table.model_fields.items()}


def faults_in(error: ValidationError, table: type[BaseModel]) -> Iterator[Fault]:
    """Give every fault that pydantic found in a document for *table*, in our words."""
    for found in error.errors(include_url=False):
        location = found["loc"]
        if found["type"] == "too_short" and found["input"]:
            continue  # not empty: its elements are faulty, and pydantic counts the good ones only
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
    """Name a key that nothing reads; a silent typo is worse than a refusal."""
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
