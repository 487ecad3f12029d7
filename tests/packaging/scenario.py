"""What an operator does with the unit, one thing after another, inside a test machine."""

import json
import subprocess
import time
from pathlib import Path

STORE = Path("/etc/credstore")
STATE = Path("/var/lib/s2mirror")
ASKED = ("ActiveState", "Result", "ExecMainStatus", "NRestarts", "SubState")


def main() -> None:
    """Do them all, then write down what was seen."""
    seen = {
        "without_secrets": start_without_secrets(),
        "started": start_with_secrets(),
        "reloaded": reload(),
        "after_hang": hang(),
        "stopped": stop(),
    }
    seen["facts"] = json.loads((STATE / "facts.json").read_text())
    seen["state_folder"] = oct(STATE.stat().st_mode & 0o777) + " " + STATE.owner()
    Path("/results.json").write_text(json.dumps(seen))


def start_without_secrets() -> dict[str, str]:
    """It must fail by the program's own word, and stay down."""
    systemctl("start")
    time.sleep(3)  # longer than RestartSec in the drop-in
    return show()


def start_with_secrets() -> dict[str, str]:
    """The client's two stay missing."""
    for name in ("s3-access-key", "s3-secret-key"):
        secret = STORE / f"s2mirror.{name}"
        secret.write_text(f"{name} of the test\n")
        secret.chmod(0o600)
    return {"rc": systemctl("start"), **show()}


def reload() -> bool:
    """SIGHUP reaches the daemon."""
    systemctl("reload")
    return wait_for((STATE / "reloaded").exists)


def hang() -> dict[str, str]:
    """The watchdog ends it and systemd brings it back."""
    (STATE / "hang").touch()
    wait_for(lambda: show()["NRestarts"] != "0")
    (STATE / "hang").unlink()
    wait_for(lambda: show()["ActiveState"] == "active")
    return {**show(), "journal": journal()}


def stop() -> dict[str, str]:
    """In order, and at once."""
    begin = time.monotonic()
    systemctl("stop")
    return {"seconds": f"{time.monotonic() - begin:.1f}", **show()}


def systemctl(verb: str) -> str:
    """Return the exit status of *verb* on the unit."""
    done = subprocess.run(["systemctl", verb, "s2mirror"], check=False)
    return str(done.returncode)


def show() -> dict[str, str]:
    """Return what systemd says of the unit now."""
    command = ["systemctl", "show", "s2mirror", f"--property={','.join(ASKED)}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(line.split("=", 1) for line in said.splitlines())


def journal() -> str:
    """Return what the unit and systemd wrote about it."""
    command = ["journalctl", "--unit=s2mirror", "--no-pager", "--output=cat"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def wait_for(condition, *, seconds: float = 20) -> bool:  # noqa: ANN001  (runs on its own inside)
    """Return whether *condition* came true in time."""
    give_up_at = time.monotonic() + seconds
    while not condition() and time.monotonic() < give_up_at:
        time.sleep(0.1)
    return bool(condition())


if __name__ == "__main__":
    main()
