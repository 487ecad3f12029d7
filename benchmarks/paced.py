"""Start a server on a prepared socket: ``paced.py HOST PORT BYTES_PER_SECOND COMMAND…``.

The kernel limits each accepted connection to that rate (0: no limit), so the cap is exact and costs
the server nothing. The socket is passed as systemd does it.
"""

import os
import socket
import sys

SO_MAX_PACING_RATE = 47  # not in Python's socket module
FIRST_DESCRIPTOR = 3


def main() -> None:
    """Replace this process by the server."""
    host, port, rate, *command = sys.argv[1:]
    listener = socket.create_server((host, int(port)), backlog=128)
    if int(rate):
        listener.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, int(rate))
    if listener.fileno() != FIRST_DESCRIPTOR:
        os.dup2(listener.fileno(), FIRST_DESCRIPTOR)
    os.set_inheritable(FIRST_DESCRIPTOR, True)  # noqa: FBT003 - it takes no keyword
    variables = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    os.execvpe(command[0], command, os.environ | variables)  # noqa: S606 - the benchmark's command


if __name__ == "__main__":
    main()
