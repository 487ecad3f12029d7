"""The language of the project follows GLOSSARY.md and the rules of CONTRIBUTING.md."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
GLOSSARY: Final = ROOT / "GLOSSARY.md"
TEXT_SUFFIXES: Final = frozenset({".py", ".md", ".toml", ".yaml", ".yml", ".service", ".js"})
MAX_TEST_NAME_WORDS: Final = 8
# CDSE's host name has this spelling, and so does a public attribute of the sandbox.
ALLOWED: Final = re.compile(
    r"catalogue\.(dataspace|\{_CDSE\})|(sandbox|self)\.catalogue\b|host \"?catalogue"
)


def column(section: str) -> list[str]:
    """Return the first column of the table in a section of the glossary."""
    text = GLOSSARY.read_text(encoding="utf-8").split(f"## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE)


def documents() -> Iterator[Path]:
    yield ROOT / "README.md"
    for folder in ("s2mirror", "docs", "config", "tests"):
        found = (path for path in (ROOT / folder).rglob("*") if path.suffix in TEXT_SUFFIXES)
        yield from (path for path in found if path != Path(__file__))


def test_glossary_words_are_in_use() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in documents())
    spellings = {word: re.escape(word).replace(r"\ ", r"[\s_]+") for word in column("Words in use")}
    assert len(spellings) >= 25
    unused = [word for word, spelling in spellings.items() if not re.search(spelling, text)]
    assert unused == []


def retired_words_in(text: str, retired: re.Pattern[str]) -> list[str]:
    """Return each retired word with its line number."""
    return [
        f"{number}: {found.group()}"
        for number, line in enumerate(text.splitlines(), start=1)
        for found in retired.finditer(ALLOWED.sub("", line))
    ]


def retired_pattern() -> re.Pattern[str]:
    words = "|".join(re.escape(word) for word in column("Retired words"))
    return re.compile(rf"\b(?:{words})\b")


def test_no_retired_word_is_left() -> None:
    retired = retired_pattern()
    found = {
        str(path.relative_to(ROOT)): words
        for path in documents()
        if (words := retired_words_in(path.read_text(encoding="utf-8"), retired))
    }
    assert found == {}


def test_a_retired_word_would_be_noticed() -> None:
    text = "the local catalog\nthe local catalogue\nsee catalogue.dataspace.copernicus.eu\n"
    assert retired_words_in(text, retired_pattern()) == ["2: catalogue"]


def test_test_names_have_at_most_eight_words() -> None:
    long_names = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        if len(node.name.split("_")) - 1 > MAX_TEST_NAME_WORDS
    ]
    assert long_names == []
