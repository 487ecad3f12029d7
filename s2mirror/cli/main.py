"""The entry point: one Typer application, and errors as exit codes."""

import os
import sys
from collections.abc import Sequence

import typer

from s2mirror.cli import change, demo, look, setup, work
from s2mirror.cli.output import complain
from s2mirror.errors import MirrorError, UsageError

INTERRUPTED = 130

app = typer.Typer(
    name="s2mirror",
    help="Keep a local Sentinel-2 archive current from the Copernicus Data Space, "
    "every byte proven.",
    epilog="Exit codes: 0 current, 1 more to come or some products failed, 2 configuration or "
    "usage, 3 an outside service cannot be reached, 4 another instance runs, 5 disk or ledger, "
    "6 credentials.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for room in (setup, work, look, change, demo):
    room.register(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = app(args=arguments, prog_name="s2mirror", standalone_mode=False)
    except MirrorError as error:
        for line in str(error).splitlines():
            complain(line)
        return error.exit_code
    except typer.TyperException as error:
        complain(f"{error}; `s2mirror {' '.join(arguments[:1])} --help` shows what there is")
        return UsageError.exit_code
    except (KeyboardInterrupt, typer.Abort):
        complain("stopped; what was fetched so far is kept and will be used")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output, `head` perhaps, has had enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code if isinstance(code, int) else 0
