"""The servers of the download benchmark: rclone's S3 and Ceph's gateway."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
from delay import ADDRESSES
from download_account import KEYS
from download_data import Data

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "tests" / "servers"))

from ceph import running_ceph  # noqa: E402 - it is in tests/servers
from daemons import Daemon, free_port, run  # noqa: E402 - likewise

NAMESPACES = ("s2mirror-a", "s2mirror-b")
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The address of a server, and the prefix of its clients' commands."""

    endpoint: str
    ca_file: str = ""
    inside: tuple[str, ...] = ()
    """The prefix of a client's command."""


@contextmanager
def rclone(data: Data, log: Path, *, rate: int = 0, tls: bool = False) -> Iterator[Server]:
    """Yield rclone's server; *rate* limits each connection to bytes per second (0: no limit)."""
    port, options = free_port(), []
    ca_file = log.with_suffix(".pem")
    if tls:
        options = _certificate(log, ca_file, LOOPBACK)
    command = _rclone_command(data, LOOPBACK, port, rate, options)
    daemon = Daemon(command, log=log, env={"RCLONE_CONFIG": "/dev/null"})
    try:
        server = Server(
            endpoint=f"{'https' if tls else 'http'}://{LOOPBACK}:{port}",
            ca_file=str(ca_file) if tls else "",
        )
        daemon.wait_until(lambda: _answers(server))
        yield server
    finally:
        daemon.stop()


@contextmanager
def rclone_far_away(data: Data, log: Path, *, rate: int, delay_ms: float) -> Iterator[Server]:
    """Yield the same server in a separate namespace, with *delay_ms* each way. Needs root.

    By TLS: to another host, the mirror would not send a signature otherwise.
    """
    here, there = (("ip", "netns", "exec", name) for name in NAMESPACES)
    for name in NAMESPACES:
        run(["ip", "netns", "add", name], cwd=log.parent)
    link = Daemon(
        [sys.executable, HERE / "delay.py", *NAMESPACES, str(delay_ms)],
        log=log.with_suffix(".link"),
    )
    daemon = None
    try:
        link.wait_until(lambda: "up" in link.log.read_text())
        ca_file = log.with_suffix(".pem")
        options = _certificate(log, ca_file, ADDRESSES[0])
        command = [*here, *_rclone_command(data, ADDRESSES[0], 8000, rate, options)]
        daemon = Daemon(command, log=log, env={"RCLONE_CONFIG": "/dev/null"})
        server = Server(endpoint=f"https://{ADDRESSES[0]}:8000", ca_file=str(ca_file), inside=there)
        daemon.wait_until(lambda: _answers(server))
        yield server
    finally:
        if daemon:
            daemon.stop()
        link.stop()
        for name in NAMESPACES:
            run(["ip", "netns", "delete", name], cwd=log.parent)


@contextmanager
def ceph(data: Data, count: int) -> Iterator[Server]:
    """Yield Ceph's gateway with the first products in it. Needs root, or the packages."""
    with running_ceph(KEYS) as store:
        store.load(data.objects(count))
        yield Server(endpoint=store.endpoint)


def _rclone_command(
    data: Data, host: str, port: int, rate: int, options: list[str]
) -> list[str | Path]:
    serve = ["serve", "s3", "--auth-key", ",".join(KEYS), "--read-only", "--no-checksum"]
    serve += ["--vfs-cache-mode", "off", "--dir-cache-time", "24h", *options]
    program = shutil.which("rclone") or str(Path(sys.executable).with_name("rclone"))
    paced = [sys.executable, HERE / "paced.py", host, str(port), str(rate)]
    return [*paced, program, *serve, data.folder]


def _certificate(log: Path, ca_file: Path, host: str) -> list[str]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(ca_file)
    both = log.with_suffix(".key")
    authority.issue_cert(host).private_key_and_cert_chain_pem.write_to_path(both)
    return ["--cert", str(both), "--key", str(both)]


def _answers(server: Server) -> bool:
    """Return whether the server responds; a refusal is a response."""
    ask = ["curl", "--silent", "--insecure", "--output", "/dev/null", server.endpoint]
    environment = {**os.environ, "NO_PROXY": "*"}
    return subprocess.run([*server.inside, *ask], env=environment, check=False).returncode == 0
