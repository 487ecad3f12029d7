"""``demo``: the mirror at work against a Copernicus Data Space on loopback."""

from pathlib import Path
from typing import Annotated

import typer

from s2mirror.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add this command to *app*."""
    app.command()(demo)


def demo(
    folder: Annotated[
        Path, typer.Option(help="Where the demo's archive and ledger go; made anew each time.")
    ] = Path("demo"),
    *,
    items: Annotated[
        Path | None,
        typer.Option(help="Mirror recorded items and manifests from this file or folder instead."),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the services up afterwards, until Ctrl-C.")
    ] = False,
) -> int:
    """Watch a mirror work, without network or account.

    It takes less than a minute.
    """
    try:
        from s2mirror.cli.demo_script import tell, tell_recorded  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise UsageError(
            f"the demo needs the sandbox ({error.name} is not installed); "
            "run: pip install 's2mirror[sandbox]'"
        ) from error
    return tell_recorded(folder, items, keep=keep) if items else tell(folder, keep=keep)
