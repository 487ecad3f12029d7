"""``report``: the status page as a file, for machines without an open port."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer

from s2mirror.cli.context import ConfigOption
from s2mirror.cli.mirrors import shared_mirror
from s2mirror.cli.output import print_line
from s2mirror.errors import UsageError

HtmlOption = Annotated[
    Path, typer.Option("--html", metavar="FILE", help="File to write, as one HTML page.")
]


def report(html: HtmlOption, config: ConfigOption = None) -> int:
    """Write the status page as one HTML file.

    The page is that of `s2mirror run` with web.listen. The file is replaced in one step.
    """
    try:
        from s2mirror.web.pages import Pages  # noqa: PLC0415 - late, as it is an extra
        from s2mirror.web.views import Views  # noqa: PLC0415 - likewise
    except ModuleNotFoundError as error:
        raise UsageError(
            f'the page needs {error.name}, which is not installed; pip install "s2mirror[web]"'
        ) from error
    with shared_mirror(config) as mirror:
        text = Pages(in_file=True).front(Views().front(mirror))
    _replace(html, text)
    print_line(f"wrote {html}")
    return 0


def _replace(path: Path, text: str) -> None:
    """Write a file in one step for readers. Raises UsageError if that is not possible."""
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}; name a file in a folder in which this user "
            "may write"
        ) from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
