"""The clients of the download benchmark, and the cost of one run."""

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

Command = list[str | Path]
FOUR = str(CONNECTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The products to download, their source and their destination."""

    server: Server
    data: Data
    count: int
    """Number of products."""
    folder: Path

    @property
    def scope(self) -> str:
        """The key prefix of the products."""
        return self.data.scope(self.count)

    @property
    def size_bytes(self) -> int:
        """Size of all products together."""
        return self.data.size_bytes * self.count


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one run."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    work_seconds: float
    """Seconds without the program's start, if the program prints them; else ``wall_seconds``."""

    def then(self, other: "Cost") -> "Cost":
        """Return the cost of this and *other*, one after the other."""
        return Cost(
            self.wall_seconds + other.wall_seconds,
            self.cpu_seconds + other.cpu_seconds,
            max(self.peak_bytes, other.peak_bytes),
            self.work_seconds + other.work_seconds,
        )


def ours(task: Task, mode: str) -> Command:
    """Return the command for the mirror."""
    arguments = [task.server.endpoint, task.server.ca_file, task.folder, str(task.count), mode]
    return [sys.executable, HERE / "download_ours.py", *arguments]


def s5cmd(task: Task) -> Command:
    """Return the command for s5cmd: whole files, four at a time."""
    source = f"s3://{BUCKET}/{task.scope}*"
    options = ["--endpoint-url", task.server.endpoint, "--numworkers", FOUR]
    return [_program("s5cmd"), *options, "cp", "--concurrency", "1", source, f"{task.folder}/"]


def rclone(task: Task) -> Command:
    """Return the command for rclone, without its check of MD5 digests."""
    options = ["--transfers", FOUR, "--checkers", FOUR, "--multi-thread-streams", "0"]
    options += ["--ignore-checksum"]
    if task.server.ca_file:
        options += ["--ca-cert", task.server.ca_file]
    source = f"bench:{BUCKET}/{task.scope.rstrip('/')}"
    return [_program("rclone"), "copy", *options, source, task.folder]


def aws_cli(task: Task) -> Command:
    """Return the command for aws-cli, version 1, which reads the connections from a file."""
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


def library(name: str) -> Callable[[Task], Command]:
    """Return the function that makes the command for a library."""

    def command(task: Task) -> Command:
        arguments = [name, task.server.endpoint, task.server.ca_file, task.folder]
        prefixes = task.data.prefixes(task.count)
        return [sys.executable, HERE / "download_peers.py", *arguments, *prefixes]

    return command


def check(task: Task) -> Command:
    """Return the command that verifies another client's download."""
    return [sys.executable, HERE / "download_check.py", task.folder]


PEERS: dict[str, Callable[[Task], Command]] = {
    "s5cmd": s5cmd,
    "rclone": rclone,
    "obstore": library("obstore"),
    "boto3 transfer manager": library("boto3"),
    "aws-cli": aws_cli,
    "eodag": library("eodag"),
    "phidown, safe mode": library("phidown"),
}


def cost_of(task: Task, command: Command) -> Cost:
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
        output = (done.stdout + done.stderr)[-2000:]
        raise RuntimeError(f"{command[:2]} ended with {done.returncode}: {output}")
    costs = json.loads(result.read_text(encoding="utf-8"))
    return Cost(**costs, work_seconds=_last_number(done.stdout) or costs["wall_seconds"])


def assert_complete(task: Task) -> None:
    """Raise if the download is incomplete."""
    files = [path for path in task.folder.rglob("*") if path.is_file()]
    own = ("s2mirror.", "archive.json")
    found_bytes = sum(file.stat().st_size for file in files if not file.name.startswith(own))
    if found_bytes < task.size_bytes:  # s2mirror also writes its local catalog
        raise RuntimeError(f"found {found_bytes} B instead of {task.size_bytes} B")


def _environment(task: Task) -> dict[str, str]:
    ca = task.server.ca_file
    variables = {
        "AWS_ACCESS_KEY_ID": KEYS[0],
        "AWS_SECRET_ACCESS_KEY": KEYS[1],
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "HOME": str(task.folder.parent),  # eodag writes to it
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_BENCH_TYPE": "s3",
        "RCLONE_CONFIG_BENCH_PROVIDER": "Other",
        "RCLONE_CONFIG_BENCH_ENDPOINT": task.server.endpoint,
        "RCLONE_CONFIG_BENCH_ACCESS_KEY_ID": KEYS[0],
        "RCLONE_CONFIG_BENCH_SECRET_ACCESS_KEY": KEYS[1],
    }
    trusted = dict.fromkeys(("AWS_CA_BUNDLE", "SSL_CERT_FILE"), ca) if ca else {}
    return {**os.environ, **variables, **trusted}


def _program(name: str) -> str:
    return shutil.which(name) or str(Path(sys.executable).with_name(name))


def _last_number(output: str) -> float | None:
    try:
        return float(output.strip().rpartition("\n")[2])
    except ValueError:
        return None
