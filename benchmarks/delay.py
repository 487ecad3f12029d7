"""A link with a delay between two network namespaces: ``delay.py NAME_A NAME_B MILLISECONDS``.

Kernels without netem cannot delay packets, so two TUN devices are joined here, one in each
namespace, and every packet is delayed for that time. The program runs until it is ended.
"""

import fcntl
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque

ADDRESSES = ("10.78.0.1", "10.78.0.2")
MTU_BYTES = 9000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def main() -> None:
    """Forward packets until the program is ended."""
    names, delay_seconds = sys.argv[1:3], float(sys.argv[3]) / 1000
    ends = [_open(name, address) for name, address in zip(names, ADDRESSES, strict=True)]
    print("up", flush=True)
    queues: dict[int, deque[tuple[float, bytes]]] = {end: deque() for end in ends}
    peers = dict(zip(ends, reversed(ends), strict=True))
    while True:
        due = [queue[0][0] for queue in queues.values() if queue]
        wait = max(0.0, min(due) - time.monotonic()) if due else None
        readable, _, _ = select.select(ends, [], [], wait)
        for end in readable:
            _take(end, queues[peers[end]], time.monotonic() + delay_seconds)
        for end, queue in queues.items():
            while queue and queue[0][0] <= time.monotonic():
                os.write(end, queue.popleft()[1])


def _take(end: int, queue: deque[tuple[float, bytes]], due_at: float) -> None:
    """Read a limited number of packets, so that those of the other direction are not late."""
    for _ in range(64):
        try:
            queue.append((due_at, os.read(end, MTU_BYTES)))
        except BlockingIOError:
            return


def _open(namespace: str, address: str) -> int:
    """Create a TUN device, move it into the namespace, and return its descriptor."""
    device = f"tun-{namespace}"[:15]
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH", device.encode(), _IFF_TUN | _IFF_NO_PI))
    inside = ["ip", "-n", namespace]
    for command in (
        ["ip", "link", "set", device, "netns", namespace],
        [*inside, "addr", "add", f"{address}/30", "dev", device],
        [*inside, "link", "set", device, "mtu", str(MTU_BYTES), "txqueuelen", "10000", "up"],
        [*inside, "link", "set", "lo", "up"],
    ):
        subprocess.run(command, check=True)
    return end


if __name__ == "__main__":
    main()
