"""The clients of the download benchmark, and what one run of each costs."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from download_account import BUCKET, CONNECTIONS, KEYS, REGION
from download_data import Data
from download_servers import HERE, Server

Words = list[str | Path]
FOUR = str(CONNECTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to download, whence and whither."""

    server: Server
    data: Data
    count: int
    """Products."""
    folder: Path

    @property
    def scope(self) -> str:
        """The key prefix."""
        return self.data.scope(self.count)

    @property
    def size_bytes(self) -> int:
        """Of all products together."""
        return self.data.size_bytes * self.count


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    work_seconds: float
    """Without starting the program, where it tells; else the same as ``wall_seconds``."""

    def then(self, other: "Cost") -> "Cost":
        """Return the cost of this and *other*, one after the other."""
        return Cost(
            self.wall_seconds + other.wall_seconds,
            self.cpu_seconds + other.cpu_seconds,
            max(self.peak_bytes, other.peak_bytes),
            self.work_seconds + other.work_seconds,
        )


def ours(task: Task, mode: str) -> Words:
    """Return the command for the mirror."""
    words = [task.server.endpoint, task.server.ca_file, task.folder, str(task.count), mode]
    return [sys.executable, HERE / "download_ours.py", *words]


def s5cmd(task: Task) -> Words:
    """Return the command for s5cmd: whole files, four at a time."""
    source = f"s3://{BUCKET}/{task.scope}*"
    options = ["--endpoint-url", task.server.endpoint, "--numworkers", FOUR]
    return [_program("s5cmd"), *options, "cp", "--concurrency", "1", source, f"{task.folder}/"]


def rclone(task: Task) -> Words:
    """Return the command for rclone, which would check MD5 if it were not told otherwise."""
    options = ["--transfers", FOUR, "--checkers", FOUR, "--multi-thread-streams", "0"]
    options += ["--ignore-checksum"]
    if task.server.ca_file:
        options += ["--ca-cert", task.server.ca_file]
    source = f"bench:{BUCKET}/{task.scope.rstrip('/')}"
    return [_program("rclone"), "copy", *options, source, task.folder]


def aws_cli(task: Task) -> Words:
    """Return the command for aws-cli, version 1; it takes its number of connections from a file."""
    config = task.folder.with_name("aws.config")
    lines = [
        "[default]",
        "s3 =",
        f"  max_concurrent_requests = {FOUR}",
        "  addressing_style = path",
    ]
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = ["--endpoint-url", task.server.endpoint, "--recursive", "--only-show-errors"]
    aws = ["env", f"AWS_CONFIG_FILE={config}", _program("aws")]
    return [*aws, "s3", "cp", *options, f"s3://{BUCKET}/{task.scope}", task.folder]


def library(name: str) -> Callable[[Task], Words]:
    """Return what makes the command for a library."""

    def command(task: Task) -> Words:
        words = [name, task.server.endpoint, task.server.ca_file, task.folder]
        prefixes = task.data.prefixes(task.count)
        return [sys.executable, HERE / "download_peers.py", *words, *prefixes]

    return command


def check(task: Task) -> Words:
    """Return the command that checks what another client has fetched."""
    return [sys.executable, HERE / "download_check.py", task.folder]


PEERS: dict[str, Callable[[Task], Words]] = {
    "s5cmd": s5cmd,
    "rclone": rclone,
    "obstore": library("obstore"),
    "boto3 transfer manager": library("boto3"),
    "aws-cli": aws_cli,
    "eodag": library("eodag"),
    "phidown, safe mode": library("phidown"),
}


def cost_of(task: Task, command: Words) -> Cost:
    """Run a command to its end; raise if it failed."""
    result = task.folder.with_name("costs.json")
    small = [sys.executable, "-S", "-E", HERE / "costs.py", result]
    done = subprocess.run(
        [*map(str, small), *task.server.inside, *map(str, command)],
        env=_environment(task),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stdout + done.stderr)[-2000:]
        raise RuntimeError(f"{command[:2]} ended with {done.returncode}: {said}")
    facts = json.loads(result.read_text(encoding="utf-8"))
    return Cost(**facts, work_seconds=_last_number(done.stdout) or facts["wall_seconds"])


def assert_complete(task: Task) -> None:
    """Raise if not every byte is there."""
    files = [path for path in task.folder.rglob("*") if path.is_file()]
    own = ("s2mirror.", "archive.json")
    there = sum(file.stat().st_size for file in files if not file.name.startswith(own))
    if there < task.size_bytes:  # the mirror also writes a catalog of its own
        raise RuntimeError(f"{there} B came instead of {task.size_bytes}")


def _environment(task: Task) -> dict[str, str]:
    ca = task.server.ca_file
    facts = {
        "AWS_ACCESS_KEY_ID": KEYS[0],
        "AWS_SECRET_ACCESS_KEY": KEYS[1],
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "HOME": str(task.folder.parent),  # eodag writes there
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_BENCH_TYPE": "s3",
        "RCLONE_CONFIG_BENCH_PROVIDER": "Other",
        "RCLONE_CONFIG_BENCH_ENDPOINT": task.server.endpoint,
        "RCLONE_CONFIG_BENCH_ACCESS_KEY_ID": KEYS[0],
        "RCLONE_CONFIG_BENCH_SECRET_ACCESS_KEY": KEYS[1],
    }
    trusted = dict.fromkeys(("AWS_CA_BUNDLE", "SSL_CERT_FILE"), ca) if ca else {}
    return {**os.environ, **facts, **trusted}


def _program(name: str) -> str:
    return shutil.which(name) or str(Path(sys.executable).with_name(name))


def _last_number(said: str) -> float | None:
    try:
        return float(said.strip().rpartition("\n")[2])
    except ValueError:
        return None
