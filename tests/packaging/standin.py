"""A daemon as the unit expects one, that tells what it was given and what it may do.

It stands in for s2mirror inside a test machine: standard library only.
"""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

CREDENTIALS = 6
STATE = Path("/var/lib/s2mirror")
NAMES = ("s3-access-key", "s3-secret-key", "client-id", "client-secret")


def main() -> int:
    """Say ready, then ping the watchdog until SIGTERM, or until told to hang."""
    secrets = given()
    if not {"s3-access-key", "s3-secret-key"} <= set(secrets):
        return CREDENTIALS
    signal.signal(signal.SIGHUP, lambda *_: (STATE / "reloaded").touch())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    (STATE / "facts.json").write_text(json.dumps(facts() | {"secrets": secrets}))
    notify("READY=1")
    while True:
        if not (STATE / "hang").exists():
            notify("WATCHDOG=1")
        time.sleep(0.2)


def given() -> dict[str, str]:
    """Return the credentials that systemd handed over."""
    folder = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nowhere"))
    return {name: (folder / name).read_text() for name in NAMES if (folder / name).exists()}


def facts() -> dict[str, object]:
    """Return what this process is and may do."""
    places = ("/etc/s2mirror", "/opt/s2mirror", "/home", "/srv", "/usr", str(STATE), "/tmp")  # noqa: S108
    return {
        "user_is_root": os.geteuid() == 0,
        "writable": [place for place in places if may_write(place)],
        "umask": os.umask(0),
        "folder": str(Path.cwd()),
        "own_mounts_readable": Path("/proc/self/mountinfo").exists(),
    }


def may_write(place: str) -> bool:
    """Try it; permissions alone do not tell."""
    probe = Path(place, "probe")
    try:
        probe.touch()
    except OSError:
        return False
    probe.unlink()
    return True


def notify(words: str) -> None:
    """Tell systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
        speaker.sendto(words.encode(), os.environ["NOTIFY_SOCKET"])


if __name__ == "__main__":
    sys.exit(main())
