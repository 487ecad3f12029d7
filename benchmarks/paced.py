"""Start a server on a socket of our own: ``paced.py HOST PORT BYTES_PER_SECOND COMMAND…``.

The kernel holds each connection that the socket accepts to that rate (0: to none), so the cap is
true to the byte and costs the server nothing. The socket is handed over as systemd does it.
"""

import os
import socket
import sys

SO_MAX_PACING_RATE = 47  # not in Python's socket module
FIRST_DESCRIPTOR = 3


def main() -> None:
    """Become the server."""
    host, port, rate, *command = sys.argv[1:]
    listener = socket.create_server((host, int(port)), backlog=128)
    if int(rate):
        listener.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, int(rate))
    if listener.fileno() != FIRST_DESCRIPTOR:
        os.dup2(listener.fileno(), FIRST_DESCRIPTOR)
    os.set_inheritable(FIRST_DESCRIPTOR, True)  # noqa: FBT003 - no keyword there
    facts = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    os.execvpe(command[0], command, os.environ | facts)  # noqa: S606 - a command of our own


if __name__ == "__main__":
    main()
