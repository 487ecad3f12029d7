import json
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mirror.clean_text import clean_text, clean_value

TEXTS: Final = st.text(st.characters(codec=None))
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2J\x1b[31mgone", r"\x1b[2J\x1b[31mgone"),
        ("ring\x07", r"ring\x07"),
        ("one\ntwo\r\nthree", r"one\ntwo\r\nthree"),
        ("EFAS.\u202eBA", r"EFAS.\u202eBA"),
        ("\u2028next", r"\u2028next"),
        ("half \ud83d", r"half \ud83d"),
        ("\x9b31m", r"\x9b31m"),
    ],
)
def test_hostile_characters_become_visible_escapes(hostile: str, shown: str) -> None:
    assert clean_text(hostile) == shown


@pytest.mark.parametrize("text", ["T32TMT", "Zürich, Łódź", "東京", "no-break\u00a0space", r"C:\n"])
def test_readable_text_stays_as_it_is(text: str) -> None:
    assert clean_text(text) == text


def test_kept_characters_stay() -> None:
    assert clean_text("two\nlines\x07", keep="\n") == "two\nlines\\x07"


@given(TEXTS)
def test_cleaned_text_is_one_printable_line(text: str) -> None:
    cleaned = clean_text(text)
    assert len(cleaned.splitlines()) <= 1
    assert all(char.isprintable() or char.isspace() for char in cleaned)
    assert not set(cleaned) & set("\x1b\x07\n\r\t\u202e")
    cleaned.encode("utf-8")


@given(TEXTS)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    assert clean_text(clean_text(text)) == clean_text(text)


@given(JSON)
def test_every_text_of_a_value_is_cleaned(value: object) -> None:
    document = json.dumps(clean_value(value), ensure_ascii=False)
    assert document == clean_text(document)
