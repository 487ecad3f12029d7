"""Alerts reach their receivers: few, once, without secrets, and never in the way of the work."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from adapters_builders import record
from alerts_kit import PATH, _noted, _receiver, find_archive, lose_archive, messages_in  # noqa: F401 - fixtures
from builders import overwrite, product
from kit import Kit, tiny
from receiver import Receiver, receiving

from s2mirror.service.alerting import Alerter
from s2mirror.service.judgement import judge
from s2mirror.service.wiring import Mirror, utc_now
from s2mirror.stop import StopFlag


@dataclass
class Alerts:
    """The alerts of a mirror under a clock of the test."""

    mirror: Mirror
    later: timedelta = timedelta()

    def now(self) -> datetime:
        return utc_now() + self.later

    def restart(self) -> None:
        self.alerter = Alerter(self.mirror.settings, self.mirror.ledger, now=self.now)

    def __post_init__(self) -> None:
        self.restart()

    def run(self, **later: float) -> None:
        """Let time pass, and report what is due."""
        self.later += timedelta(**later)
        self.alerter.run(StopFlag())

    def codes(self) -> set[str]:
        judged = judge(self.mirror.settings, self.mirror.ledger, now=self.now())
        return {found.code for found in judged.findings}


def test_outage_and_recovery_reach_the_command_once(kit: Kit, noted: Path) -> None:
    kit.cycle()
    alerts = Alerts(kit.mirror())
    alerts.run()
    assert messages_in(noted) == []
    lose_archive(kit)
    for _ in range(3):
        alerts.run(minutes=5)
        alerts.restart()
    find_archive(kit)
    for _ in range(3):
        alerts.run(minutes=5)
        alerts.restart()
    found = messages_in(noted)
    assert [(message["kind"], message["severity"]) for message in found] == [
        ("failure", "failure"),
        ("recovery", "ok"),
    ]
    assert found[0]["title"] == "failure: archive.unavailable"
    assert "is its disk mounted?" in str(found[0]["body"])


@pytest.mark.long
def test_storm_of_thousand_failures_is_one_message(kit: Kit, noted: Path) -> None:
    kit.cycle()
    mirror = kit.mirror()
    record(mirror.ledger, *(product(f"S2A_{n}") for n in range(1000)), areas=("zurich",))
    alerts = Alerts(mirror)
    alerts.run()
    for limit in (10, 500, 1000):
        overwrite(mirror.ledger, "state = 'failed'", f"rowid <= {limit}")
        alerts.run(minutes=1)
    assert [message["title"] for message in messages_in(noted)] == ["warning: products.failed"]


def test_pings_follow_the_judgement_at_once(kit: Kit, receiver: Receiver) -> None:
    kit.sections["alerts"] = f'ping_url = "{receiver.url}{PATH}"'
    kit.cycle()
    alerts = Alerts(kit.mirror())
    for _ in range(3):
        alerts.run(minutes=1)
    assert receiver.pings(PATH) == [""]
    lose_archive(kit)
    for _ in range(3):
        alerts.run(minutes=1)
    assert receiver.pings(PATH) == ["", "/fail"]
    assert "is its disk mounted?" in receiver.got[-1][2]
    find_archive(kit)
    alerts.run(minutes=1)
    assert receiver.pings(PATH) == ["", "/fail", ""]
    assert receiver.got[-1] == ("POST", PATH, "healthy")


@pytest.mark.long
def test_apprise_delivers_to_an_http_receiver(kit: Kit, receiver: Receiver) -> None:
    kit.more_secrets["S2MIRROR_ALERT_URLS"] = (
        f"json://user:Hidden-word-1@127.0.0.1:{receiver.port}/notify"
    )
    kit.sections["alerts"] = 'delay = "0 s"'
    kit.cycle()
    alerts = Alerts(kit.mirror())
    lose_archive(kit)
    alerts.run()
    alerts.run(minutes=1)
    (message,) = receiver.messages()
    assert message["type"] == "failure"
    assert message["title"].startswith("s2mirror on ")
    assert "is its disk mounted?" in message["message"]


@pytest.mark.long
def test_failing_receiver_is_finding_until_delivered(kit: Kit, receiver: Receiver) -> None:
    url = f"json://user:Hidden-word-2@127.0.0.1:{receiver.port}/notify"
    kit.more_secrets["S2MIRROR_ALERT_URLS"] = url
    kit.sections["alerts"] = f'ping_url = "{receiver.url}{PATH}"\ndelay = "0 s"'
    kit.sandbox.publish(tiny())
    kit.cycle()
    alerts = Alerts(kit.mirror())
    receiver.status, receiver.body = 503, b"<b>\x1b[2Jbusy</b>" * 50_000
    lose_archive(kit)
    alerts.run()
    assert "alerts.failed" in alerts.codes()
    text = str(judge(alerts.mirror.settings, alerts.mirror.ledger, now=alerts.now()))
    assert "Hidden-word" not in text
    assert PATH not in text
    assert "\x1b" not in text
    find_archive(kit)
    assert kit.cycle().remaining == 0
    receiver.status, receiver.body = 200, b"OK"
    receiver.got.clear()
    alerts.restart()
    alerts.run(hours=2)
    alerts.run(minutes=1)
    assert receiver.pings(PATH)[-1] == ""
    assert [message["type"] for message in receiver.messages()] == ["failure", "success"]
    assert "alerts.failed" not in alerts.codes()


def test_ping_follows_no_redirect_to_other_hosts(kit: Kit, receiver: Receiver) -> None:
    with receiving() as other:
        kit.sections["alerts"] = f'ping_url = "{receiver.url}{PATH}"'
        kit.cycle()
        receiver.status, receiver.location = 307, f"{other.url}/elsewhere"
        alerts = Alerts(kit.mirror())
        alerts.run()
        assert other.got == []
        assert "alerts.failed" in alerts.codes()


def test_ping_that_is_not_counted_is_finding(kit: Kit, receiver: Receiver) -> None:
    kit.sections["alerts"] = f'ping_url = "{receiver.url}{PATH}"'
    kit.cycle()
    receiver.body = b"OK (not found)"
    alerts = Alerts(kit.mirror())
    alerts.run()
    assert "alerts.failed" in alerts.codes()


@pytest.mark.long
def test_command_that_hangs_is_ended(kit: Kit) -> None:
    kit.sections["alerts"] = 'command = ["sleep", "600"]\ntimeout = "1 s"\ndelay = "0 s"'
    kit.cycle()
    alerts = Alerts(kit.mirror())
    lose_archive(kit)
    alerts.run()
    assert "alerts.failed" in alerts.codes()


@pytest.mark.long
def test_new_images_are_one_digest(kit: Kit, noted: Path) -> None:
    kit.sections["alerts"] += "\nnew_images = true"
    alerts = Alerts(kit.mirror())
    alerts.run()
    now = utc_now()
    kit.sandbox.publish(tiny(sensed_at=now - timedelta(days=1)))
    kit.sandbox.publish(tiny(sensed_at=now.replace(year=2025)))
    kit.cycle()
    for _ in range(3):
        alerts.run(minutes=20)
    assert [message["title"] for message in messages_in(noted)] == ["1 new image (zurich: 1)"]
