"""docs/json.md describes every key that a command prints as JSON, and no other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from cli_kit import Cli
from json_world import documents, keys_in
from kit import Kit
from test_usage import PRINTS_NO_VALUE

from s2mirror.cli.commands import FUNCTIONS

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "json.md"


def documented() -> dict[str, dict[str, tuple[str, str]]]:
    """Return type and meaning of each key, by command."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for section in DOCUMENT.read_text(encoding="utf-8").split("\n## `")[1:]:
        rows = [line for line in section.splitlines() if line.startswith("| `")]
        cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
        found[section.partition("`")[0]] = {key.strip("`"): (kind, why) for key, kind, why in cells}
    return found


def differences(rows: dict[str, tuple[str, str]], printed: dict[str, set[str]]) -> Iterator[str]:
    """Yield what differs between the rows of a command and the keys that it prints."""
    for key, kinds in printed.items():
        wanted = {kind.partition(" of ")[0] for kind in rows.get(key, ("", ""))[0].split(" or ")}
        wanted |= {"integer"} if "number" in wanted else set()
        if not kinds <= wanted:
            yield f"| `{key}` | {' or '.join(sorted(kinds))} | ? |"
    for key in rows.keys() - printed.keys():
        if not any(
            key != above and key.startswith(above) and kinds & {"list", "map", "null"}
            for above, kinds in printed.items()
        ):
            yield f"not printed: {key}"


def test_every_command_with_json_is_documented() -> None:
    assert set(documented()) == set(FUNCTIONS) - PRINTS_NO_VALUE


@pytest.mark.long
def test_every_key_of_json_is_documented(cli: Cli, kit: Kit) -> None:
    tables, found = documented(), documents(cli, kit)
    assert sorted(tables) == sorted(found)
    wrong = {}
    for command, printed in found.items():
        maps = frozenset(key for key, (kind, _) in tables[command].items() if "map" in kind)
        kinds: dict[str, set[str]] = {}
        for document in printed:
            assert document.pop("schema") == 1
            for key, kind in keys_in(document, maps):
                kinds.setdefault(key, set()).add(kind)
        if lines := list(differences(tables[command], kinds)):
            wrong[command] = lines
    text = "\n".join(f"## `{name}`\n" + "\n".join(lines) for name, lines in wrong.items())
    assert not wrong, f"docs/json.md differs:\n{text}"
