"""The configuration file of a running daemon: a faulty one is a finding until it is mended."""

from collections.abc import Callable

import pytest
from daemon_kit import RecordingNotifier
from kit import Kit, utc_now

from s2mirror.service.configuration import ConfigurationWatch, end_fault, record_fault
from s2mirror.service.daemon import Daemon, SignalRequests
from s2mirror.service.judgement import judge
from s2mirror.service.wiring import Mirror


@pytest.fixture(name="mirror")
def _mirror(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    for name, secret in kit.secrets.items():
        monkeypatch.setenv(name, secret)
    return kit.mirror()


@pytest.fixture(name="texts")
def _texts(mirror: Mirror) -> Callable[[], list[str]]:
    """Return a function that returns what the findings say of the configuration."""

    def texts() -> list[str]:
        judged = judge(mirror.settings, mirror.ledger, now=mirror.now())
        return [found.text for found in judged.findings if found.code == "configuration.refused"]

    return texts


def spoil(kit: Kit) -> None:
    kit.config.write_text(kit.toml().replace("reserve =", "reserved ="))


def test_faulty_file_is_a_finding_without_a_reload(
    kit: Kit, mirror: Mirror, texts: Callable[[], list[str]]
) -> None:
    watch = ConfigurationWatch(kit.config, mirror.ledger, utc_now, look_seconds=0)
    spoil(kit)
    watch.look()
    assert texts() == [], "an editor may not have written all of it yet"
    watch.look()
    assert "has changed and is faulty" in texts()[0]
    assert "unknown key 'reserved'" in texts()[0]
    assert kit.config
    watch.look()
    watch.look()
    assert texts() == []


def test_removed_file_is_a_finding(
    kit: Kit, mirror: Mirror, texts: Callable[[], list[str]]
) -> None:
    watch = ConfigurationWatch(kit.config, mirror.ledger, utc_now, look_seconds=0)
    kit.config.unlink()
    watch.look()
    watch.look()
    assert "no such file" in texts()[0]


def test_refused_reload_ends_with_a_good_reload(
    kit: Kit, mirror: Mirror, texts: Callable[[], list[str]]
) -> None:
    watch = ConfigurationWatch(kit.config, mirror.ledger, utc_now, look_seconds=0)
    spoil(kit)
    record_fault(mirror.ledger, "area: expected one", at_reload=True, now=utc_now())
    watch.look()
    watch.look()
    assert kit.config
    watch.look()
    watch.look()
    assert texts() == [
        "the configuration was refused at SIGHUP, the old one stays active: area: expected one"
    ]
    end_fault(mirror.ledger, now=utc_now())
    assert texts() == []


def test_refused_reload_keeps_the_time_it_began(mirror: Mirror) -> None:
    first, later = utc_now(), utc_now()
    record_fault(mirror.ledger, "area: expected one", at_reload=True, now=first)
    record_fault(mirror.ledger, "area: expected one", at_reload=True, now=later)
    judged = judge(mirror.settings, mirror.ledger, now=later)
    assert [f.since for f in judged.findings if f.code == "configuration.refused"] == [first]


def test_start_with_a_good_file_ends_the_finding(
    mirror: Mirror, texts: Callable[[], list[str]]
) -> None:
    record_fault(mirror.ledger, "area: expected one", at_reload=True, now=utc_now())
    requests = SignalRequests(stop=True)
    daemon = Daemon(mirror, RecordingNotifier(), requests, lambda: mirror)
    assert texts()
    assert daemon.run() is None
    assert texts() == []
