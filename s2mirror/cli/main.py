"""The entry point: errors become exit codes, and a stop works from the start."""

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Final

from s2mirror.cli.output import print_error
from s2mirror.cli.streams import safe_streams

STOPPED: Final = 130
"""Stopped on request before the work was complete."""
BUG: Final = 70
"""An unexpected error: EX_SOFTWARE of sysexits.h, which no expected error uses."""
OUTPUT_LOST: Final = 5
"""The output of a command whose only purpose is its output could not be written."""
_PRINTING: Final = frozenset({"list", "show", "log", "plan", "export", "forecast", "metrics"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in arguments if not word.startswith("-")), "")
    if command == "run":
        _stop_when_asked()
    with safe_streams() as stdout:
        code = _exit_code(arguments)
        stdout.flush()
        if stdout.error is None:
            return code
        print_error(f"cannot write stdout: {stdout.error.strerror}; the output is incomplete")
        return OUTPUT_LOST if code == 0 and command in _PRINTING else code


def _stop_when_asked() -> None:
    """End the process at a SIGTERM before the daemon has started: process 1 would ignore it."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


def _exit_code(arguments: list[str]) -> int:
    from s2mirror.errors import ConfigError, MirrorError, Stopped  # noqa: PLC0415 - see below

    try:
        return _run(arguments)
    except KeyboardInterrupt:
        print_error("interrupted")
        return STOPPED
    except Stopped as error:
        print_error(str(error))
        return STOPPED
    except ConfigError as error:
        for fault in error.faults:
            print_error(fault)
        return error.exit_code
    except MirrorError as error:
        print_error(str(error))
        return error.exit_code
    except Exception:  # noqa: BLE001 - the last resort: no accident may look like success
        for line in traceback.format_exc().splitlines():
            print_error(line)
        print_error("this is a bug in s2mirror; please report the lines above")
        return BUG


def _run(arguments: list[str]) -> int:
    # Imports take time, during which a stop must work.
    import typer  # noqa: PLC0415

    from s2mirror.cli.app import app, usage_error  # noqa: PLC0415 - see above
    from s2mirror.service.unexpected import resources_explained  # noqa: PLC0415 - see above

    try:
        with resources_explained():
            code = app(args=arguments, prog_name="s2mirror", standalone_mode=False)
    except typer.TyperException as error:
        raise usage_error(error) from error
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    return code if isinstance(code, int) else 0
