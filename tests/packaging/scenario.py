"""The actions of an operator with the unit, one after another, inside a test machine.

A sandbox runs beside the unit. This file imports the standard library only.
"""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

PYTHON = "/opt/s2mirror/bin/python"
CREDENTIALS = Path("/etc/credstore")
CONFIG = Path("/etc/s2mirror/s2mirror.toml")
SANDBOX = Path("/srv/sandbox")
STATE = Path("/var/lib/s2mirror")
STAGING = STATE / "archive/.s2mirror/staging"
PRODUCTS = 4
STAY_SECONDS = 25
"""Long enough for the drop-in's watchdog to expire twice."""
ASKED = ("ActiveState", "Result", "ExecMainStatus", "NRestarts", "SubState", "MainPID")

CONFIGURED = """
[archive]
root = "/var/lib/s2mirror/archive"
reserve = "1 MB"
[ledger]
path = "/var/lib/s2mirror/s2mirror.sqlite"
[[process]]
name = "chain"
command = ["/usr/bin/python3", "/hook.py", "{path}"]
[[area]]
name = "tile"
tiles = ["32TMT"]
start = 2020-01-01
"""
# A product takes minutes, so that a stop always interrupts a download.
SLOW = """
[download]
timetable = ["00:00-24:00 500 kB/s"]
"""


def main() -> None:
    """Run all actions, then write the results."""
    endpoints = start_sandbox()
    seen = {
        "misconfigured": start_misconfigured(),
        "without_secrets": start_without_secrets(endpoints),
        "started": start_with_secrets(endpoints),
        "stopped_downloading": stop_downloading(),
        "started_again": start_again(endpoints),
        "held": wait_for(lambda: len(held()) == PRODUCTS) and held(),
        "hooked": wait_for(lambda: len(held("processed")) == PRODUCTS),
        "health": wait_for(lambda: command("health")["rc"] == "0") or command("health"),
        "fed": stay_fed(),
        "reloaded": reload(endpoints),
        "reloaded_badly": reload("[archive]\n"),
    }
    CONFIG.write_text(endpoints + CONFIGURED)
    seen["journal"] = journal()
    seen["secrets_told"] = [name for name, value in secrets().items() if value in said_since(0)]
    seen["after_hang"] = hang()
    seen["stopped"] = stop()
    seen["health_when_stopped"] = command("health")
    seen["facts"] = json.loads((STATE / "facts.json").read_text())
    seen["places"] = {
        str(place): f"{place.owner()}:{place.group()} {place.stat().st_mode & 0o777:o}"
        for place in (STATE, STATE / "s2mirror.sqlite", STATE / "archive", *manifests()[:1])
    }
    Path("/results.json").write_text(json.dumps(seen))


def start_sandbox() -> str:
    """Start the sandbox; return its part of the configuration."""
    SANDBOX.mkdir()
    made = ("--products", str(PRODUCTS), "--scale", "0.02")
    sandbox = [PYTHON, "-m", "s2mirror.sandbox", "--folder", str(SANDBOX), *made]
    subprocess.Popen(sandbox)
    last = SANDBOX / "sandbox.env"
    wait_for(lambda: last.exists() and "AWS_CA_BUNDLE" in last.read_text())
    return (SANDBOX / "sandbox.toml").read_text()


def start_misconfigured() -> dict[str, str]:
    """Start with an invalid configuration: the unit must fail with a message, and not restart."""
    CONFIG.write_text("[archive]\nrot = 1\n")
    systemctl("start")
    time.sleep(3)  # longer than RestartSec in the drop-in
    return {**show(), "said": said_since(0)}


def start_without_secrets(endpoints: str) -> dict[str, str]:
    """Start without secrets: the daemon lists products, and reports the missing key pair."""
    CONFIG.write_text(endpoints + CONFIGURED)
    systemctl("start")
    wait_for(lambda: "work.paused" in said_since(0))
    return {**show(), "said": said_since(0), "stop": stop()["Result"]}


def start_with_secrets(endpoints: str) -> dict[str, str]:
    """Start with the key pair, and without the OAuth client."""
    CONFIG.write_text(endpoints + SLOW + CONFIGURED)
    for name, value in secrets().items():
        secret = CREDENTIALS / f"s2mirror.{name}"
        secret.write_text(f"{value}\n")
        secret.chmod(0o600)
    return {"rc": systemctl("start"), **show()}


