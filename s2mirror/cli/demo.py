"""``demo``: the mirror with a local simulation of the Copernicus Data Space."""

from pathlib import Path
from typing import Annotated

import typer

from s2mirror.errors import UsageError


def demo(
    folder: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", help="Folder for archive and ledger; emptied first if a demo made it."
        ),
    ] = Path("demo"),
    *,
    items: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Mirror recorded items and manifests from this file or folder."
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the services running afterwards, until Ctrl-C.")
    ] = False,
) -> int:
    """Run a demonstration without network or account.

    It takes less than a minute. Every step is a real command.
    """
    try:
        from s2mirror.cli.demo_script import run_demo, run_recorded_demo  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise UsageError(
            f"the demo needs the sandbox, but {error.name} is not installed; "
            "run: pip install 's2mirror[sandbox]'"
        ) from error
    if items:
        return run_recorded_demo(folder, items, keep=keep)
    return run_demo(folder, keep=keep)
