"""A daemon for minutes or hours: faults, restarts, reloads, and a log reader that goes away.

``SOAK_MINUTES=30`` makes it long; by default it takes half a minute, which shows that it works.
"""

import io
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from daemon_kit import Running
from kit import SENSED_AT, Kit, tiny, wait_until

from s2mirror.sandbox import Answer, Fault

MINUTES = float(os.environ.get("SOAK_MINUTES", "0.5"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
STEP_SECONDS = 2.0
MAX_PRODUCTS = 400
MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Usage:
    """What a process has of the machine."""

    memory_bytes: int
    threads: int
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> "Usage":
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        values = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return cls(
            memory_bytes=int(values["VmRSS"].split()[0]) * 1024,
            threads=int(values["Threads"]),
            descriptors=len([*Path(f"/proc/{pid}/fd").iterdir()]),
        )


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def reader() -> Iterator["subprocess.Popen[bytes]"]:
    """Yield a reader of the log that can be killed."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        yield process
        process.kill()


class Soak:
    """Disturbs a daemon with random faults."""

    def __init__(self, daemon: Running, kit: Kit, port: int) -> None:
        self.daemon = daemon
        self.kit = kit
        self.port = port
        self.random = random.Random(SEED)  # noqa: S311 - repeatable, not secret
        self.published: list[str] = []
        self.good_config = kit.config.read_text()
        self.usages: list[Usage] = []

    @property
    def disturbances(self) -> list[Callable[[], object]]:
        return [
            self.publish,
            self.publish,
            self.publish,
            self.refuse,
            self.cut,
            self.reload,
            self.ask,
        ]

    def publish(self) -> None:
        if len(self.published) < MAX_PRODUCTS:
            sensed_at = SENSED_AT + len(self.published) * timedelta(hours=5)
            product = tiny(sensed_at=sensed_at)
            self.kit.sandbox.publish(product)
            self.published.append(product.id)

    def refuse(self) -> None:
        sandbox = self.kit.sandbox
        proxy = self.random.choice([sandbox.s3_proxy, sandbox.stac_proxy, sandbox.odata_proxy])
        status = self.random.choice([429, 500, 503])
        proxy.inject(Fault(answer=Answer(status=status), times=self.random.randint(1, 3)))

    def cut(self) -> None:
        kind = self.random.choice(["reset", "close", "shorten"])
        fault = Fault(path=r"\.jp2$", cut_after_bytes=self.random.randint(0, 1999), cut=kind)
        self.kit.sandbox.s3_proxy.inject(fault)

    def reload(self) -> None:
        """Reload, half of the time with a faulty file, which is refused."""
        faulty = self.random.random() < 0.5
        self.kit.config.write_text("[archive]\nroot = 5\n" if faulty else self.good_config)
        self.daemon.send(signal.SIGHUP)
        time.sleep(STEP_SECONDS / 2)
        self.kit.config.write_text(self.good_config)

    def ask(self) -> None:
        """Look at the mirror as a person does."""
        for command in ("status", "health", "list", "log"):
            with redirect_stdout(io.StringIO()):
                self.kit.call(command, "--json")
        for path in ("", "readyz", "status.json", "metrics"):
            with suppress(HTTPError):  # 503 while the mirror is not in order
                urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=60).read()

    def restart(self) -> None:
        """Kill the daemon or stop it, and start it again."""
        if self.random.random() < 0.5:
            self.daemon.process.kill()
            self.daemon.process.wait()
        else:
            self.daemon.stop()
        self.daemon.start()

    def disturb(self, seconds: float, more: tuple[Callable[[], object], ...] = ()) -> None:
        """Disturb the daemon at random for some time, and record its usage."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.random.choice([*self.disturbances, *more])()
            time.sleep(STEP_SECONDS)
            assert self.daemon.process.poll() is None, self.daemon.log_text()[-3000:]
            self.usages.append(Usage.of(self.daemon.process.pid))

    def growth(self) -> tuple[Usage, Usage]:
        """Return the medians of the second and of the last quarter of the records."""
        quarter = max(1, len(self.usages) // 4)
        return _median(self.usages[quarter : 2 * quarter]), _median(self.usages[-quarter:])


def _median(usages: list[Usage]) -> Usage:
    return Usage(
        memory_bytes=int(statistics.median(usage.memory_bytes for usage in usages)),
        threads=int(statistics.median(usage.threads for usage in usages)),
        descriptors=int(statistics.median(usage.descriptors for usage in usages)),
    )


@pytest.mark.long
def test_daemon_under_faults_neither_grows_nor_errs(daemon: Running, kit: Kit) -> None:
    kit.sections["process"] = 'command = ["true"]'
    kit.sections["metrics"] = f'textfile = "{kit.folder / "s2mirror.prom"}"'
    port = free_port()
    kit.sections["web"] = f'listen = "127.0.0.1:{port}"'
    seconds = 60 * MINUTES
    soak = Soak(daemon, kit, port)
    daemon.start()
    soak.disturb(seconds / 3, more=(soak.restart,))
    with reader() as log_reader:
        assert log_reader.stdin
        daemon.stop()
        daemon.start(log=log_reader.stdin.fileno())
        soak.usages.clear()
        soak.disturb(seconds / 3)
        log_reader.kill()
        soak.disturb(seconds / 3)
    early, late = soak.growth()
    count = len(soak.published)
    sys.stderr.write(f"soak of {MINUTES:g} min, {count} products: {early} then {late}\n")
    assert late.memory_bytes <= early.memory_bytes * 1.1 + 8 * MEGABYTE
    # A download under way has some of them; a leak has hundreds within minutes.
    assert late.threads <= early.threads + 8
    assert late.descriptors <= early.descriptors + 20
    for proxy in (kit.sandbox.s3_proxy, kit.sandbox.stac_proxy, kit.sandbox.odata_proxy):
        proxy.reset()
    held = dict.fromkeys(soak.published, "processed")
    wait_until(lambda: kit.states() == held, f"all {len(held)} products are processed")
    daemon.stop()
    kit.assert_invariants()
