"""A store that asks for fewer requests: the whole account waits, and one request goes first."""

import threading
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import structlog
from builders import NOW
from kit import Kit, tiny, wait_until
from structlog.testing import capture_logs

from s2mirror.adapters.ledger import open_ledger
from s2mirror.errors import StoreBusy
from s2mirror.model import Listing, RemoteFile
from s2mirror.planning.store_backoff import BackoffPolicy
from s2mirror.ports import Bytes
from s2mirror.sandbox import Answer, Fault
from s2mirror.service.account import read_backoff
from s2mirror.service.judgement import judge
from s2mirror.service.store_backoff import BackoffStore, Surroundings
from s2mirror.stop import StopFlag

SLOW_DOWN = Answer(body=b"<?xml version='1.0'?><Error><Code>SlowDown</Code></Error>")
LISTING = r"list-type=2.*prefix="
QUEUED = [f"product-{number}" for number in range(24)]


@dataclass
class FakeStore:
    """A store that refuses every request while it is busy."""

    busy: bool = True
    asks_seconds: float | None = None
    requests: int = 0
    open: int = 0
    most_open: int = 0
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def probe(self) -> None:
        self.list_product("")

    def list_product(self, s3_prefix: str) -> Listing:  # noqa: ARG002 - the port's
        self.requests += 1
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        self.gate.wait(30)
        self.open -= 1
        if self.busy:
            raise StoreBusy("SlowDown", retry_after_seconds=self.asks_seconds)
        return Listing(files=(), folders=())

    def wait_seconds(self) -> float:
        return 0.0

    def read(self, file: RemoteFile, *, start_byte: int = 0) -> Generator[Bytes, None, None]:
        self.list_product(file.key)
        yield b"x" * (file.size_bytes - start_byte)


class VirtualTime(StopFlag):
    """A clock that only waits advance."""

    def __init__(self) -> None:
        super().__init__()
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    def wait(self, timeout_seconds: float) -> bool:
        self.at += timedelta(seconds=timeout_seconds)
        return False


@dataclass
class Account:
    """A store with back-off on a ledger, in virtual time."""

    folder: Path
    inner: FakeStore = field(default_factory=FakeStore)
    time: VirtualTime = field(default_factory=VirtualTime)

    def open(self) -> BackoffStore:
        """Return the store, as every process that starts has it."""
        around = Surroundings(now=self.time.now, jitter=lambda: 0.5, stop=self.time)
        ledger = open_ledger(self.folder / "ledger.sqlite")
        return BackoffStore(self.inner, ledger, BackoffPolicy(), around)


@pytest.fixture
def account(tmp_path: Path) -> Account:
    structlog.reset_defaults()  # another test's log level would hide lines
    return Account(tmp_path)


def test_24_products_send_few_refused_requests(account: Account) -> None:
    store = account.open()
    with capture_logs() as logs:
        while account.time.at < NOW + timedelta(hours=3):
            for name in QUEUED:
                with suppress(StoreBusy):
                    store.list_product(name)
            account.time.wait(20)
    assert 40 < account.inner.requests < 70
    events = [line["event"] for line in logs]
    assert events == ["store.throttled", "store.still_throttled", "store.still_throttled"]
    assert logs[-1]["since"] == NOW.isoformat()


def test_recovery_is_logged_once_and_resets(account: Account) -> None:
    store = account.open()
    with suppress(StoreBusy):
        store.list_product("a")
    account.inner.busy = False
    with capture_logs() as logs:
        for name in QUEUED:
            store.list_product(name)
    assert [line["event"] for line in logs] == ["store.recovered"]
    assert (store.busy_seconds(), account.inner.requests) == (0, 1 + len(QUEUED))


def test_other_process_and_restart_respect_backoff(account: Account) -> None:
    running = account.open()
    account.inner.asks_seconds = 120
    with suppress(StoreBusy):
        account.open().list_product("a")
    assert running.busy_seconds() == 120
    for store in (running, account.open()):
        with pytest.raises(StoreBusy) as caught:
            store.list_product("a")
        assert caught.value.retry_after_seconds == 120
    assert account.inner.requests == 1


