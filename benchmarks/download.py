"""Measure downloads, verified and not, and those of other clients from the same server.

``make bench ARGS="download"``, or parts of it: ``ARGS="download capped queue --rounds 5"``. All
clients of a part run one after the other, round by round, so that other load on the machine
affects all of them. ``--scale 0.1`` makes small products: quick, without figures to quote.
"""

import argparse
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import download_servers as servers
from download_account import CONNECTIONS
from download_clients import PEERS, Command, Cost, Task, assert_complete, check, cost_of, ours
from download_data import Data, make_data

REAL_SCALE = 0.87
"""The scale of a product of 1.13 GB with 97 files, the largest of 116 MB."""
CAP = 20_000_000
MEMORY = Path("/dev/shm")  # noqa: S108 - for memory, not for files to keep

Run = Callable[[Task], Cost]


def main() -> None:
    """Run the named parts, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=REAL_SCALE, help="of real file sizes")
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(f"unknown part {unknown.pop()!r}; choose from {', '.join(PARTS)}")
    names = chosen.parts or list(PARTS)
    count = max(PARTS[name][0] for name in names)
    with tempfile.TemporaryDirectory(prefix="s2mirror-bench-") as home:
        data = make_data(Path(home, "data"), count, chosen.scale)
        for name in names:
            measure(name, data, Path(home), chosen.rounds)


def measure(name: str, data: Data, home: Path, rounds: int) -> None:
    """Print the figures of one part."""
    count, is_capped, start = PARTS[name]
    costs: dict[str, list[Cost]] = {client: [] for client in clients(is_capped=is_capped)}
    with start(data, home / f"{name}.log") as server:
        task = Task(server=server, data=data, count=count, folder=home / "out")
        list_files(task)
        for _ in range(rounds):
            for client, run in clients(is_capped=is_capped).items():
                warm_up(task)
                costs[client].append(run(task))
                assert_complete(task)
    ideal_seconds = data.size_bytes * count / CAP / CONNECTIONS if is_capped else None
    print(f"\n### {name}: {count} x {data.size_bytes / 1e9:.3f} GB, {rounds} rounds", flush=True)
    table(costs, data.size_bytes * count, ideal_seconds)


def clients(*, is_capped: bool) -> dict[str, Run]:
    """Return the runs of a part by name, in their order."""
    found: dict[str, Run] = {
        "s2mirror, proven": partial(run_one, lambda task: ours(task, "whole")),
        **{name: partial(run_one, peer) for name, peer in PEERS.items()},
    }
    if not is_capped:
        found["s2mirror, bytes alone"] = partial(run_one, lambda task: ours(task, "bytes"))
        found["s5cmd, then a check"] = run_and_check
    return found


def run_one(command: Callable[[Task], Command], task: Task) -> Cost:
    """Run one client."""
    return cost_of(task, command(task))


def run_and_check(task: Task) -> Cost:
    """Run s5cmd, then check the digests that the mirror checks, with all cores."""
    return cost_of(task, PEERS["s5cmd"](task)).then(cost_of(task, check(task)))


def list_files(task: Task) -> None:
    """Make the server read every file once: rclone computes ETags at the first listing."""
    cost_of(task, PEERS["s5cmd"](task))


def warm_up(task: Task) -> None:
    """Use memory first: on virtual machines that return memory, its first use is slow."""
    shutil.rmtree(task.folder, ignore_errors=True)
    os.sync()
    block = bytes(1024 * 1024)
    warm = MEMORY / f"s2mirror-warm-up-{os.getpid()}"
    with warm.open("wb") as file:
        for _ in range(int(task.size_bytes * 1.3) // len(block)):
            file.write(block)
    warm.unlink()


def table(costs: dict[str, list[Cost]], size_bytes: int, ideal_seconds: float | None) -> None:
    """Print medians: seconds, the ratio to the ideal or to s5cmd, and the program's cost."""

    def median(client: str, name: str) -> float:
        return statistics.median(getattr(cost, name) for cost in costs[client])

    base = ideal_seconds or median("s5cmd", "work_seconds")
    unit = "times ideal" if ideal_seconds else "times s5cmd"
    print(f"| client | s | {unit} | with its start, s | CPU s/GB | peak MB |")
    print("|---|---|---|---|---|---|")
    for client in costs:
        work, wall = median(client, "work_seconds"), median(client, "wall_seconds")
        cpu = median(client, "cpu_seconds") / size_bytes * 1e9
        peak = median(client, "peak_bytes") / 1e6
        print(
            f"| {client} | {work:.2f} | {work / base:.3f} | {wall:.2f} | {cpu:.2f} | {peak:.0f} |"
        )


StartServer = Callable[[Data, Path], AbstractContextManager[servers.Server]]
PARTS: dict[str, tuple[int, bool, StartServer]] = {
    "capped": (1, True, partial(servers.rclone, rate=CAP)),
    "queue": (4, True, partial(servers.rclone, rate=CAP)),
    "delayed": (1, True, partial(servers.rclone_far_away, rate=CAP, delay_ms=25)),
    "http": (1, False, servers.rclone),
    "tls": (1, False, partial(servers.rclone, tls=True)),
    "ceph": (1, False, lambda data, _: servers.ceph(data, 1)),
}
"""Number of products, whether connections are limited to 20 MB/s, and the server."""


if __name__ == "__main__":
    main()
