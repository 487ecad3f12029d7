"""Help in plain words, and commands that are imported only when they are used."""

from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from s2mirror.cli.commands import FUNCTIONS


class PlainCommand(TyperCommand):
    """A command whose help names arguments as ``ID...``, without braces and Python types."""

    # Typer keeps the types of contexts and formatters to itself.
    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ANN401 - see above
        """Return the parts of the usage line."""
        pieces = super().collect_usage_pieces(ctx)
        return [piece.replace("{", "").replace("}", "") for piece in pieces]

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - see above
        """Return arguments and options."""
        return _with_defaults(super().get_params(ctx))

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - see above
        """Write arguments, then options."""
        for heading, kind in (("Arguments", "argument"), ("Options", "option")):
            found = [each for each in self.get_params(ctx) if each.param_type_name == kind]
            records = filter(None, (each.get_help_record(ctx) for each in found))
            rows = [(name.partition(" <")[0], text) for name, text in records]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


class LazyGroup(TyperGroup):
    """A group that knows the names and help lines of its commands, and imports one on use."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - see above
        """Return the options of the group itself."""
        return _with_defaults(super().get_params(ctx))

    def resolve_command(
        self,
        ctx: Any,  # noqa: ANN401 - see above
        args: list[str],
    ) -> tuple[str | None, Any, list[str]]:
        """Return the command that *args* begin with, imported."""
        name, found, rest = super().resolve_command(ctx, args)
        words = " ".join([*ctx.command_path.split()[1:], name or ""])
        return name, load_command(words) if words in FUNCTIONS else found, rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - see above
        """List the commands under their headings."""
        headings = dict.fromkeys(_heading(self.commands[n]) for n in self.list_commands(ctx))
        for heading in headings:
            rows = [
                (name, command.help or "")
                for name, command in self.commands.items()
                if _heading(command) == heading
            ]
            with formatter.section(heading):
                formatter.write_dl(rows)


def load_command(words: str) -> TyperCommand:
    """Import and return a command, such as ``sync`` or ``export csv``."""
    module, _, name = FUNCTIONS[words].partition(":")
    function = getattr(import_module(f"s2mirror.cli.{module}"), name)
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(words.rpartition(" ")[2], cls=PlainCommand)(function)
    return cast("TyperCommand", typer.main.get_command(app))


def _with_defaults(parameters: list[Any]) -> list[Any]:
    """Set the flags that have no default: Typer imports pydantic to find that None is no bool."""
    for parameter in parameters:
        if parameter.default is None and getattr(parameter, "is_bool_flag", False):
            parameter.default = False
    return parameters


def _heading(command: Any) -> str:  # noqa: ANN401 - see above
    return getattr(command, "rich_help_panel", None) or "Commands"
