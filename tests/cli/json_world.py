"""JSON of every command, from a mirror with many conditions, and what its keys look like."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cli_kit import Cli
from kit import ZURICH, Kit, lay_out, tiny

from s2mirror.sandbox import Answer, Fault
from s2mirror.service.health import Problems
from s2mirror.service.wiring import utc_now

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
CLEAR: Final = ZURICH.replace('"zurich"', '"clear"') + "max_cloud_cover_percent = 0\n"
PREVIEW: Final = (
    *("preview", "--bbox", "8.46,47.32,8.6,47.42", "--width", "64", "--height", "64"),
    *("--from", "2026-05-20", "--to", "2026-05-30"),
)


def kind_of(value: object) -> str:
    """Return the type of a value, as the tables name it."""
    if isinstance(value, str):
        return "time" if _TIME.fullmatch(value) else "day" if _DAY.fullmatch(value) else "text"
    kinds = {bool: "boolean", int: "integer", float: "number", list: "list", dict: "object"}
    return "null" if value is None else kinds[type(value)]


def keys_in(value: Any, maps: frozenset[str], path: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - parsed JSON
    """Yield the path and type of each key: ``areas[].name`` in a list, ``deferred{}`` in a map."""
    if path:
        yield path, "map" if path in maps else kind_of(value)
    if isinstance(value, list):
        for each in value:
            yield from keys_in(each, maps, f"{path}[]")
    elif isinstance(value, dict):
        for key, each in value.items():
            below = f"{path}{{}}" if path in maps else f"{path}.{key}".lstrip(".")
            yield from keys_in(each, maps, below)


class World:
    """Runs commands on one mirror, and keeps every document by command."""

    def __init__(self, cli: Cli, kit: Kit) -> None:
        self.cli = cli
        self.kit = kit
        self.documents: dict[str, list[Any]] = {}

    def run(self, *words: str, name: str = "") -> None:
        out = self.cli(*words, "--json").out
        assert out, words
        documents = (
            [json.loads(line) for line in out.splitlines()]
            if words[0] == "log"
            else [json.loads(out)]
        )
        self.documents.setdefault(name or words[0], []).extend(documents)


def run_processing(world: World, product_id: str) -> None:
    """Have a processing entry fail for a product, and complete it."""
    world.kit.sections["process"] = 'command = ["/bin/false"]'
    world.run("process", product_id, "S2A_unknown")
    world.run("show", product_id)
    del world.kit.sections["process"]
    world.run("complete", product_id)


def documents(cli: Cli, kit: Kit) -> dict[str, list[Any]]:
    """Return JSON documents of every command that prints JSON."""
    world = World(cli, kit)
    run = world.run
    older, newer, last = tiny(20), tiny(22), tiny(24)
    kit.sections |= {
        "store": f"key_expires = {datetime.now(UTC).date() + timedelta(days=5)}",
        "prune": 'after = "0 s"\nmax_products = 1\nmax_percent = 100',
        "quota": 'per_30_days = "1 TB"',
        "local_catalog": "enabled = true",
        "alerts": 'command = ["true"]',
    }
    kit.sandbox.publish([older, newer, last])
    for words in ("check", "plan", "sync"):
        run(words)
    run("mark", "processed", older.id, newer.id, "S2A_unknown", name="mark processed")
    for words in (("plan",), ("prune", "--dry-run", "--kept"), ("prune",)):
        run(*words)
    run("prune", "--yes")
    run("requeue", older.id, "S2A_unknown")
    run("audit", "--online")
    next((kit.archive / last.prefix.rstrip("/")).rglob("*.jp2")).write_bytes(b"damaged")
    next((kit.archive / last.prefix.rstrip("/")).rglob("MTD_TL.xml")).unlink()
    for words in (("audit",), ("audit", "--repair")):
        run(*words)
    kit.sandbox.s3_proxy.inject(Fault(answer=Answer(status=503), times=None))
    run("sync")
    kit.sandbox.s3_proxy.reset()
    Problems(kit.mirror().ledger, utc_now).set("fetch", "the store answered 503")
    for words in ("list", "log", "forecast", "status", "health", "plan"):
        run(words)
    run("show", older.id)
    run_processing(world, last.id)
    old = lay_out(tiny(25, tile="10SEG"), kit.folder / "old")
    (old / "notes.txt").touch()
    lay_out(tiny(26), kit.folder / "old", without="_B02_10m.jp2")
    for _ in range(2):
        run("adopt", str(old.parent), "--offline", "--processed")
    run("fetch", older.id)
    run("pin", older.id, newer.id, "S2A_unknown")
    run("show", older.id)
    run("drop", older.id, "S2A_unknown")
    run("unpin", older.id, newer.id)
    run("restore", older.id, "S2A_unknown")
    kit.areas += CLEAR
    run("why", older.id)
    run("why", tiny(25).id)
    kit.sandbox.stac_proxy.inject(Fault(answer=Answer(status=503), times=None))
    run("why", tiny(25).id)
    kit.sandbox.stac_proxy.reset()
    run("export", "stac", "--out", "out", name="export stac")
    run("export", "geoparquet", "--out", "parquet", name="export geoparquet")
    run("catalog", "rebuild", name="catalog rebuild")
    ledgers = ("backup",), ("check",), ("rebuild", "--dry-run"), ("restore", "latest")
    for words in ledgers:
        run("ledger", *words, name=f"ledger {words[0]}")
    run("alerts", "test", name="alerts test")
    kit.sections["archive"] = 'layout = "force"'
    for words in (("relayout", "--dry-run"), ("relayout",)):
        run(*words)
    run(*PREVIEW, "--dry-run", name="preview")
    run(*PREVIEW, name="preview")
    world.documents["version"] = [json.loads(cli.bare("version", "--json").out)]
    return world.documents
