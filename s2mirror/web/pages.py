"""Renders the pages: Jinja2 templates, in which every value is escaped."""

import base64
import hashlib
from datetime import datetime
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from s2mirror import __version__
from s2mirror.clean_text import clean_text
from s2mirror.service.report import Status

_STEPS: Final = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_NARROW_SPACE: Final = "\u202f"


class Pages:
    """The templates of the page, loaded."""

    def __init__(self) -> None:
        # The files are the package's own; every other text is escaped by the templates.
        self._style = files("s2mirror.web").joinpath("style.css").read_text("utf-8")
        self._templates = Environment(
            loader=PackageLoader("s2mirror.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_cleaned,
        )
        self._templates.filters |= {"size": size, "minute": minute, "number": number}
        self._templates.globals |= {"style": Markup(self._style), "version": __version__}  # noqa: S704 - see above

    @property
    def policy(self) -> str:
        """The Content-Security-Policy of every page: its own style, its own images, no script."""
        digest = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
        return (
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src 'self' data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def front(self, found: Status) -> str:
        """Return the front page."""
        return self._render("front.html", status=found, now=found.judgement.at)

    def _render(self, template: str, **values: Any) -> str:  # noqa: ANN401 - of any type
        return self._templates.get_template(template).render(values)


def _cleaned(value: object) -> object:
    """Return a value of a template without invisible characters."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else clean_text(value)


def size(size_bytes: float | None) -> str:
    """Return a size with its unit."""
    if size_bytes is None:
        return "?"
    for step, unit in _STEPS:
        if size_bytes >= step:
            return f"{size_bytes / step:.1f}{_NARROW_SPACE}{unit}"
    return f"{size_bytes:.0f}{_NARROW_SPACE}B"


def number(value: int) -> str:
    """Return a whole number in groups of three digits."""
    return f"{value:,}".replace(",", _NARROW_SPACE)


def minute(at: datetime | None) -> str:
    """Return an instant to the minute, in UTC."""
    return f"{at:%Y-%m-%d %H:%M}" if at else "never"
