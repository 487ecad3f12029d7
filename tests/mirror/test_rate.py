"""The rate of all connections together."""

import threading
from dataclasses import replace

import pytest
from kit import Kit, tiny

from s2mirror.errors import Stopped
from s2mirror.sandbox import Answer, Fault
from s2mirror.service.throttled_account import ThrottleWatch
from s2mirror.steps.connections import Meter, Throttle
from s2mirror.stop import StopFlag


class Patient(StopFlag):
    """Records the requested waits, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout_seconds: float) -> bool:
        self.waits.append(timeout_seconds)
        return False


class Counting(Throttle):
    def __init__(self) -> None:
        super().__init__()
        self.taken_bytes = 0

    def take(self, size_bytes: int, stop: StopFlag) -> None:  # noqa: ARG002 - the Throttle's
        self.taken_bytes += size_bytes


def test_all_connections_share_one_rate() -> None:
    throttle, first, second = Throttle(lambda: 10), Patient(), Patient()
    throttle.take(10_000, first)
    throttle.take(20_000, second)
    throttle.take(10_000, first)
    assert first.waits == pytest.approx([1000, 4000], abs=60)
    assert second.waits == pytest.approx([3000], abs=60)


def test_new_rate_applies_from_the_next_byte() -> None:
    rates = [None, 0, 10]
    throttle, stop = Throttle(lambda: rates[0]), Patient()
    throttle.take(10_000, stop)
    rates.pop(0)
    throttle.take(10_000, stop)
    assert stop.waits == [], "a pause lets what is under way end"
    rates.pop(0)
    throttle.take(10_000, stop)
    assert stop.waits == pytest.approx([1000], abs=60)


def test_stop_ends_the_wait_for_the_rate() -> None:
    stop = StopFlag()
    stop.set()
    Throttle(lambda: 1).take(10**9, stop)


@pytest.mark.long
def test_every_received_byte_passes_the_throttle(kit: Kit) -> None:
    kit.sandbox.publish([tiny(27), tiny(25)])
    throttle = Counting()
    result = kit.cycle(replace(kit.mirror(), throttle=throttle))
    assert throttle.taken_bytes == result.received_bytes > 0


def test_meter_counts_bytes_and_busy_seconds() -> None:
    meter = Meter(window_seconds=100)
    for second in range(50):
        meter.add(7, 1000.0 + second)
    assert meter.found == (49 * 7, 49.0), "the first byte ends a rest of unknown length"
    meter.add(7, 1080.0)
    assert meter.found == (49 * 7, 49.0), "half a minute without a byte is no work"
    meter.add(7, 1081.0)
    assert meter.found == (50 * 7, 50.0)
    meter.add(7, 1170.0)
    assert meter.found == (7, 1.0), "older minutes are forgotten"
    meter.forget()
    assert meter.found == (0, 0)


def test_throttled_account_uses_one_connection() -> None:
    transitions = [True]
    throttle, stop = Throttle(is_slow=lambda _bytes, _seconds: transitions[0]), StopFlag()
    with throttle.connection(stop), throttle.connection(stop):
        throttle.take(1, stop)
    assert throttle.slow
    entered = threading.Event()

    def second() -> None:
        with throttle.connection(stop):
            entered.set()

    thread = threading.Thread(target=second)
    with throttle.connection(stop):
        thread.start()
        assert not entered.wait(1.2)
    assert entered.wait(30)
    thread.join()


def test_stop_ends_the_wait_for_a_connection() -> None:
    throttle, stop = Throttle(is_slow=lambda _bytes, _seconds: True), StopFlag()
    throttle.take(1, stop)
    stop.set()
    with throttle.connection(StopFlag()), pytest.raises(Stopped), throttle.connection(stop):
        pass


def test_limited_rate_shows_no_throttling() -> None:
    seen: list[tuple[int, float]] = []

    def is_slow(size_bytes: int, seconds: float) -> bool:
        seen.append((size_bytes, seconds))
        return True

    throttle = Throttle(lambda: 10**9, is_slow)
    throttle.take(1, StopFlag())
    assert seen == []
    assert not throttle.slow


@pytest.mark.long
def test_throttling_is_logged_and_charges_no_attempt(
    kit: Kit, capsys: pytest.CaptureFixture[str]
) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    mirror = kit.mirror()
    now = mirror.now()
    mirror.ledger.add_transfer(13 * 10**12, now=now)
    watch = ThrottleWatch(
        ledger=mirror.ledger, quota=mirror.claimer.capacity_probe.quota, now=mirror.now
    )
    slow = Throttle(is_slow=lambda _bytes, _seconds: watch.is_slow(600 * 10**6, 600))
    slow.take(1, StopFlag())
    kit.sections["quota"] = 'per_30_days = "unlimited"'
    kit.sandbox.s3_proxy.inject(Fault(path="B02", answer=Answer(status=500), times=None))
    kit.cycle(replace(kit.mirror(), throttle=slow))
    assert (kit.entry(product).state, kit.entry(product).attempts) == ("queued", 0)
    capsys.readouterr()
    kit.call("status")
    assert "the account is throttled until about" in capsys.readouterr().out
    assert watch.is_slow(600 * 10**6, 60) is False
    kit.call("status")
    assert "throttled" not in capsys.readouterr().out
