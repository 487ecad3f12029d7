import re
import sqlite3
from pathlib import Path

import pytest
from cli_kit import Cli
from kit import Kit, tiny

ZURICH_AND_VALLEY = """
[[area]]
name = "zurich"
tiles = ["32TMT"]
start = 2020-01-01

[[area]]
name = "valley"
tiles = ["32TNS"]
start = 2020-01-01
"""


def files_below(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.long
def test_first_steps_lead_from_init_to_archive(cli: Cli, kit: Kit) -> None:
    kit.sections["prune"] = 'after = "0 s"'
    older, newer, late = tiny(25), tiny(27), tiny(29)
    kit.sandbox.publish([older, newer])

    written = cli.bare("init", "mine.toml")
    assert written.code == 0
    assert written.out.startswith("wrote mine.toml; set archive.root and your areas in it")
    assert cli.bare("init", "mine.toml").code == 2

    checks = cli.json("check")["checks"]
    assert [check["name"] for check in checks] == [
        "configuration", "ledger", "archive", "lock", "catalog", "clock", "area zurich", "store",
        "key expiry",
    ]  # fmt: skip
    assert {check["exit_code"] for check in checks} == {0}

    plan = cli.json("plan")
    assert plan["fetch"] == [newer.id, older.id]
    assert plan["fetch_bytes"] > 0
    assert (plan["deferred"], plan["prune"], plan["brake"]) == ({}, [], "")

    done = cli.json("sync")
    assert sorted(done["archived"]) == sorted([older.id, newer.id])
    assert (done["exit_code"], done["failed"], done["errors"]) == (0, [], [])

    status = cli.json("status")
    assert status["current"] is True
    assert status["products"]["archived"] == 2
    assert status["areas"][0] == {
        "name": "zurich", "held": 2, "waiting": 0, "pruned": 0, "failed": 0, "configured": True,
        "certified": None,
        "lags": [],
        "baselines": {"sentinel-2-l2a": {"05.12": 2}},
    }  # fmt: skip

    listed = cli.json("list", "--state", "archived", "--tile", "T32TMT", "--area", "zurich")[
        "products"
    ]
    assert [found["id"] for found in listed] == [newer.id, older.id]
    assert listed[0]["size_bytes"] == sum(len(content) for content in newer.files.values())

    shown = cli.json("show", newer.id)
    assert [step["to_state"] for step in shown["history"]] == [
        "discovered", "queued", "downloading", "verified", "archived",
    ]  # fmt: skip

    assert cli.json("mark", "processed", older.id)["products"] == [
        {"id": older.id, "state": "processed", "error": None}
    ]
    planned = cli.json("prune", "--dry-run", "--kept")
    assert planned["prune"] == [older.id]
    assert planned["kept"] == {newer.id: "not marked processed"}
    pruned = cli.json("prune")
    assert (pruned["prune"], pruned["dry_run"]) == ([older.id], False)
    assert pruned["kept_products"] == 1

    audit = cli.json("audit", "--online")
    assert (audit["ok"], audit["faults"], audit["products"]) == (True, [], 1)
    assert audit["bytes_read"] is audit["catalog_listed"] is True

    kit.sandbox.publish(late)
    assert cli.json("requeue", older.id)["products"][0]["state"] == "queued"
    assert cli.json("status")["current"] is False
    done = cli.json("sync")
    assert done["new"] == [late.id]
    assert sorted(done["archived"]) == sorted([older.id, late.id])
    assert cli.json("sync")["received_bytes"] == 0
    kit.assert_current(older, newer, late)


@pytest.mark.long
def test_plan_sync_status_and_list_print_text(cli: Cli, kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    assert "would download 1 product, about" in cli("plan").out
    synced = cli("sync").out
    assert re.search(rf"download  {product.id}  .*B\narchived  {product.id}  .*B in \d", synced)
    assert "1 new, 1 archived" in synced
    assert "mirror    current; no process runs" in cli("status").out
    head, row = cli("list").out.splitlines()
    assert head.split() == ["product", "state", "size", "files", "cloud", "%", "areas", "reason"]
    assert row.split()[:2] + row.split()[-1:] == [product.id, "archived", "zurich"]


def test_show_prints_text_without_python_values(cli: Cli, kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    cli("sync")
    shown = cli("show", product.id).out
    assert "\n  areas       zurich\n" in shown
    assert "\n  sensed      2026-05-27 10:20:31 UTC\n" in shown
    assert not re.search(r"datetime|\+00:00|\('|None|State\.", shown)


def test_plan_without_ledger_changes_no_file(cli: Cli, kit: Kit) -> None:
    kit.sandbox.publish(tiny())
    _ = kit.config
    before = files_below(kit.folder)
    assert cli("plan").code == 0
    assert files_below(kit.folder) == before


def files_and_rows(kit: Kit) -> tuple[dict[str, bytes], list[str]]:
    """Return every file except the ledger, and the ledger's rows: SQLite may move pages."""
    files = {name: data for name, data in files_below(kit.folder).items() if "sqlite" not in name}
    with sqlite3.connect(kit.folder / "s2mirror.sqlite") as ledger:
        rows = list(ledger.iterdump())
    ledger.close()
    return files, rows


@pytest.mark.long
def test_dry_run_changes_and_downloads_nothing(cli: Cli, kit: Kit) -> None:
    kit.sandbox.publish(tiny(25))
    cli("sync")
    kit.sandbox.publish(tiny(27))
    before = files_and_rows(kit)
    kit.sandbox.s3_proxy.traffic.forget()
    outcome = cli("sync", "--dry-run")
    assert (outcome.code, files_and_rows(kit)) == (0, before)
    assert tiny(27).id in outcome.out
    assert kit.sandbox.s3_proxy.traffic.count() == 0


@pytest.mark.long
def test_sync_of_one_area_downloads_no_other(cli: Cli, kit: Kit) -> None:
    kit.areas = ZURICH_AND_VALLEY
    here, there = tiny(tile="32TMT"), tiny(tile="32TNS")
    kit.sandbox.publish([here, there])
    assert cli.json("sync", "--area", "valley")["archived"] == [there.id]
    assert [found["id"] for found in cli.json("list")["products"]] == [there.id]
    assert cli.json("status")["current"] is False, "the other area was never listed"
    assert cli.json("sync")["archived"] == [here.id]


@pytest.mark.long
def test_second_mark_changes_nothing(cli: Cli, kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    cli("sync")
    path = f"archive/T32TMT/{product.id}.SAFE/"
    assert cli("mark", "processed", path).code == 0
    assert cli("mark", "processed", product.id).code == 0
    events = [step["event"] for step in cli.json("show", product.id)["history"]]
    assert events.count("mark") == 1


def test_unknown_id_does_not_stop_other_marks(cli: Cli, kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    cli("sync")
    outcome = cli("mark", "processed", "nothing-like-it", product.id)
    assert outcome.code == 2
    assert "the ledger knows no product 'nothing-like-it'" in outcome.err
    assert outcome.out == f"{product.id}  processed\n"


def test_refused_requeue_names_the_possible_events(cli: Cli, kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    cli("sync")
    outcome = cli("requeue", product.id)
    assert outcome.code == 2
    assert f"{product.id}: cannot requeue a product that is archived" in outcome.err
