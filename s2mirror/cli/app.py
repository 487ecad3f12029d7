"""All commands as one Typer application."""

from typing import Annotated, Final

import typer

from s2mirror import __version__
from s2mirror.cli.commands import PANELS, Command, LazyGroup
from s2mirror.cli.output import print_line, print_text
from s2mirror.errors import UsageError

_EXIT_CODES: Final = (
    "Exit codes: 0 nothing is wrong; 1 a warning or a failure, or a check found faults; "
    "2 configuration or usage; 3 a service cannot be reached; 4 another instance runs; "
    "5 disk or ledger; 6 credentials; 7 quota; 70 a bug in s2mirror; 130 stopped on request, "
    "what was downloaded so far is kept."
)

app = typer.Typer(
    name="s2mirror",
    cls=LazyGroup,
    help="Keep a local Sentinel-2 archive current from the Copernicus Data Space, "
    "every byte proven.",
    epilog=_EXIT_CODES,
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
    """Print version or help if no command is given."""
    if version:
        print_line(f"s2mirror {__version__}")
        raise typer.Exit
    need_a_command(context)


def need_a_command(context: typer.Context) -> None:
    """Print the help of a group that is used without a command, and exit with 2."""
    if context.invoked_subcommand is None:
        print_text(context.get_help())
        raise typer.Exit(UsageError.exit_code)


def not_loaded() -> None:
    """Replace a command until its first use, when LazyGroup imports the real one."""


def _add(command: Command, to: typer.Typer, panel: str | None = None) -> None:
    if command.function:
        to.command(command.name, help=command.help, rich_help_panel=panel)(not_loaded)
        return
    group = typer.Typer(cls=LazyGroup, invoke_without_command=True, rich_markup_mode=None)
    group.callback()(need_a_command)
    for member in command.members:
        _add(member, group)
    to.add_typer(group, name=command.name, help=command.help, rich_help_panel=panel)


for _panel, _commands in PANELS.items():
    for _command in _commands:
        _add(_command, app, _panel)


def usage_error(error: typer.TyperException) -> UsageError:
    """Return a usage error of the command line that names the help to read."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else app.info.name
    text = error.format_message().strip().rstrip(".")
    text = text[:1].lower() + text[1:] + (" " if text.endswith("?") else "; ")
    return UsageError(f"{text}run `{command} --help` for usage")
