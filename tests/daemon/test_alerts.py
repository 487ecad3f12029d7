"""A real daemon tells of an outage and its end, once, and works while nobody listens."""

import shutil
import signal
from contextlib import closing

import pytest
from alerts_kit import PATH, find_archive, lose_archive
from daemon_kit import Running
from kit import Kit, tiny, wait_until
from receiver import receiving

from s2mirror.adapters.ledger import open_ledger
from s2mirror.config import load_settings
from s2mirror.service.alert_memory import ALERTS

pytestmark = pytest.mark.long


def queued(kit: Kit) -> int:
    """Return how many messages are not delivered."""
    settings = load_settings(kit.config, environment=kit.secrets).settings
    with closing(open_ledger(settings.ledger.path)) as ledger:
        memory = ledger.state.get(ALERTS)
        return len(memory.queue) if memory else 0


def test_outage_recovery_restart_and_deaf_receiver(daemon: Running, kit: Kit) -> None:
    with receiving() as receiver:
        kit.sections["catalog"] = 'interval = "10 min"\njitter = "0 s"'
        kit.sections["alerts"] = f'ping_url = "{receiver.url}{PATH}"\ndelay = "0 s"'
        url = f"json://user:Hidden-word-3@127.0.0.1:{receiver.port}/notify"
        kit.more_secrets["S2MIRROR_ALERT_URLS"] = url
        first = tiny(25)
        kit.sandbox.publish(first)
        kit.cycle()
        daemon.start()
        wait_until(lambda: receiver.pings(PATH) == [""], "a ping of a healthy mirror")
        lose_archive(kit)
        wait_until(receiver.messages, "a message about the outage")
        wait_until(lambda: queued(kit) == 0, "the record of its delivery")
        assert receiver.pings(PATH) == ["", "/fail"]
        shutil.rmtree(kit.archive)
        kit.archive.mkdir()
        find_archive(kit)
        daemon.send(signal.SIGHUP)
        wait_until(lambda: receiver.pings(PATH)[-1] == "", "a ping of a healthy mirror")
        wait_until(lambda: len(receiver.messages()) > 1, "a message about the recovery")
        wait_until(lambda: queued(kit) == 0, "the record of its delivery")
        daemon.stop()
        daemon.start()
        wait_until(lambda: len(receiver.pings(PATH)) > 3, "the ping after a restart")
        kinds = [message["type"] for message in receiver.messages()]
        assert kinds == ["failure", "success"]
    second = tiny(27)
    kit.sandbox.publish(second)
    daemon.send(signal.SIGHUP)  # polls and alerts at once; the receiver is gone
    daemon.wait_until_held(first.id, second.id)
    daemon.wait_until_unhealthy("alerts cannot be delivered by ping_url")
    daemon.stop()


def test_daemon_that_cannot_start_says_so(daemon: Running, kit: Kit) -> None:
    with receiving() as receiver:
        kit.sections["alerts"] = f'ping_url = "{receiver.url}{PATH}"'
        kit.cycle()
        lose_archive(kit)
        daemon.start(wait=False)
        assert daemon.process.wait(timeout=100) == 5
        assert receiver.pings(PATH) == ["/fail"]
        assert "is its disk mounted?" in receiver.got[0][2]