def test_one_probe_is_sent_at_a_time(tmp_path: Path) -> None:
    account = Account(tmp_path)
    store = account.open()
    with suppress(StoreBusy):
        store.list_product("a")
    account.time.wait(1)
    account.inner.gate.clear()
    account.inner.busy = False
    threads = [threading.Thread(target=store.list_product, args=(name,)) for name in QUEUED]
    for thread in threads:
        thread.start()
    wait_until(lambda: account.inner.open, "a probe is sent")
    assert store.busy_seconds() > 0
    assert account.inner.most_open == 1
    account.inner.gate.set()
    for thread in threads:
        thread.join()
    assert account.inner.requests == 1 + len(QUEUED)


def test_older_requests_do_not_escalate_or_reset(account: Account) -> None:
    store = account.open()
    account.inner.gate.clear()

    def ask() -> None:
        with suppress(StoreBusy):
            store.list_product("a")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: account.inner.open == 4, "four requests are under way")
    account.inner.gate.set()
    for thread in threads:
        thread.join()
    assert store.busy_seconds() == 0.75  # as after one refusal


def test_refused_read_counts_as_refusal(account: Account) -> None:
    store = account.open()
    file = RemoteFile(path="a", key="a", size_bytes=3, etag="e")
    with pytest.raises(StoreBusy):
        [*store.read(file)]
    assert store.busy_seconds() == 0.75
    account.inner.busy = False
    assert b"".join(store.read(file, start_byte=1)) == b"xx"
    assert store.busy_seconds() == 0


@pytest.mark.long
def test_throttled_account_keeps_its_products_queued(kit: Kit) -> None:
    kit.sections["store"] = 'busy_wait = "3 min"'
    products = [tiny(day) for day in range(1, 9)]
    kit.sandbox.publish(products)
    fault = Fault(path=LISTING, answer=SLOW_DOWN, times=None)
    kit.sandbox.s3_proxy.inject(fault)
    traffic, in_flight = kit.sandbox.s3_proxy.traffic, 2
    assert kit.cycle().exit_code == 1
    first = traffic.count(LISTING)
    assert 1 <= first <= in_flight
    assert kit.cycle().exit_code == 1  # a new process
    assert traffic.count(LISTING) == first
    assert kit.cycle(kit.later(minutes=10)).exit_code == 1
    assert traffic.count(LISTING) <= first + in_flight
    assert set(kit.states().values()) == {"queued"}
    assert {kit.entry(product).attempts for product in products} == {0}
    mirror = kit.later(minutes=10)
    codes = [
        found.code for found in judge(mirror.settings, mirror.ledger, now=mirror.now()).findings
    ]
    assert "store.throttled" in codes


@pytest.mark.long
def test_daemon_probes_busy_store_and_recovers(kit: Kit) -> None:
    kit.sections["store"] = 'busy_wait = "500 ms"\nbusy_wait_cap = "4 s"'
    kit.sections["download"] = 'backoff = "1 s"\nbackoff_cap = "1 s"'
    kit.sandbox.publish([tiny(day) for day in range(1, 9)])
    kit.sandbox.s3_proxy.inject(Fault(path=LISTING, answer=SLOW_DOWN, times=None))
    daemon, ledger = kit.start("run"), kit.mirror().ledger
    wait_until(lambda: (found := read_backoff(ledger)) and found.refused_count >= 6, "6 refused")
    refused = read_backoff(ledger)
    assert refused is not None
    in_flight = 4
    assert kit.sandbox.s3_proxy.traffic.count(LISTING) <= refused.refused_count + in_flight
    kit.sandbox.s3_proxy.reset()
    wait_until(lambda: set(kit.states().values()) == {"archived"}, "all products are archived")
    daemon.terminate()
    said, _ = daemon.communicate()
    counts = [said.count(f'"event": "{name}"') for name in ("store.throttled", "store.recovered")]
    assert (counts, said.count("SlowDown")) == ([1, 1], 1)
