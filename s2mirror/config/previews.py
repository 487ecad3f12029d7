"""The options of previews, and of the tokens for them."""

import re
from collections.abc import Mapping
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
)

from s2mirror.config import fields
from s2mirror.config.errors import faults_in
from s2mirror.crs import check_crs
from s2mirror.errors import HostileInput, UsageError
from s2mirror.naming import check_relative_path
from s2mirror.preview_model import FORMATS, PreviewSource, Script

OWN_UTM: Final = "utm"
_MAX_SIDE: Final = 20_000
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_OF: Final = ("product", "area")


def built_in_scripts() -> dict[str, str]:
    """Return the paths of the evalscripts that s2mirror includes, by name."""
    found = files("s2mirror").joinpath("evalscripts").iterdir()
    return {Path(str(path)).stem: str(path) for path in found if path.name.endswith(".js")}


def script_named(value: object, folder: Path) -> Script:
    """Return an included evalscript by name, or one from a file. Raises ValueError for neither."""
    known = built_in_scripts()
    text = value if isinstance(value, str) else ""
    if text in known:
        return Script(name=text, text=Path(known[text]).read_text("utf-8"))
    path = folder / Path(text).expanduser()
    expected = f"one of {', '.join(sorted(known))}, or the path of a .js file"
    if not text.endswith(".js") or not path.is_file():
        raise fields.unexpected(expected, value)
    if not _NAME.fullmatch(path.stem):
        raise fields.unexpected("a file named with letters, digits, - and _ only", value)
    try:
        script = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise fields.unexpected("a .js file that can be read as UTF-8", value) from error
    if not script.lstrip().startswith("//VERSION=3"):
        raise fields.unexpected("an evalscript that begins with //VERSION=3", value)
    return Script(name=path.stem, text=script)


def crs_named(value: object) -> str:
    """Return an EPSG code, or ``utm``. Raises ValueError for an unknown system."""
    if value == OWN_UTM:
        return OWN_UTM
    try:
        return check_crs(value if isinstance(value, str) else "")
    except ValueError:
        expected = '"utm", "EPSG:4326", "EPSG:3857" or a UTM zone such as "EPSG:32632"'
        raise fields.unexpected(expected, value) from None


def _script(value: object, info: ValidationInfo) -> Script:
    return value if isinstance(value, Script) else script_named(value, fields.folder_of(info))


def _inner_folder(value: object) -> str:
    text = value if isinstance(value, str) else ""
    try:
        path = check_relative_path(text)
    except HostileInput:
        path = "."
    if path.startswith(".") or "{" in path:
        raise fields.unexpected('a folder within the archive, such as "previews"', value)
    return path


def _above_zero(value: Any) -> float:  # noqa: ANN401 - a TOML value of any type
    if not fields.is_number(value) or value <= 0:
        raise fields.unexpected("a number above zero", value)
    return float(value)


def _from_zero(value: Any) -> float:  # noqa: ANN401 - a TOML value of any type
    if not fields.is_number(value) or value < 0:
        raise fields.unexpected("a number, zero or above", value)
    return float(value)


Evalscript = Annotated[Script, BeforeValidator(_script)]
OwnEvalscript = Annotated[Script | None, BeforeValidator(_script)]
Source = Annotated[PreviewSource, fields.choice(*PreviewSource)]
OwnSource = Annotated[PreviewSource | None, fields.choice(*PreviewSource)]
Of = Annotated[str, fields.choice(*_OF)]
OwnOf = Annotated[str | None, fields.choice(*_OF)]
Side = fields.whole(1, _MAX_SIDE)
ORDERS: Final = ("mostRecent", "leastRecent", "leastCC")


class PreviewSettings(fields.Section):
    """The source, kind and allowed cost of previews."""

    source: Source = PreviewSource.QUICKLOOK
    of: Of = "product"
    folder: Annotated[str, BeforeValidator(_inner_folder)] = "previews"
    evalscript: Evalscript = Field(default="true-color", validate_default=True)
    format: Annotated[str, fields.choice(*FORMATS)] = "png"
    width: Annotated[int, Side] = 512
    height: Annotated[int | None, Side] = None
    metres_per_pixel: Annotated[float | None, BeforeValidator(_above_zero)] = None
    crs: Annotated[str, BeforeValidator(crs_named)] = "EPSG:4326"
    time_margin: fields.PositiveDuration = timedelta(minutes=45)
    max_cloud_cover_percent: fields.PercentOrAll = None
    mosaicking_order: Annotated[str, fields.choice(*ORDERS)] = "mostRecent"
    every: fields.OwnInterval = None
    window: fields.PositiveDuration = timedelta(days=10)
    monthly_units: Annotated[float, BeforeValidator(_from_zero)] = 9000.0
    monthly_requests: Annotated[int, fields.whole(0)] = 9000
    max_attempts: Annotated[int, fields.whole(1, 1000)] = 5
    timeout: fields.PositiveDuration = timedelta(seconds=60)


class TokenSettings(fields.Section):
    """The source of OAuth2 tokens."""

    client_auth: Annotated[str, fields.choice("body", "basic")] = "body"
    renew_before: fields.Duration = timedelta(seconds=60)
    timeout: fields.PositiveDuration = timedelta(seconds=30)
    tries: Annotated[int, fields.whole(1, 20)] = 5


def overridden(
    preview: PreviewSettings, given: Mapping[str, object], folder: Path
) -> PreviewSettings:
    """Return *preview* with some options changed, with the same checks as those of the file.

    Relative paths start at *folder*. Raises UsageError with every fault.
    """
    try:
        checked = PreviewSettings.model_validate(given, context={"folder": folder})
    except ValidationError as error:
        faults = (fault.message("") for fault in faults_in(error, PreviewSettings))
        raise UsageError("\n".join(faults)) from error
    return preview.model_copy(update={name: getattr(checked, name) for name in given})
