"""The example names every option with its true default, and is valid without changes."""

import re
import tomllib
from pathlib import Path
from types import NoneType

import pytest
from config_builders import ARCHIVE, AREA, load

from s2mirror.config import Area, ProcessEntry, Settings, example_text, load_settings
from s2mirror.config.errors import keys_of

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config/s2mirror.example.toml"
TABLE = re.compile(r"\[+(?P<name>\w+)\]+")
PROCESS = re.compile(r"(?ms)^#\[\[process\]\]$.*?^$")
LINE_OFF = re.compile(r"(?m)^#(?=\w+ = |\[\[)")
OPTION = re.compile(r"(?P<off>#?)(?P<key>\w+) = (?P<value>.+)")


def example_with_process() -> str:
    """Return the example with its processing entry, which is off, on."""
    return PROCESS.sub(lambda block: LINE_OFF.sub("", block[0]), EXAMPLE.read_text(), count=1)


def options() -> dict[tuple[str, str], tuple[bool, str, int]]:
    """Return every option of the example: whether it is off, its line, and the line's number."""
    found, table = {}, ""
    for number, line in enumerate(example_with_process().splitlines()):
        if head := TABLE.fullmatch(line):
            table = head["name"]
        elif option := OPTION.fullmatch(line):
            found[table, option["key"]] = (bool(option["off"]), line.lstrip("#"), number)
    return found


def fields() -> dict[tuple[str, str], object]:
    """Return every option of the settings."""
    tables = {key: field.annotation for key, field in keys_of(Settings).items()}
    tables = tables | {"area": Area, "process": ProcessEntry}
    del tables["secrets"]
    return {
        (name, key): field
        for name, table in tables.items()
        for key, field in keys_of(table).items()
    }


OPTIONS = options()
FIELDS = fields()
OTHER_OUTLINES = {("area", "geojson"), ("area", "wkt"), ("area", "tiles")}
AREAS = sorted((ROOT / "config/areas").glob("*.geojson"))
ENTRY = '[[process]]\nname = "my-chain"\ncommand = ["my-chain"]\n'
REQUIRED = {("archive", "root"), ("area", "name"), ("area", "start"), ("area", "bbox")}
REQUIRED |= {("process", "name"), ("process", "command")}


def value_in(settings: Settings, table: str, key: str) -> object:
    section = getattr(settings, table)
    section = section[0] if isinstance(section, tuple) else section
    names = {field.alias or name: name for name, field in type(section).model_fields.items()}
    return getattr(section, names[key])


def test_the_example_names_every_option_and_no_other() -> None:
    assert set(OPTIONS) | OTHER_OUTLINES == set(FIELDS)


def test_the_example_loads_as_it_stands() -> None:
    loaded = load_settings(EXAMPLE, environment={})
    assert loaded.notes == ()
    assert "lake-constance" in {area.name for area in loaded.settings.area}


@pytest.mark.parametrize("option", sorted(set(OPTIONS) - REQUIRED), ids=".".join)
def test_option_shows_its_default_or_is_off(tmp_path: Path, option: tuple[str, str]) -> None:
    off, line, _ = OPTIONS[option]
    minimal = load(tmp_path, ARCHIVE + AREA + ENTRY).settings
    default = value_in(minimal, *option)
    assert off is isinstance(default, NoneType) or '= "never"' in line
    if not off:
        (tmp_path / "s2mirror.toml").write_text(example_with_process())
        shown = load_settings(tmp_path / "s2mirror.toml", environment={}).settings
        assert value_in(shown, *option) == default


@pytest.mark.parametrize("option", [key for key, (off, *_) in OPTIONS.items() if off], ids=".".join)
def test_option_that_is_off_can_be_set(tmp_path: Path, option: tuple[str, str]) -> None:
    _, line, number = OPTIONS[option]
    lines = EXAMPLE.read_text().splitlines()
    assert "Off: " in lines[number - 1]
    if option[1] == "ca_file":
        (tmp_path / "ca.pem").touch()
        line = 'ca_file = "ca.pem"'
    if option[1] == "disk_low_percent":
        line += "\ndisk_high_percent = 90"
    lines[number] = line
    on = load(tmp_path, "\n".join(lines)).settings
    assert value_in(on, *option) is not None


@pytest.mark.parametrize("option", OPTIONS, ids=".".join)
def test_each_option_has_a_line_on_why(option: tuple[str, str]) -> None:
    _, _, number = OPTIONS[option]
    assert EXAMPLE.read_text().splitlines()[number - 1].startswith("# ")


def test_each_form_of_an_area_has_an_example(tmp_path: Path) -> None:
    blocks = EXAMPLE.read_text().partition("# An area from a GeoJSON file")[2]
    areas = "\n".join(re.findall(r"^#    (.*)$", blocks, re.MULTILINE))
    (tmp_path / "areas").symlink_to(ROOT / "config/areas")
    loaded = load(tmp_path, ARCHIVE + AREA + areas)
    assert [set(table) & {"geojson", "wkt", "tiles"} for table in tomllib.loads(areas)["area"]] == [
        {"geojson"},
        {"wkt"},
        {"tiles"},
    ]
    assert loaded.notes == ()


def test_installed_example_equals_the_one_in_config() -> None:
    assert example_text() == EXAMPLE.read_text("utf-8")


@pytest.mark.parametrize("path", AREAS, ids=[path.stem for path in AREAS])
def test_the_example_areas_are_sound(tmp_path: Path, path: Path) -> None:
    area = AREA.replace("bbox = [9, 47, 10, 48]", f'geojson = "{path}"')
    assert load(tmp_path, ARCHIVE + area).notes == ()


def test_paths_begin_at_the_folder_of_the_configuration(tmp_path: Path) -> None:
    settings = load(tmp_path, ARCHIVE + AREA).settings
    assert settings.archive.root == tmp_path / "archive"
    assert settings.ledger.path == tmp_path / "s2mirror.sqlite"


def test_tilde_means_the_home_folder(tmp_path: Path) -> None:
    settings = load(tmp_path, '[archive]\nroot = "~/s2"\n' + AREA).settings
    assert settings.archive.root == Path("~/s2").expanduser()


def test_plain_http_is_taken_for_this_machine(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000"):
        text = ARCHIVE + AREA + f'[store]\nendpoint = "{url}"'
        assert load(tmp_path, text).settings.store.endpoint == url


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    settings = load(tmp_path, ARCHIVE + AREA).settings
    with pytest.raises(ValueError, match="frozen"):
        settings.store.connections = 8


def test_a_layout_is_given_as_its_template(tmp_path: Path) -> None:
    settings = load(tmp_path, ARCHIVE + 'layout = "force"' + AREA).settings
    assert settings.archive.template == "T{tile}/{name}.SAFE"


def test_the_same_file_read_twice_gives_equal_settings(tmp_path: Path) -> None:
    first, second = load(tmp_path, ARCHIVE + AREA), load(tmp_path, ARCHIVE + AREA)
    assert not first.settings.area[0].geometry.is_empty
    assert first == second
