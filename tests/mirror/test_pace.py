"""How fast everything together goes."""

import threading
from dataclasses import replace

import pytest
from kit import Kit, tiny

from s2mirror.errors import Stopped
from s2mirror.sandbox import Answer, Fault
from s2mirror.service.throttled_account import ThrottleWatch
from s2mirror.steps.throttle import Meter, Throttle
from s2mirror.stop import StopFlag


class Patient(StopFlag):
    """Notes how long somebody would wait, and does not let them."""

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

    def take(self, size_bytes: int, halt: StopFlag) -> None:  # noqa: ARG002 - the Throttle's
        self.taken_bytes += size_bytes


def test_bytes_wait_for_those_before_them_whoever_took_those() -> None:
    throttle, first, second = Throttle(lambda: 10), Patient(), Patient()
    throttle.take(10_000, first)
    throttle.take(20_000, second)
    throttle.take(10_000, first)
    assert first.waits == pytest.approx([1000, 4000], abs=60)
    assert second.waits == pytest.approx([3000], abs=60)


def test_at_full_speed_nobody_waits_and_a_new_speed_holds_from_the_next_byte_on() -> None:
    rates = [None, 0, 10]
    throttle, halt = Throttle(lambda: rates[0]), Patient()
    throttle.take(10_000, halt)
    rates.pop(0)
    throttle.take(10_000, halt)
    assert halt.waits == [], "a pause lets what is under way end"
    rates.pop(0)
    throttle.take(10_000, halt)
    assert halt.waits == pytest.approx([1000], abs=60)


def test_a_stop_wakes_whoever_waits_for_the_speed_allowed() -> None:
    halt = StopFlag()
    halt.set()
    Throttle(lambda: 1).take(10**9, halt)


def test_every_byte_that_comes_goes_through_the_throttle(kit: Kit) -> None:
    kit.sandbox.publish([tiny(27), tiny(25)])
    throttle = Counting()
    result = kit.cycle(replace(kit.mirror(), throttle=throttle))
    assert throttle.taken_bytes == result.received_bytes > 0


def test_the_meter_counts_bytes_and_the_time_in_which_somebody_was_at_work() -> None:
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


def test_a_slow_account_has_one_connection_at_work_until_it_is_fast_again() -> None:
    transitions = [True]
    throttle, halt = Throttle(is_slow=lambda _bytes, _seconds: transitions[0]), StopFlag()
    with throttle.turn(halt), throttle.turn(halt):
        throttle.take(1, halt)
    assert throttle.slow
    entered = threading.Event()

    def second() -> None:
        with throttle.turn(halt):
            entered.set()

    thread = threading.Thread(target=second)
    with throttle.turn(halt):
        thread.start()
        assert not entered.wait(1.2)
    assert entered.wait(30)
    thread.join()


def test_a_stop_wakes_whoever_waits_for_the_one_connection() -> None:
    throttle, halt = Throttle(is_slow=lambda _bytes, _seconds: True), StopFlag()
    throttle.take(1, halt)
    halt.set()
    with throttle.turn(StopFlag()), pytest.raises(Stopped), throttle.turn(halt):
        pass


def test_a_timetable_says_nothing_of_the_account() -> None:
    seen: list[tuple[int, float]] = []

    def is_slow(size_bytes: int, seconds: float) -> bool:
        seen.append((size_bytes, seconds))
        return True

    throttle = Throttle(lambda: 10**9, is_slow)
    throttle.take(1, StopFlag())
    assert seen == []
    assert not throttle.slow


@pytest.mark.long
def test_a_slow_account_is_told_of_and_charges_no_product_an_attempt(
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
