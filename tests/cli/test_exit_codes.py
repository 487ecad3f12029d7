import os
import subprocess
import time

import pytest
from cli_kit import Cli
from kit import PATIENCE_SECONDS, Kit, tiny, wait_until

from s2mirror.sandbox import Answer, Fault
from s2mirror.service.wiring import Mirror

BROKEN = """
[archive]
rood = "archive"

[catalog]
interval = "15"

[store]
connections = 100

[[area]]
name = "one"
bbox = [9, 48, 10]
start = 2026-01-01

[[area]]
name = "one"
bbox = [8, 47, 9, 48]
collections = ["sentinel-3"]
start = 2026-06-01
end = 2026-01-01
"""


def test_every_configuration_fault_is_named_with_place(kit: Kit) -> None:
    path = kit.folder / "broken.toml"
    path.write_text(BROKEN)
    done = subprocess.run(
        [*kit.command("check")[:-1], str(path)],
        env=kit.environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert all(line.startswith(f"s2mirror: {path}: ") for line in lines)
    for place in (
        "archive.root: ",
        "archive: unknown key 'rood'; did you mean 'root'",
        "catalog.interval: ",
        "store.connections: ",
        "area[0].bbox: ",
        "area[1].collections",
        "area[1].name: ",
    ):
        assert any(place in line for line in lines), (place, lines)


def test_0_means_current(cli: Cli, kit: Kit) -> None:
    kit.sandbox.publish(tiny())
    assert cli("sync").code == 0
    assert cli("status").code == 0


@pytest.mark.long
def test_1_means_a_failed_product(cli: Cli, kit: Kit) -> None:
    kit.sections["download"] = "tries_per_file = 1\nmax_attempts = 1"
    bad, good = tiny(27), tiny(29)
    kit.sandbox.publish([bad, good])
    kit.sandbox.s3_proxy.inject(Fault(path=rf"{bad.id}.*B02", flip_byte=7, times=None))
    outcome = cli("sync")
    assert outcome.code == 1
    assert "`s2mirror list` shows the state of each product, and the reason" in outcome.out
    states = {found["id"]: found["state"] for found in cli.json("list")["products"]}
    assert states == {bad.id: "quarantined", good.id: "archived"}
    assert cli("status").code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("sync", "--area", "nowhere"),
        ("plan", "--area", "nowhere"),
        ("list", "--state", "lost"),
        ("list", "--area", "nowhere"),
        ("show", "no-such-product"),
        ("list", "--limit", "many"),
        ("audit", "--area", "nowhere"),
    ],
)
def test_2_means_a_usage_error(cli: Cli, kit: Kit, arguments: tuple[str, ...]) -> None:
    kit.mirror().ledger.close()
    assert cli(*arguments).code == 2


def test_3_means_an_unreachable_catalog(cli: Cli, kit: Kit) -> None:
    kit.sandbox.stac_proxy.inject(Fault(answer=Answer(status=503), times=None))
    outcome = cli("sync")
    assert outcome.code == 3
    assert outcome.err.count("answered 503") == 1, "two searches report one problem"
    assert "more products may be available" in outcome.out
    assert cli("plan").code == 3
    assert cli("status").code == 1


@pytest.mark.long
def test_known_products_are_downloaded_without_catalog(cli: Cli, kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(answer=Answer(status=503), times=None))
    kit.sections["download"] = 'backoff = "1 s"\nbackoff_cap = "1 s"'
    assert cli("sync").code == 3
    kit.sandbox.s3_proxy.reset()
    kit.sandbox.stac_proxy.inject(Fault(answer=Answer(status=503), times=None))
    time.sleep(1)
    outcome = cli.json("sync")
    assert (outcome["exit_code"], outcome["archived"]) == (3, [product.id])


@pytest.mark.long
def test_4_names_the_running_process(cli: Cli, kit: Kit) -> None:
    kit.sandbox.publish(tiny(band_bytes=600_000))
    kit.sandbox.s3_proxy.inject(Fault(path="B02", silent=True, times=None))
    with kit.start("sync") as other:
        try:
            wait_for_request(kit, "B02")
            outcome = cli("sync")
            assert outcome.code == 4
            assert f"another s2mirror (process {other.pid})" in outcome.err
            assert cli("audit").code == 0, "reading is allowed meanwhile"
            assert f"process {other.pid} runs" in cli("status").out
        finally:
            other.kill()


@pytest.mark.long
def test_5_means_another_archive_is_mounted(cli: Cli, kit: Kit) -> None:
    kit.sandbox.publish(tiny())
    cli("sync")
    (kit.archive / ".s2mirror" / "archive.json").unlink()
    before = sorted(path for path in kit.archive.rglob("*"))
    for command in ("sync", "prune", "run"):
        outcome = cli(command)
        assert outcome.code == 5
        assert "is its disk mounted?" in outcome.err
    assert sorted(path for path in kit.archive.rglob("*")) == before
    check = {found["name"]: found["exit_code"] for found in cli.json("check")["checks"]}
    assert check["archive"] == 5


@pytest.mark.long
def test_6_means_wrong_keys_and_blames_no_product(
    cli: Cli, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.sandbox.publish(tiny())
    monkeypatch.setenv("S2MIRROR_S3_SECRET_KEY", "not-the-right-one")
    outcome = cli("sync")
    assert outcome.code == 6
    assert "the key pair is wrong or has expired" in outcome.err
    assert {(f["state"], f["attempts"]) for f in cli.json("list")["products"]} == {("queued", 0)}
    check = {found["name"]: found["exit_code"] for found in cli.json("check")["checks"]}
    assert {name for name, code in check.items() if code} == {"store"}


def test_6_means_missing_keys_and_names_variables(
    cli: Cli, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.sandbox.publish(tiny())
    monkeypatch.delenv("S2MIRROR_S3_SECRET_KEY")
    outcome = cli("sync")
    assert outcome.code == 6
    assert "S2MIRROR_S3_SECRET_KEY_FILE" in outcome.err


def test_70_means_an_unexpected_error(cli: Cli, kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Mirror) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("s2mirror.cli.status.status_of", broken)
    kit.mirror().ledger.close()
    outcome = cli("status")
    assert outcome.code == 70
    assert "ZeroDivisionError" in outcome.err
    assert outcome.err.endswith("please report the lines above\n")


def wait_for_request(kit: Kit, path: str) -> None:
    wait_until(lambda: kit.sandbox.s3_proxy.traffic.count(path), f"a request for {path}")


def test_health_before_first_run_names_the_ledger(cli: Cli) -> None:
    assert cli("health").code == 1
    assert cli.json("health")["ok"] is False
    assert os.sep in cli.json("health")["problems"][0], "the path of the missing ledger"
