"""Errors that s2mirror does not expect: no product is charged, and bugs are reported."""

import errno
import subprocess
from collections.abc import Callable
from dataclasses import replace

import pytest
from kit import PATIENCE_SECONDS, Kit, OnFirstByte, Quiet, tiny, wait_until

from s2mirror.adapters.ledger.state_values import HEALTH
from s2mirror.errors import ArchiveError, RepeatedError, ResourceError, StoreUnavailable
from s2mirror.sandbox import Answer, Fault, SandboxProduct
from s2mirror.service.health import Problems
from s2mirror.service.processing import begin_processing
from s2mirror.service.unexpected import UnexpectedErrors, resource_error
from s2mirror.service.wiring import Mirror
from s2mirror.service.workers import Intervals, Workers
from s2mirror.steps.connections import Throttle
from s2mirror.stop import StopFlag

LACKS: dict[str, Callable[[], Exception]] = {
    "memory": MemoryError,
    "files": lambda: OSError(errno.EMFILE, "Too many open files"),
    "files of the system": lambda: OSError(errno.ENFILE, "Too many open files in system"),
    "pages": lambda: OSError(errno.ENOMEM, "Cannot allocate memory"),
    "processes": lambda: BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
    "threads": lambda: RuntimeError("can't start new thread"),
}


class Broken(Quiet):
    """Raises an error when bytes of some products arrive."""

    def __init__(self, error: Exception, *products: SandboxProduct) -> None:
        self._error = error
        self._ids = {product.id for product in products}

    def received(self, product_id: str, size_bytes: int) -> None:  # noqa: ARG002 - the port's
        if product_id in self._ids:
            raise self._error


def published(kit: Kit) -> list[SandboxProduct]:
    products = [tiny(day) for day in (27, 25, 23)]
    kit.sandbox.publish(products)
    kit.sections["download"] = "parallel_products = 1"
    return products


def attempts(kit: Kit, *products: SandboxProduct) -> list[tuple[str, int]]:
    return [(entry.state, entry.attempts) for entry in map(kit.entry, products)]


def test_unexpected_error_delays_its_product_only(kit: Kit) -> None:
    first, *others = published(kit)
    result = kit.cycle(progress=Broken(KeyError("a bug"), first))
    assert result.remaining
    assert sorted(result.archived) == sorted(product.id for product in others)
    assert attempts(kit, first) == [("queued", 0)]
    reason = kit.entry(first).reason
    assert reason.startswith("s2mirror had an unexpected error, probably a bug: KeyError('a bug')")
    assert "in service/cycle.py:" in reason
    assert kit.cycle().received_bytes == 0, "it waits"
    assert kit.cycle(kit.later()).exit_code == 0
    kit.assert_current(first, *others)


@pytest.mark.long
def test_same_error_with_two_products_pauses_everything(kit: Kit) -> None:
    products = published(kit)
    with pytest.raises(RepeatedError, match="2 products had the same unexpected error") as caught:
        kit.cycle(progress=Broken(KeyError("a bug"), *products))
    assert caught.value.exit_code == 70
    assert attempts(kit, *products) == [("queued", 0)] * 3
    assert kit.entry(products[-1]).reason == ""
    assert kit.cycle(kit.later()).exit_code == 0
    kit.assert_current(*products)


class BrokenThrottle(Throttle):
    """Raises an error when bytes of any product arrive."""

    def take(self, size_bytes: int, stop_receiving: StopFlag) -> None:  # noqa: ARG002
        raise KeyError("a bug")


def health_of(mirror: Mirror) -> tuple[str, ...]:
    """Return the first problems that the threads of a mirror report."""
    stop, problems = StopFlag(), Problems(mirror.ledger, mirror.now)
    workers = Workers(mirror, problems, Intervals(), stop)
    workers.start()
    try:
        wait_until(problems.texts, "a problem is reported")
    finally:
        stop.set()
        workers.end()
        wait_until(lambda: not workers.alive, "all workers have ended")
        workers.abandon()
    health = mirror.ledger.state.get(HEALTH)
    assert health is not None
    return tuple(problem.text for problem in health.problems)


