"""``demo``: the mirror with a local simulation of the Copernicus Data Space."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer

from s2mirror.cli.demo_publish import request_product
from s2mirror.cli.output import print_line
from s2mirror.config.units import parse_duration
from s2mirror.errors import UsageError


def demo(
    action: Annotated[
        Literal["publish"] | None,
        typer.Argument(
            metavar="publish", help="Publish one more product on a demo that keeps running."
        ),
    ] = None,
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
    publish_every: Annotated[
        str | None,
        typer.Option(
            "--publish-every",
            metavar="DURATION",
            help='Keep the services running, and publish a product each "10 s".',
        ),
    ] = None,
) -> int:
    """Run a demonstration without network or account.

    It takes less than a minute. Every step is a real command.
    """
    every = _duration(publish_every)
    if action:
        print_line(request_product(folder))
        return 0
    if items and every:
        raise UsageError("--publish-every does not apply to recorded items; leave one of them out")
    return _run(folder, items, keep=keep or every is not None, every=every)


def _run(folder: Path, items: Path | None, *, keep: bool, every: timedelta | None) -> int:
    try:
        from s2mirror.cli.demo_script import run_demo, run_recorded_demo  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise UsageError(
            f"the demo needs the sandbox, but {error.name} is not installed; "
            "run: pip install 's2mirror[sandbox]'"
        ) from error
    if items:
        return run_recorded_demo(folder, items, keep=keep)
    return run_demo(folder, keep=keep, publish_every=every)


def _duration(text: str | None) -> timedelta | None:
    try:
        every = parse_duration(text) if text is not None else None
    except ValueError as error:
        raise UsageError(f"--publish-every: {error}") from error
    if every is not None and every <= timedelta():
        raise UsageError("--publish-every: it must be longer than 0 s")
    return every
