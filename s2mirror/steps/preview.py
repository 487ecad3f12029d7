"""Make the previews that are due, of products and of areas. No download waits for them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import area_preview_key
from s2mirror.area import WatchArea
from s2mirror.errors import (
    CredentialError,
    MirrorError,
    PreviewError,
    QuotaError,
    TokenError,
    UsageError,
)
from s2mirror.lifecycle import HELD
from s2mirror.model import LedgerEntry
from s2mirror.planning.previews import PreviewRule, PreviewTask, of_area, preview_tasks
from s2mirror.planning.retry import RetryPolicy, next_attempt_at
from s2mirror.preview_model import Outcome, Preview, PreviewSource
from s2mirror.steps.preview_files import PreviewMaker
from s2mirror.stop import StopFlag

BATCH: Final = 100
"""The largest number of products in one run."""
_SHARED_ERRORS: Final = (CredentialError, TokenError, QuotaError)
"""Errors of the service or the account: for a while, no image can be rendered."""
_REST: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When to make an area's own previews, and from which images."""

    every: timedelta
    window: timedelta
    """How old the images of the preview may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Previewer:
    """Makes the previews that are due, and defers or records those that fail."""

    ledger: Ledger
    maker: PreviewMaker
    rules: Mapping[str, PreviewRule]
    """By area."""
    areas: Mapping[str, WatchArea]
    """By name."""
    schedule: Schedule | None
    policy: RetryPolicy
    now: Callable[[], datetime]
    jitter: Callable[[], float]

    def make_due(self, stop: StopFlag) -> Iterator[Preview]:
        """Make the previews that are due; yield the result of each.

        A preview that fails is tried again later, or recorded with its reason; the others are made.
        If no image can be rendered by the service, the previews without cost are made, and the
        reason is raised at the end: CredentialError, TokenError, QuotaError or PreviewUnavailable.
        """
        run = _Run(self, stop)
        yield from run.make_products()
        yield from run.make_areas()
        if run.trouble is not None:
            raise run.trouble


class _Run:
    """One run over the previews that are due."""

    def __init__(self, previewer: Previewer, stop: StopFlag) -> None:
        self._previewer = previewer
        self._previews = previewer.ledger.previews
        self._stop = stop
        self.trouble: MirrorError | None = None

    def make_products(self) -> Iterator[Preview]:
        """Make the due previews of products, newest first."""
        due = self._previews.due(self._previewer.now(), BATCH)
        entries = self._previewer.ledger.products.find(due)
        for product_id, attempts in due.items():
            yield from self._make_all(entries[product_id], attempts)

    def make_areas(self) -> Iterator[Preview]:
        """Make the previews of areas that are due; one that fails stays due."""
        schedule, now = self._previewer.schedule, self._previewer.now()
        if schedule is None:
            return
        for name, rule in self._previewer.rules.items():
            key = area_preview_key(name)
            last = self._previewer.ledger.state.get(key)
            is_due = last is None or now - last >= schedule.every
            if rule.source is PreviewSource.PROCESS and is_due and self.trouble is None:
                task = of_area(self._previewer.areas[name], rule, (now - schedule.window, now))
                for preview in self._try(task, final=False):
                    self._previewer.ledger.state.set(key, now)
                    yield preview

    def _make_all(self, entry: LedgerEntry, attempts: int) -> Iterator[Preview]:
        """Make every preview of a product that its areas want and that does not exist yet."""
        rules, areas = self._previewer.rules, self._previewer.areas
        tasks = preview_tasks(entry, rules, areas) if entry.state in HELD else ()
        missing = [w for w in tasks if w.name not in self._previews.of(w.subject)]
        failed = 0
        for task in missing:
            made = list(self._try(task, final=attempts + 1 >= self._previewer.policy.max_attempts))
            failed += not made
            yield from made
        if failed:
            self._later(entry.product.id, attempts)
        else:
            self._previews.settle(entry.product.id)

    def _try(self, task: PreviewTask, *, final: bool) -> Iterator[Preview]:
        """Yield the result of a preview; nothing, if it is tried again later."""
        self._stop.raise_if_set()
        if self.trouble is not None and task.rule.source is PreviewSource.PROCESS:
            return
        try:
            yield self._previewer.maker.make(task, self._stop)
        except _SHARED_ERRORS as error:
            self.trouble = error
        except (PreviewError, UsageError) as error:
            if error.transient and not getattr(error, "units", 0.0):
                self.trouble = error
            elif final or not error.transient:
                yield self._failed(task, error)

    def _failed(self, task: PreviewTask, error: MirrorError) -> Preview:
        preview = self._previewer.maker.outcome(task, Outcome.FAILED, reason=str(error))
        self._previews.record(preview)
        return preview

    def _later(self, product_id: str, attempts: int) -> None:
        """Schedule another attempt; errors of service or account do not count."""
        previewer = self._previewer
        now = previewer.now()
        if self.trouble is not None:
            self._previews.later(product_id, attempts=attempts, next_attempt_at=now + _REST)
            return
        at = next_attempt_at(attempts + 1, previewer.policy, now=now, jitter=previewer.jitter())
        self._previews.later(product_id, attempts=attempts + 1, next_attempt_at=at)
