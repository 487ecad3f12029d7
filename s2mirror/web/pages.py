"""Renders the pages: Jinja2 templates, in which every value is escaped."""

import base64
import hashlib
import re
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from s2mirror import __version__
from s2mirror.clean_text import clean_text
from s2mirror.planning.findings import Judgement
from s2mirror.web.views import AreaPage, Front, ProductPage

_SIZES: Final = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_SPANS: Final = ((86_400, "d"), (3600, "h"), (60, "min"))
_COMMAND: Final = re.compile(r"`([^`]+)`")
_NARROW_SPACE: Final = "\u202f"


class Pages:
    """The templates of the page, loaded. With *in_file*, pages have no links to each other."""

    def __init__(self, *, in_file: bool = False) -> None:
        # The style sheet is the package's own; every other text is escaped by the templates.
        style = files("s2mirror.web").joinpath("style.css").read_text("utf-8")
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        rules = f"default-src 'none'; style-src 'sha256-{digest}'; img-src 'self' data:"
        self.policy: Final = f"{rules}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        """The Content-Security-Policy of every page: its own style and images, no script."""
        self._templates = Environment(
            loader=PackageLoader("s2mirror.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_cleaned,
        )
        self._templates.filters |= {
            "ago": ago,
            "commands": commands,
            "day": day,
            "minute": minute,
            "number": number,
            "size": size,
            "span": span,
        }
        self._templates.globals |= {
            "style": Markup(style),  # noqa: S704 - see above
            "version": __version__,
            "in_file": in_file,
            "file_policy": rules,
        }

    def front(self, view: Front) -> str:
        """Return the front page."""
        return self._render("front.html", view=view)

    def area(self, view: AreaPage) -> str:
        """Return the page of an area."""
        return self._render("area.html", view=view)

    def product(self, view: ProductPage) -> str:
        """Return the page of a product."""
        return self._render("product.html", view=view)

    def findings(self, judgement: Judgement) -> str:
        """Return the page with every finding."""
        return self._render("findings.html", judgement=judgement)

    def message(self, title: str, text: str) -> str:
        """Return a page that says why there is no other."""
        return self._render("message.html", title=title, text=text)

    def _render(self, template: str, **values: Any) -> str:  # noqa: ANN401 - of any type
        return self._templates.get_template(template).render(values)


def _cleaned(value: object) -> object:
    """Return a value of a template without invisible characters."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return clean_text(value)


def commands(text: str) -> Markup:
    """Return a text whose parts between backticks are shown as commands; it is escaped first."""
    return Markup(_COMMAND.sub(r"<code>\1</code>", escape(clean_text(text))))  # noqa: S704 - see above


def size(size_bytes: float | None) -> str:
    """Return a size with its unit."""
    if size_bytes is None:
        return "?"
    for step, unit in _SIZES:
        if size_bytes >= step:
            return f"{size_bytes / step:.1f}{_NARROW_SPACE}{unit}"
    return f"{size_bytes:.0f}{_NARROW_SPACE}B"


def number(value: int) -> str:
    """Return a whole number in groups of three digits."""
    return f"{value:,}".replace(",", _NARROW_SPACE)


def minute(at: datetime | None) -> str:
    """Return an instant to the minute."""
    return f"{at:%Y-%m-%d %H:%M}" if at else "never"


def day(at: datetime) -> str:
    """Return the day of an instant."""
    return f"{at:%Y-%m-%d}"


def span(seconds: float) -> str:
    """Return a duration in its largest unit."""
    for step, unit in _SPANS:
        if seconds >= 2 * step or (seconds >= step and seconds % step == 0):
            return f"{seconds / step:.0f}{_NARROW_SPACE}{unit}"
    return f"{seconds:.0f}{_NARROW_SPACE}s"


def ago(at: datetime | None, now: datetime) -> str:
    """Return how long ago an instant was; a future one counts as now."""
    if at is None:
        return "none yet"
    return f"{span(max(timedelta(0), now - at).total_seconds())} old"