def test_health_reports_the_error_of_two_products(kit: Kit) -> None:
    products = published(kit)
    mirror = replace(kit.mirror(), throttle=BrokenThrottle())
    for search in mirror.searches:
        mirror.poller().poll(search, StopFlag())
    mirror.enqueuer().enqueue(["zurich"], now=mirror.now())
    assert "2 products had the same unexpected error" in health_of(mirror)[0]
    assert attempts(kit, *products) == [("queued", 0)] * 3


@pytest.mark.long
@pytest.mark.parametrize("lack", LACKS)
def test_lack_of_a_resource_pauses_and_charges_nothing(kit: Kit, lack: str) -> None:
    products = published(kit)[:2]
    kit.sandbox.withdraw(tiny(23).id)
    error = LACKS[lack]()

    def trip() -> None:
        raise error

    # The archive, which writes at that time, reports EAGAIN as its own error, which pauses too.
    kind = ArchiveError if lack == "processes" else ResourceError
    with pytest.raises(kind, match=r"lacks memory, threads or open files|Resource temporarily"):
        kit.cycle(progress=OnFirstByte(trip))
    assert attempts(kit, *products) == [("queued", 0)] * 2
    assert kit.cycle().exit_code == 0
    kit.assert_current(*products)


@pytest.mark.long
def test_sync_without_file_descriptors_charges_nothing(kit: Kit) -> None:
    products = published(kit)
    kit.sections["process"] = 'command = ["/bin/true"]'
    for limit in range(12, 48, 3):
        shell = ["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *kit.command("sync")]
        done = subprocess.run(
            shell, env=kit.environment(), capture_output=True, timeout=PATIENCE_SECONDS, check=False
        )
        states = kit.states()
        assert b"this is a bug" not in done.stderr
        assert not {"failed", "quarantined"} & set(states.values()), done.stderr.decode()
        assert {kit.entry(product).attempts for product in products if product.id in states} <= {0}
    assert kit.cycle(kit.later()).exit_code == 0
    assert set(kit.states().values()) == {"processed"}
    kit.assert_invariants()


@pytest.mark.long
def test_lack_of_a_resource_pauses_the_hook(kit: Kit) -> None:
    product = published(kit)[0]
    assert kit.cycle().exit_code == 0
    kit.sections["process"] = 'command = ["/bin/false"]'
    error = LACKS["processes"]()

    def jitter() -> float:
        raise error

    mirror = replace(kit.mirror(), jitter=jitter)
    begin_processing(mirror)
    health = health_of(mirror)
    assert "this machine lacks memory, threads or open files" in health[0]
    assert attempts(kit, product) == [("archived", 0)]


def test_lack_behind_a_store_error_is_found() -> None:
    error = StoreUnavailable("cannot connect")
    assert resource_error(error) is None
    error.__context__ = OSError(errno.EMFILE, "Too many open files")
    assert resource_error(error) is not None
    error.__context__ = BlockingIOError(errno.EAGAIN, "no data yet")
    assert resource_error(error) is None
    error.__context__ = error
    assert resource_error(error) is None


def test_waits_of_an_unexpected_error_double() -> None:
    errors = UnexpectedErrors()
    found = [errors.record("a", KeyError()).retry_after_seconds for _ in range(10)]
    assert found == [300, 600, 1200, 2400, 4800, 9600, 19200, 21600, 21600, 21600]
    assert errors.note == ""
    errors.record("b", KeyError())
    assert errors.note.startswith("2 products had the same unexpected error")
    errors.forget("a")
    assert errors.note == ""


@pytest.mark.long
def test_odd_deletion_feed_does_not_end_sync(kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    for body in (
        b'{"value": [{"Name": "x", "DeletionDate": "9999-12-31T23:59:59-14:00"}]}',
        b'{"value": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"value": [{"Name": "\\ud800", "DeletionDate": "2026-05-01T00:00:00Z"}]}',
    ):
        kit.sandbox.odata_proxy.inject(Fault(answer=Answer(status=200, body=body)))
        assert kit.cycle().exit_code in (0, 3)
    assert kit.states() == {product.id: "archived"}
