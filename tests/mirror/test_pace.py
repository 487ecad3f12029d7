"""How fast everything together goes."""

from dataclasses import replace

import pytest
from kit import Kit, tiny

from s2mirror.steps.throttle import Throttle
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
