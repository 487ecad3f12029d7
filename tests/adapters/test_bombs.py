"""Peak memory of a process that receives bombs: it stays under 300 MB, whatever is announced."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from kit import PATIENCE_SECONDS

pytestmark = pytest.mark.long

MAX_BYTES: Final = 300 * 1000**2
TESTS: Final = Path(__file__).parents[1]
PROBE: Final = """
import resource, struct, sys, zlib
resource.setrlimit(resource.RLIMIT_AS, (4 * 1024**3, 4 * 1024**3))
{body}
(peak,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(int(peak.split()[1]) * 1024)
"""
PNG: Final = """
from s2mirror.adapters.previews.decoding import is_empty
packer = zlib.compressobj(1)
packed = b"".join(packer.compress(bytes(2**20)) for _ in range(700)) + packer.flush()
header = struct.pack(">IIBBBBB", 512, {height}, 8, 6, 0, 0, 0)
chunks = [(b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")]
framed = [struct.pack(">I", len(body)) + kind + body + bytes(4) for kind, body in chunks]
content, form = bytes([137, 80, 78, 71, 13, 10, 26, 10]) + b"".join(framed), "png"
"""
TIFF: Final = """
from s2mirror.adapters.previews.decoding import is_empty
def tag(code, kind, value):
    return struct.pack("<HHII", code, kind, 1, value)
packer = zlib.compressobj(1)
packed = b"".join(packer.compress(bytes(2**20)) for _ in range(700)) + packer.flush()
tags = [tag(256, 4, {width}), tag(257, 4, {height}), tag(258, 3, {bits}), tag(259, 3, 8)]
tags += [tag(262, 3, 1), tag(273, 4, 8 + 2 + 12 * 9 + 4), tag(277, 3, 1), tag(278, 4, {rows})]
tags += [tag(279, 4, len(packed))]
head = b"II*" + bytes(1) + struct.pack("<IH", 8, len(tags))
content, form = head + b"".join(tags) + bytes(4) + packed, "tiff"
"""
DECODE: Final = """
try:
    print("empty" if is_empty(content, form, (512, 343)) else "seen", file=sys.stderr)
except ValueError as error:
    print(error, file=sys.stderr)
"""
STORE: Final = """
sys.path.insert(0, {tests!r})
from hostile_server import HostileServer, bomb, whole
from s2mirror.adapters.objectstore import S3Store, StoreOptions
from s2mirror.errors import StoreError
entities = b"".join(b"<!ENTITY %c '%s'>" % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
laughs = b"<!DOCTYPE a [<!ENTITY a 'aaaaaaaa'>" + entities + b"]><a>&j;</a>"
attributes = b"<a " + b" ".join(b"a%d=''" % n for n in range(150_000)) + b"/>"
documents = [laughs, b"<a>" * 600_000, b"<a>" + b"<b/>" * 500_000 + b"</a>", attributes]
answers = [bomb(310), *map(whole, documents)]
for answer in answers:
    with HostileServer([answer]).running() as server:
        options = dict(bucket="b", access_key="a", secret_key="b", endpoint=server.url.rstrip("/"))
        try:
            S3Store(StoreOptions(**options)).list_product("x/")
        except StoreError as error:
            print(error, file=sys.stderr)
        else:
            raise SystemExit("no error")
"""
PROBES: Final = {
    "listing": STORE.format(tests=str(TESTS)),
    "PNG without height": PNG.format(height=0) + DECODE,
    "PNG with more pixels": PNG.format(height=343) + DECODE,
    "TIFF of another size": TIFF.format(width=9000, height=9000, rows=9000, bits=64) + DECODE,
    "TIFF of one endless strip": TIFF.format(width=512, height=343, rows=2**31, bits=8) + DECODE,
}


@pytest.mark.parametrize("name", PROBES)
def test_bomb_needs_less_than_300_megabytes(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(body=PROBES[name])],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < MAX_BYTES, done.stderr