def start_again(endpoints: str) -> dict[str, str]:
    """Start without faults of the store."""
    CONFIG.write_text(endpoints + CONFIGURED)
    return {"rc": systemctl("start"), **show()}


def secrets() -> dict[str, str]:
    """Return the store's key pair by the names of the unit's credentials."""
    lines = (SANDBOX / "sandbox.env").read_text().splitlines()
    given = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    names = {"s3-access-key": "AWS_ACCESS_KEY_ID", "s3-secret-key": "AWS_SECRET_ACCESS_KEY"}
    return {name: given[variable].strip("'") for name, variable in names.items()}


def stop_downloading() -> dict[str, str]:
    """Stop during a download."""
    wait_for(staged_files)
    stopped = stop()
    return {**stopped, "staged_files": str(staged_files()), "held": str(len(held()))}


def staged_files() -> int:
    """Return the number of staged files; folders may disappear during the search."""
    return sum(len(names) for _, _, names in os.walk(STAGING))


def stay_fed() -> dict[str, str]:
    """Wait longer than the watchdog's time; the daemon must stay active."""
    time.sleep(STAY_SECONDS)
    return show()


def reload(configuration: str) -> dict[str, str]:
    """Reload with another configuration."""
    before = show()
    known = len(journal())
    CONFIG.write_text(configuration + (CONFIGURED if "[catalog]" in configuration else ""))
    done = systemctl("reload")
    ended = ("mirror.started", "config.faulty")
    wait_for(lambda: any(word in said_since(known) for word in ended))
    wait_for(lambda: show()["SubState"] == "running")
    same = show()["MainPID"] == before["MainPID"]
    return {**show(), "rc": done, "same_process": str(same), "said": said_since(known)}


def hang() -> dict[str, str]:
    """Stop the process with SIGSTOP; the watchdog ends it, and systemd restarts it."""
    os.kill(int(show()["MainPID"]), signal.SIGSTOP)
    wait_for(lambda: show()["NRestarts"] != "0")
    wait_for(lambda: show()["ActiveState"] == "active")
    return {**show(), "said": said_since(0)}


def stop() -> dict[str, str]:
    """Stop the unit."""
    begin = time.monotonic()
    systemctl("stop")
    return {"seconds": f"{time.monotonic() - begin:.1f}", **show()}


def held(*states: str) -> list[str]:
    """Return the products that the mirror holds, as the service's user sees them."""
    listed = json.loads(command("list", "--json")["stdout"] or '{"products": []}')["products"]
    return [it["id"] for it in listed if it["state"] in (states or ("archived", "processed"))]


def manifests() -> list[Path]:
    """Return the manifests in the archive."""
    return sorted((STATE / "archive/Sentinel-2").rglob("manifest.safe"))


def command(*words: str) -> dict[str, str]:
    """Run a command of the program beside the daemon, as the service's user."""
    as_user = ["runuser", "-u", "s2mirror", "--", "/opt/s2mirror/bin/s2mirror"]
    done = subprocess.run([*as_user, *words], capture_output=True, text=True, check=False)
    return {"rc": str(done.returncode), "stdout": done.stdout, "stderr": done.stderr}


def systemctl(verb: str) -> str:
    """Return the exit status of *verb* on the unit."""
    done = subprocess.run(["systemctl", verb, "s2mirror"], check=False)
    return str(done.returncode)


def show() -> dict[str, str]:
    """Return the properties of the unit."""
    asked = ["systemctl", "show", "s2mirror", f"--property={','.join(ASKED)}"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    return dict(line.split("=", 1) for line in said.splitlines())


def journal() -> list[dict[str, str]]:
    """Return the journal of the unit: messages and their sources."""
    subprocess.run(["journalctl", "--sync"], check=False)  # the journal is written with a delay
    asked = ["journalctl", "--unit=s2mirror", "--no-pager", "--output=json"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    entries = [json.loads(line) for line in said.splitlines()]
    return [{key: e.get(key, "") for key in ("MESSAGE", "SYSLOG_IDENTIFIER")} for e in entries]


def said_since(known: int) -> str:
    """Return all messages of the journal except the first *known*."""
    return "\n".join(str(entry["MESSAGE"]) for entry in journal()[known:])


def wait_for(condition, *, seconds: float = 120) -> bool:  # noqa: ANN001  (runs on its own inside)
    """Return whether *condition* became true in time."""
    give_up_at = time.monotonic() + seconds
    while not condition() and time.monotonic() < give_up_at:
        time.sleep(0.05)
    return bool(condition())


if __name__ == "__main__":
    main()
