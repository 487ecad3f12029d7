"""No product is missed after any change upstream and any interruption of a poll."""

import re
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from discovery_kit import DAY, ELSEWHERE, HOUR, NOW, FakeCatalog, product, watch_of
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from s2mirror.errors import CatalogError
from s2mirror.geometry import pack
from s2mirror.steps.listing import Windows
from s2mirror.steps.poll import PollResult

OVERLAP = 24 * HOUR
"""The next poll finds times that are late by less; the next sweep finds the others."""
HOURS = st.integers(0, 60 * 24)


class Discovery(RuleBasedStateMachine):
    """A catalog that changes, and a search with its own clock."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory()
        self.catalog = FakeCatalog(page_items=3, cap=65)
        self.watch = watch_of(
            Path(self._folder.name),
            self.catalog,
            overlap=OVERLAP,
            windows=Windows(items=9, cap_items=60),
        )
        self.now = NOW
        self.clock_wrong = timedelta()
        self.visible_at: dict[str, datetime] = {}
        self.full_sweep_began_at = NOW
        self.watermark: datetime | None = None
        self.count = 0

    @initialize(count=st.integers(10, 40))
    def fill(self, count: int) -> None:
        for number in range(count):
            hours = number // 4 * 20
            self._list(self.now - (hours + 4) * HOUR, self.now - hours * HOUR)

    def teardown(self) -> None:
        """At the end, every item of the catalog that is in scope is in the ledger.

        An interrupted sweep continues at its position: the sweep after it finds products that are
        published late before that position.
        """
        self.clock_wrong = timedelta()
        polls = [self._poll_later(), self._poll_later()]
        if all(polls):
            assert set(self.wanted) <= self.watch.known
        self.watch.ledger.close()
        self._folder.cleanup()

    def _poll_later(self) -> bool:
        self.now += 8 * DAY
        return self._poll()

    @property
    def wanted(self) -> list[str]:
        """The items of the catalog in the area."""
        return [found.id for found in self.catalog.products.values() if found.tile == "32TMT"]

    def _list(self, sensed_at: datetime, published_at: datetime, **changes: Any) -> None:  # noqa: ANN401 - Product's fields
        self.count += 1
        # A datatake has many products with one sensing time.
        sensed_at = sensed_at.replace(minute=0, second=0)
        found = product(sensed_at, published_at, self.count, **changes)
        self.catalog.add(found)
        self.visible_at[found.id] = self.now

    @rule(hours_ago=HOURS, count=st.integers(1, 12))
    def publish(self, hours_ago: int, count: int) -> None:
        for number in range(count):
            self._list(self.now - (hours_ago + number // 3) * HOUR, self.now)

    @rule(hours_ago=HOURS, late_hours=st.integers(0, 200))
    def publish_late(self, hours_ago: int, late_hours: int) -> None:
        self._list(self.now - (late_hours + hours_ago) * HOUR, self.now - late_hours * HOUR)

    @rule(hours_ago=HOURS, days_ahead=st.integers(3, 3000))
    def publish_with_a_stamp_from_the_future(self, hours_ago: int, days_ahead: int) -> None:
        self._list(self.now - hours_ago * HOUR, self.now + days_ahead * DAY)

    @rule(hours_ago=HOURS)
    def publish_elsewhere(self, hours_ago: int) -> None:
        self._list(
            self.now - hours_ago * HOUR, self.now, tile="48PXX", footprint_wkb=pack(ELSEWHERE)
        )

    @rule(data=st.data())
    def revise(self, data: st.DataObject) -> None:
        if self.catalog.products:
            name = data.draw(st.sampled_from(sorted(self.catalog.products)))
            before = self.catalog.products[name]
            number = self.count = self.count + 1
            del self.catalog.products[name]
            self.catalog.add(
                product(
                    before.sensed_at,
                    self.now,
                    id=name,
                    tile=before.tile,
                    footprint_wkb=before.footprint_wkb,
                    revision=f"d50110{number:04d}",
                )
            )

    @rule(data=st.data())
    def delete_upstream(self, data: st.DataObject) -> None:
        if self.catalog.products:
            del self.catalog.products[data.draw(st.sampled_from(sorted(self.catalog.products)))]

    @rule()
    def reorder_ties(self) -> None:
        self.catalog.ties_backwards = not self.catalog.ties_backwards

    @rule(hours=st.integers(1, 240))
    def advance_clock(self, hours: int) -> None:
        self.now += hours * HOUR

    @rule(hours=st.integers(-24, 24))
    def set_clock_wrong(self, hours: int) -> None:
        self.clock_wrong = hours * HOUR

    @rule(pages=st.integers(1, 8))
    def crash_in_mid_poll(self, pages: int) -> None:
        self._crash(pages)

    @rule(pages=st.integers(3, 12))
    def crash_in_mid_sweep(self, pages: int) -> None:
        self.now += 8 * DAY
        self._crash(pages)

    @rule()
    def poll(self) -> None:
        self._poll()

    @rule()
    def sweep(self) -> None:
        self.now += 8 * DAY
        self._poll()

    def _crash(self, pages: int) -> None:
        self._begin()
        with suppress(CatalogError):
            result = self.watch.crash(after_page=pages)
            if result is not None:
                self._completed(result)

    def _poll(self) -> bool:
        """Poll; return whether the listing was complete."""
        self._begin()
        try:
            self._completed(self.watch.poll())
        except CatalogError as error:
            # More items of one time than can be listed, or almost all deleted upstream.
            if re.search("may have omitted others|implausible", str(error)):
                return False
            raise
        return True

    def _begin(self) -> None:
        self.now += timedelta(seconds=1)
        self.watch.now = self.now + self.clock_wrong
        states = self.watch.ledger.sweeps.states(self.watch.search.key)
        if not any(s.kind == "full" and s.under_way for s in states.values()):
            self.full_sweep_began_at = self.now

    def _completed(self, result: PollResult) -> None:
        known = self.watch.known
        for name in self.wanted:
            found, visible_at = self.catalog.products[name], self.visible_at[name]
            late_by = visible_at - found.published_at
            if late_by < OVERLAP:
                assert name in known, "published in time, and not found by a complete poll"
            if result.sweep == "full" and visible_at < self.full_sweep_began_at:
                assert name in known, "there when a full sweep began, and not found by it"

    @invariant()
    def the_watermark_never_goes_back_nor_ahead_of_the_clock(self) -> None:
        before, self.watermark = self.watermark, self.watch.watermark
        if self.watermark is not None:
            assert before is None or self.watermark >= before
            assert self.watermark <= self.now + DAY

    @invariant()
    def nothing_is_ever_forgotten_or_removed(self) -> None:
        counts = self.watch.ledger.products.counts()
        assert {str(state) for state in counts} <= {"discovered"}


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Discovery,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, database=None
        ),
    )


@pytest.mark.long
def test_no_sequence_of_events_misses_a_product() -> None:
    run(examples=10, steps=20)


@pytest.mark.long
def test_no_long_sequence_of_events_misses_a_product() -> None:
    run(examples=400, steps=40)
