"""The largest responses that are accepted or refused, read by a process that imports the mirror."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from hostile_server import HostileServer, bomb, whole

from s2mirror.adapters.stac_catalog.transport import MAX_PAGE_BYTES
from s2mirror.json_parser import MAX_VALUES

pytestmark = pytest.mark.long
LIMIT_BYTES = 300 * 1024**2
HEAD, TAIL = '{"type":"FeatureCollection","links":[],"features":[],"\U0001f600":[', "]}"
CATALOG = """
import json, sys
import s2mirror.service.wiring
from datetime import UTC, datetime
from s2mirror.service.clients import StacApiCatalog, StacOptions
from s2mirror.service.clients import ODataDeletions, ODataOptions
from s2mirror.errors import CatalogError
from s2mirror.model import CatalogQuery

query = CatalogQuery(
    collection="c", geometry_geojson='{"type":"Point","coordinates":[1,1]}', published_from=None,
    sensed_from=None, sensed_until=None, max_cloud_cover_percent=None,
)
outcome = []
for read in (
    lambda: list(StacApiCatalog(StacOptions(url=sys.argv[1], bucket="b", tries=1)).search(query)),
    lambda: list(ODataDeletions(ODataOptions(url=sys.argv[1])).since(datetime.now(UTC))),
):
    try:
        read()
        outcome.append("read")
    except CatalogError as error:
        outcome.append(str(error))
status = open("/proc/self/status").read()  # ru_maxrss would be that of the parent
print(json.dumps([int(status.split("VmHWM:")[1].split()[0]) * 1024, *outcome]))
"""


def document(*values: str) -> bytes:
    """Return a page of the largest size, whose text needs four bytes per character in memory."""
    body = HEAD + ",".join(values) + TAIL
    padding = " " * (MAX_PAGE_BYTES - len(body.encode()) - 1)
    return whole(gzip.compress((body + padding).encode(), 1), b"Content-Encoding: gzip")


HALF = MAX_VALUES // 2 - 100
RESPONSES = {
    "a bomb": (lambda: bomb(500), "has more than"),
    "objects": (lambda: document(*['{"a":1}'] * HALF), "read"),
    "texts": (lambda: document(*[json.dumps(f"{n:020}") for n in range(2 * HALF)]), "read"),
    "halves": (lambda: document(*[f'{{"{n:09}":"\\ud800"}}' for n in range(HALF)]), "read"),
    "too many values": (lambda: document(*["1"] * 5_000_000), "has more than"),
}


@pytest.mark.parametrize(("make", "outcome"), RESPONSES.values(), ids=RESPONSES)
def test_largest_response_stays_within_the_memory(make: Callable[[], bytes], outcome: str) -> None:
    with HostileServer([make()]).running() as server:
        run = [sys.executable, "-c", CATALOG, server.url]
        done = subprocess.run(run, check=True, capture_output=True, text=True)
    peak_bytes, of_catalog, of_feed = json.loads(done.stdout)
    assert outcome in of_catalog
    assert "the feed of deleted products" in of_feed
    assert peak_bytes < LIMIT_BYTES
