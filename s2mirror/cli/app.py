"""All commands as one Typer application."""

from typing import Annotated

import typer

from s2mirror import __version__
from s2mirror.cli import (
    audit,
    catalog,
    complete,
    demo,
    export,
    forecast,
    mark,
    preview,
    products,
    run,
    setup,
    status,
    sync,
)
from s2mirror.cli.output import say
from s2mirror.errors import UsageError

app = typer.Typer(
    name="s2mirror",
    help="Keep a local Sentinel-2 archive current from the Copernicus Data Space, "
    "every byte proven.",
    epilog="Exit codes: 0 current; 1 more to come, or something failed; 2 configuration or usage; "
    "3 an outside service cannot be reached; 4 another instance runs; 5 disk or ledger; "
    "6 credentials; 7 quota; 70 a bug; 130 stopped on request, what was fetched so far is kept.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.callback()
def begin(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Answer what needs no command."""
    if version:
        say(f"s2mirror {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        say(context.get_help())
        raise typer.Exit(UsageError.exit_code)


for room in (
    *(setup, sync, run, status, products, preview),
    *(audit, mark, catalog, export, complete, forecast, demo),
):
    room.register(app)


def refusal(error: typer.TyperException) -> UsageError:
    """Return what was wrong with the words of a command, and where to look."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else app.info.name
    words = error.format_message().strip().rstrip(".")
    words = words[:1].lower() + words[1:] + (" " if words.endswith("?") else "; ")
    return UsageError(f"{words}`{command} --help` shows what there is")
