"""The metrics of processing entries: their runs, how long these took, and what waits."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.totals import PROCESS_MILLISECONDS, PROCESS_RUNS
from s2mirror.config import Settings
from s2mirror.process_model import RunOutcome, RunState

_ENDS: Final = tuple(one for one in RunOutcome if one is not RunOutcome.RUNNING)
_OPEN: Final = tuple(one for one in RunState if one is not RunState.DONE)


def process_families(settings: Settings, ledger: Ledger) -> Iterator[Metric]:
    """Yield the metrics of every configured entry."""
    names = [entry.name for entry in settings.process]
    if not names:
        return
    counted = ledger.totals.counted(PROCESS_RUNS)
    runs = CounterMetricFamily(
        "s2mirror_process_runs",
        "Runs of processing entries by outcome, since the ledger was created.",
        labels=["entry", "outcome"],
    )
    for name in names:
        for outcome in _ENDS:
            runs.add_metric([name, outcome], counted.get(f"{name} {outcome}", 0))
    yield runs
    taken = ledger.totals.counted(PROCESS_MILLISECONDS)
    seconds = CounterMetricFamily(
        "s2mirror_process_run_seconds",
        "Time that runs of processing entries took, since the ledger was created.",
        labels=["entry"],
    )
    for name in names:
        seconds.add_metric([name], taken.get(name, 0) / 1000)
    yield seconds
    yield _products(names, ledger)


def _products(names: list[str], ledger: Ledger) -> Metric:
    states = ledger.process_reports.open()
    products = GaugeMetricFamily(
        "s2mirror_process_products",
        "Products for which a processing entry is not done, by the state of the entry.",
        labels=["entry", "state"],
    )
    for name in names:
        for state in _OPEN:
            products.add_metric([name, state], states.get((name, state), 0))
    return products
