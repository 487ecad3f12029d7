"""The entry point: errors as exit codes, and a stop that is heard from the first moment on."""

import os
import signal
import sys
import traceback
from collections.abc import Sequence

from s2mirror.cli.codes import BUG, STOPPED


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "run" in arguments:
        _stop_when_asked()
    try:
        return _main(arguments)
    except KeyboardInterrupt:
        print("s2mirror: interrupted", file=sys.stderr)  # noqa: T201 - perhaps before all imports
        return STOPPED


def _stop_when_asked() -> None:
    """Let SIGTERM end the daemon before it has begun: as process 1 it would not even be noticed."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


def _main(arguments: list[str]) -> int:
    # The libraries behind the commands take most of a second, in which a stop must be heard.
    from s2mirror.cli.output import complain, print_any_text  # noqa: PLC0415
    from s2mirror.errors import MirrorError, Stopped  # noqa: PLC0415

    print_any_text()
    try:
        return _run(arguments)
    except Stopped as error:
        complain(str(error))
        return STOPPED
    except MirrorError as error:
        for line in str(error).splitlines():
            complain(line)
        return error.exit_code
    except Exception:  # noqa: BLE001 - the last resort: no accident may look like a promise
        for line in traceback.format_exc().splitlines():
            complain(line)
        complain("this is a bug in s2mirror: please report the lines above")
        return BUG


def _run(arguments: list[str]) -> int:
    import typer  # noqa: PLC0415 - see above

    from s2mirror.cli.app import app, refusal  # noqa: PLC0415 - see above

    try:
        code = app(args=arguments, prog_name="s2mirror", standalone_mode=False)
    except typer.TyperException as error:
        raise refusal(error) from error
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    return code if isinstance(code, int) else 0
