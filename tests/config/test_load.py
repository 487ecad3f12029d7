"""No file and no value makes the loader crash, or print a library's message."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from config_builders import ARCHIVE, AREA, faults
from hypothesis import given
from hypothesis import strategies as st

from s2mirror.config import Area, Settings, load_settings, parse_settings
from s2mirror.config.errors import keys_of
from s2mirror.config.processing import ProcessEntry
from s2mirror.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(ConfigError) as caught:
        load_settings(path, environment={})
    assert caught.value.faults == (f"{path}: no such file; `s2mirror init` writes one to edit",)


def test_folder_as_configuration_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path, environment={})
    (fault,) = caught.value.faults
    assert fault == (
        f"{tmp_path}: cannot be read: Is a directory; give a readable file, or write one"
        " with `s2mirror init`"
    )


def test_invalid_toml_error_names_the_line(tmp_path: Path) -> None:
    assert faults(tmp_path, "[archive]\nroot = = 3") == [
        (
            "s2mirror.toml: is not valid TOML: Invalid value (at line 2, column 8); "
            "correct it, or see the file that `s2mirror init` writes"
        )
    ]


def test_a_file_nested_without_end_is_refused(tmp_path: Path) -> None:
    assert faults(tmp_path, "a = " + "[" * 50_000) == [
        "s2mirror.toml: expected TOML; it is nested too deeply"
    ]


def test_a_file_that_is_not_utf8_says_where(tmp_path: Path) -> None:
    path = tmp_path / "s2mirror.toml"
    path.write_bytes(b"# caf\xe9")
    with pytest.raises(ConfigError) as caught:
        load_settings(path, environment={})
    assert caught.value.faults == (
        f"{path}: expected UTF-8 text; got another byte at 5; save the file as UTF-8",
    )


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "s2mirror.toml"
    path.write_text(ARCHIVE + AREA, "utf-8-sig")
    assert [found.name for found in load_settings(path, environment={}).settings.area] == ["lake"]


SECTIONS = {
    key: field.annotation
    for key, field in keys_of(Settings).items()
    if key not in ("area", "process", "secrets")
}
OPTIONS = [
    *(("area", key) for key in Area.model_fields),
    *(("process", key) for key in ProcessEntry.model_fields),
    *((section, key) for section, table in SECTIONS.items() for key in keys_of(table)),
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(option=st.sampled_from(OPTIONS), value=VALUES)
def test_no_value_crashes_or_shows_library_texts(option: tuple[str, str], value: object) -> None:
    section, key = option
    whole = {"name": "lake", "bbox": [9, 47, 10, 48], "start": "2026-01-01"}
    entry = {"name": "chain", "command": ["true"]}
    document = {"archive": {"root": "archive"}, "area": [whole], "process": [entry]}
    if section in ("area", "process"):
        document[section][0][key] = value
    else:
        document.setdefault(section, {})[key] = value
    try:
        parse_settings(document, source=Path("s2mirror.toml"), environment={})
    except ConfigError as error:
        for fault in error.faults:
            assert fault.startswith(f"s2mirror.toml: {section}")
            assert "expected" in fault
            assert "Input should" not in fault
            assert "another kind of value" not in fault
            assert "pydantic" not in fault


def test_every_section_refuses_unknown_keys() -> None:
    tables: list[type[BaseModel]] = [*SECTIONS.values(), Area, ProcessEntry, Settings]
    assert [table for table in tables if table.model_config.get("extra") != "forbid"] == []
