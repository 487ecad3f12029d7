"""Options of previews and tokens: valid values, and the errors of invalid ones."""

from pathlib import Path

import pytest
from config_builders import ARCHIVE, area, faults, load

from s2mirror.config.previews import built_in_scripts, overridden
from s2mirror.errors import UsageError
from s2mirror.preview_model import PreviewSource
from s2mirror.service.previews import preview_rules


def fault(folder: Path, section: str, line: str) -> list[str]:
    return faults(folder, f"{ARCHIVE}[{section}]\n{line}\n{area()}")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('source = "quicklok"', "expected one of none, quicklook, tci, process; got"),
        ('of = "tile"', 'expected one of product, area; got "tile"'),
        ('folder = "../elsewhere"', "expected a folder within the archive"),
        ('folder = ".s2mirror"', "expected a folder within the archive"),
        ('folder = "/srv"', "expected a folder within the archive"),
        ('evalscript = "ndwi"', "expected one of false-color, ndvi, scl, true-color, or the path"),
        ('evalscript = "none.js"', "expected one of false-color"),
        ("evalscript = 1", "expected one of false-color"),
        ('format = "gif"', "expected one of png, jpeg, tiff"),
        ("width = 0", "expected a whole number from 1 to 20000"),
        ("metres_per_pixel = 0", "expected a number above zero"),
        ("metres_per_pixel = nan", "expected a number above zero"),
        ('crs = "EPSG:2056"', 'expected "utm", "EPSG:4326"'),
        ('crs = "EPSG:32661"', 'expected "utm", "EPSG:4326"'),
        ('mosaicking_order = "newest"', "expected one of mostRecent, leastRecent, leastCC"),
        ('every = "0 s"', "expected a duration longer than zero"),
        ("monthly_units = -1", "expected a number, zero or above"),
        ("monthly_units = true", "expected a number, zero or above"),
    ],
)
def test_invalid_preview_option_is_refused(tmp_path: Path, line: str, words: str) -> None:
    (found,) = fault(tmp_path, "preview", line)
    assert found.startswith(f"s2mirror.toml: preview.{line.partition(' ')[0]}: ")
    assert words in found


def test_invalid_token_option_is_refused(tmp_path: Path) -> None:
    (found,) = fault(tmp_path, "tokens", 'client_auth = "header"')
    assert found == (
        "s2mirror.toml: tokens.client_auth: expected one of body, basic; "
        'got "header"'
    )  # fmt: skip


def test_client_secret_in_options_is_refused_unshown(
    tmp_path: Path,
) -> None:
    (found,) = fault(tmp_path, "tokens", 'client_secret = "hunter2-and-more"')
    assert "secrets do not belong in this file" in found
    assert "hunter2" not in found


def test_an_own_evalscript_is_found_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "my-script.js").write_text("//VERSION=3\n// mine")
    settings = load(tmp_path, f'{ARCHIVE}[preview]\nevalscript = "my-script.js"\n{area()}').settings
    assert settings.preview.evalscript.name == "my-script"
    assert settings.preview.evalscript.text.endswith("// mine")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("old.js", b"return [1]", "that begins with //VERSION=3"),
        ("b c.js", b"//VERSION=3", "named with letters, digits"),
        ("x.js", b"//VERSION=3 \xff", "that can be read as UTF-8"),
    ],
)
def test_unusable_evalscript_is_refused(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    (found,) = fault(tmp_path, "preview", f'evalscript = "{name}"')
    assert words in found


def test_area_overrides_preview_options(tmp_path: Path) -> None:
    own = {"preview": '"process"', "preview_of": '"area"', "preview_evalscript": '"ndvi"'}
    text = ARCHIVE + area() + area(name='"delta"', **own)
    rules = preview_rules(load(tmp_path, text).settings)
    assert (rules["lake"].source, rules["lake"].per_area) == (PreviewSource.QUICKLOOK, False)
    assert (rules["delta"].source, rules["delta"].per_area) == (PreviewSource.PROCESS, True)
    assert (rules["lake"].script.name, rules["delta"].script.name) == ("true-color", "ndvi")


def test_command_line_values_are_checked_like_the_file(tmp_path: Path) -> None:
    preview = load(tmp_path, ARCHIVE + area()).settings.preview
    changed = overridden(preview, {"width": 90, "crs": "utm"}, tmp_path)
    assert (changed.width, changed.crs, changed.format) == (90, "utm", "png")
    with pytest.raises(UsageError) as caught:
        overridden(preview, {"width": 0, "crs": "mars"}, tmp_path)
    assert str(caught.value).splitlines()[0] == (
        "width: expected a whole number from 1 to 20000; got 0"
    )
    assert "crs: expected" in str(caught.value)


def test_bundled_evalscripts_have_the_alpha_switch() -> None:
    scripts = {name: Path(path).read_text() for name, path in built_in_scripts().items()}
    assert set(scripts) == {"true-color", "false-color", "ndvi", "scl"}
    for text in scripts.values():
        assert text.startswith("//VERSION=3\n")
        assert "const ALPHA = true;" in text
