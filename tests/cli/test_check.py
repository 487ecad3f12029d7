"""``check``: sizes of areas, questions about odd options, its deadline, and true answers."""

import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from cli_kit import Cli
from kit import PATIENCE_SECONDS, Kit, lay_out, tiny, utc_now, wait_until

from s2mirror.adapters.tokens import ClientTokens
from s2mirror.geometry import from_rings
from s2mirror.sandbox import Answer, Fault
from s2mirror.service.config_check import land_rings
from s2mirror.service.deadline import Deadline
from s2mirror.service.preview_client import token_options
from s2mirror.stop import StopFlag

ODD = """
[[area]]
name = "sea"
bbox = [-30, 47, -29, 48]
start = 2100-01-01
max_cloud_cover_percent = 0.6
"""


def details(cli: Cli, *arguments: str) -> dict[str, str]:
    return {found["name"]: found["detail"] for found in cli.json("check", *arguments)["checks"]}


def test_config_only_uses_no_network_or_disk(cli: Cli, kit: Kit) -> None:
    requests = len(kit.sandbox.stac_proxy.traffic.exchanges)
    assert list(details(cli, "--config-only")) == ["configuration", "area zurich"]
    assert len(kit.sandbox.stac_proxy.traffic.exchanges) == requests
    assert [path.name for path in kit.folder.rglob("*")] == ["s2mirror.toml"]


def test_config_only_reads_no_secret(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "web-token").mkdir()  # cannot be read as a file
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert cli("check").code == 2
    assert cli("check", "--config-only").code == 0


def test_odd_options_are_questions_and_no_failure(cli: Cli, kit: Kit) -> None:
    kit.areas += ODD
    kit.sections["process"] = 'command = ["./no-such-hook", "{path}"]'
    kit.sections["ledger"] = 'path = "archive/ledger.sqlite"'
    assert cli("check", "--config-only").code == 0
    checks = cli.json("check", "--config-only")["checks"]
    assert [found["name"] for found in checks if found["severity"] == "notice"] == [
        "area sea", "area sea", "area sea.max_cloud_cover_percent", "process chain.command",
        "ledger.path",
    ]  # fmt: skip
    assert {found["severity"] for found in checks} == {"ok", "notice"}


def test_hook_that_cannot_run_is_asked_about(cli: Cli, kit: Kit) -> None:
    hook = kit.folder / "hook.sh"
    hook.write_text("#!/bin/sh\n")
    kit.sections["process"] = f'command = ["{hook}"]'
    assert details(cli, "--config-only")["process chain.command"].endswith("is it executable?")
    hook.chmod(0o755)
    assert "process chain.command" not in details(cli, "--config-only")


def test_month_is_counted_without_an_account(
    cli: Cli, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("S2MIRROR_S3_SECRET_KEY")
    kit.sandbox.publish([tiny(sensed_at=utc_now() - timedelta(days=n)) for n in (2, 9, 40)])
    assert (
        "2 products and 0 GB per month (by its images of 30 days)" in (details(cli)["area zurich"])
    )


def test_amounts_are_estimated_without_a_catalog(cli: Cli, kit: Kit) -> None:
    kit.sandbox.stac_proxy.inject(Fault(answer=Answer(status=503), times=None))
    assert details(cli)["area zurich"] == (
        "671 km² at 47.3° N 8.6° E, 1 tile; 25 products and 25 GB per month (estimated, with all "
        "clouds)"
    )


def test_products_in_a_new_root_are_named(cli: Cli, kit: Kit) -> None:
    lay_out(tiny(20), kit.archive / "old")
    kit.sandbox.stac_proxy.inject(Fault(answer=Answer(status=503), times=None))
    assert f"1 product folders already, such as old/{tiny(20).id}.SAFE" in details(cli)["archive"]
    assert f"`s2mirror adopt {kit.archive}`" in details(cli)["archive"]
    assert cli("adopt", str(kit.archive), "--offline").code == 0
    assert "adopt" not in details(cli)["archive"]


def test_silent_service_ends_at_the_timeout(cli: Cli, kit: Kit) -> None:
    kit.sections["catalog"] = 'timeout = "10 s"'
    kit.sandbox.stac_proxy.inject(Fault(silent=True, times=None))
    begun = time.monotonic()
    found = {each["name"]: each for each in cli.json("check", "--timeout", "3 s")["checks"]}
    assert time.monotonic() - begun < PATIENCE_SECONDS / 10
    assert found["archive"]["exit_code"] == 0
    assert found["catalog"]["exit_code"] == 3
    assert "no result within the 3 s of --timeout" in found["catalog"]["detail"]
    assert found["store"]["exit_code"] == 3
    kit.sandbox.clear()
    # What was left behind must not make its requests in the next test.
    wait_until(lambda: not any(t.name.startswith("check ") for t in threading.enumerate()), "end")


def test_bug_in_a_check_is_no_timeout() -> None:
    with pytest.raises(ZeroDivisionError):
        Deadline(timedelta(minutes=1)).check("division", lambda: str(1 // 0))


def test_timeout_without_a_unit_is_a_usage_error(cli: Cli) -> None:
    outcome = cli("check", "--timeout", "5")
    assert outcome.code == 2
    assert "--timeout" in outcome.err


@pytest.mark.long
def test_cached_token_does_not_prove_a_secret(
    cli: Cli, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.sections["preview"] = 'source = "process"'
    ClientTokens(token_options(kit.mirror().settings), utc_now).token(StopFlag())
    before = {path: path.read_bytes() for path in kit.folder.glob("*.token")}
    assert before, "a token is cached"
    assert "issued a token" in details(cli)["previews"]
    monkeypatch.setenv("S2MIRROR_CLIENT_SECRET", "not-the-right-one")
    checks = {found["name"]: found["exit_code"] for found in cli.json("check")["checks"]}
    assert checks["previews"] == 6
    assert {path: path.read_bytes() for path in kit.folder.glob("*.token")} == before


def test_land_has_the_land_of_the_earth() -> None:
    found = from_rings(land_rings())
    assert 0.25 < found.area / (360 * 180) < 0.4
    assert found.is_valid
