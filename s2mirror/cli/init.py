"""``init``: write a configuration file."""

from pathlib import Path
from typing import Annotated

import typer

from s2mirror.cli.context import CONFIG_NAME
from s2mirror.cli.output import print_line
from s2mirror.config import example_text
from s2mirror.errors import UsageError


def init(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="File to write.")] = Path(
        CONFIG_NAME
    ),
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> int:
    """Write a commented configuration file."""
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(example_text())
    except FileExistsError as error:
        raise UsageError(
            f"{path} exists already; overwrite it with --force, or name another file"
        ) from error
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}; name a file in an existing folder in which "
            "this user may write"
        ) from error
    print_line(f"wrote {path}; set archive.root and your areas in it, then run `s2mirror check`")
    return 0
