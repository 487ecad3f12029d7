"""``sync`` and ``alerts test`` as users of cron have them."""

from pathlib import Path

import pytest
from alerts_kit import PATH, _noted, _receiver, find_archive, lose_archive, messages_in  # noqa: F401 - fixtures
from cli_kit import Cli
from kit import Kit
from receiver import Receiver

from s2mirror.errors import ArchiveError


@pytest.mark.long
def test_sync_pings_its_start_and_outcome(
    kit: Kit, cli: Cli, receiver: Receiver, noted: Path
) -> None:
    kit.sections["alerts"] += f'\nping_url = "{receiver.url}{PATH}"'
    assert cli("sync").code == 0
    assert receiver.pings(PATH) == ["/start", ""]
    lose_archive(kit)
    for _ in range(2):
        assert cli("sync").code == ArchiveError.exit_code
    assert receiver.pings(PATH) == ["/start", "", "/start", "/fail", "/start", "/fail"]
    find_archive(kit)
    assert cli("sync").code == 0
    assert receiver.pings(PATH)[-1] == ""
    assert [message["kind"] for message in messages_in(noted)] == ["failure", "recovery"]


def test_trial_reports_every_channel(kit: Kit, cli: Cli, receiver: Receiver, noted: Path) -> None:
    kit.sections["alerts"] += f'\nping_url = "{receiver.url}{PATH}"'
    cli("sync")
    outcome = cli("alerts", "test")
    assert (outcome.code, outcome.out) == (0, "ping_url: delivered\ncommand: delivered\n")
    assert messages_in(noted)[0]["title"] == "test of the alerts"
    receiver.status = 404
    outcome = cli("alerts", "test")
    assert outcome.code == 3
    assert (
        "ping_url: not delivered: sending a ping failed: the monitor responded 404" in outcome.out
    )
    assert PATH not in outcome.out + outcome.err


def test_trial_without_channel_is_refused(cli: Cli) -> None:
    outcome = cli("alerts", "test")
    assert outcome.code == 2
    assert "no channel for alerts is configured" in outcome.err
