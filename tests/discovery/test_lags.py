"""The lags of new images: counted once per area, and never for a backfill."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from discovery_kit import DAY, HOUR, MINUTE, NOW, FakeCatalog, Watch, area, product, search_for
from discovery_kit import watch_of as new_watch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2mirror.adapters.ledger.lags import UPPER_BOUNDS_SECONDS, Lag, LagHistogram
from s2mirror.lifecycle import Event
from s2mirror.model import Product, Transition

WEST, EAST = area("west"), area("east")


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    """Return a search of two areas whose backfill is complete."""
    catalog = FakeCatalog()
    catalog.add(*(product(NOW - n * DAY) for n in (1, 40, 400)))
    found = new_watch(tmp_path, catalog, search=search_for(WEST, EAST))
    found.poll()
    return found


def lags(watch: Watch, name: str = "west") -> dict[Lag, LagHistogram]:
    return {found.lag: found for found in watch.ledger.lags.histograms() if found.area == name}


def publish(watch: Watch, *new: Product) -> None:
    assert isinstance(watch.catalog, FakeCatalog)
    watch.catalog.add(*new)


def archive(watch: Watch, product_id: str, at: datetime) -> None:
    products = watch.ledger.products
    for event in (Event.ENQUEUE, Event.CLAIM, Event.VERIFY, Event.PUBLISH):
        products.advance(products.get(product_id), Transition(event=event), now=at)


def test_backfill_counts_no_lag(watch: Watch) -> None:
    assert watch.known
    archive(watch, product(NOW - DAY).id, NOW + HOUR)
    assert watch.ledger.lags.histograms() == ()


def test_new_image_counts_three_lags(watch: Watch) -> None:
    new = product(NOW - 3 * HOUR, NOW + MINUTE)
    publish(watch, new)
    watch.now += 20 * MINUTE
    watch.poll()
    archive(watch, new.id, watch.now + 2 * HOUR)
    for name in ("west", "east"):
        found = lags(watch, name)
        assert {lag: (h.count, h.sum_seconds) for lag, h in found.items()} == {
            Lag.SENSED_TO_PUBLISHED: (1, 181 * 60),
            Lag.PUBLISHED_TO_SEEN: (1, 19 * 60),
            Lag.SEEN_TO_ARCHIVED: (1, pytest.approx(7200, abs=0.01)),
        }
        assert found[Lag.SENSED_TO_PUBLISHED].median_at_most_seconds == 6 * 3600
        assert found[Lag.PUBLISHED_TO_SEEN].median_at_most_seconds == 1800


def test_second_listing_counts_no_lag_again(watch: Watch) -> None:
    publish(watch, product(NOW - 3 * HOUR, NOW + MINUTE))
    for _ in range(3):
        watch.now += 8 * DAY  # with sweeps
        watch.poll()
    assert [found.count for found in lags(watch).values()] == [1, 1]


def test_republished_image_counts_no_second_archiving(watch: Watch) -> None:
    new = product(NOW - 3 * HOUR, NOW + MINUTE)
    publish(watch, new)
    watch.now += HOUR
    watch.poll()
    archive(watch, new.id, watch.now)
    publish(watch, replace(new, revision="d50110bb", published_at=NOW + 2 * HOUR))
    watch.now += 2 * HOUR
    watch.poll()
    products = watch.ledger.products
    for event in (Event.CLAIM, Event.VERIFY, Event.PUBLISH):
        products.advance(products.get(new.id), Transition(event=event), now=watch.now)
    assert lags(watch)[Lag.SEEN_TO_ARCHIVED].count == 1


def test_changed_area_is_watched_anew(watch: Watch) -> None:
    publish(watch, product(NOW - 3 * HOUR, NOW + MINUTE))
    watch.ledger.coverage.forget("west")  # as rescope does for a changed area
    watch.search = search_for(area("west", min_baseline="01.00"), EAST)
    watch.now += HOUR
    watch.poll()
    assert not lags(watch)
    publish(watch, product(NOW, watch.now + MINUTE, 1))
    watch.now += HOUR
    watch.poll()
    assert lags(watch)[Lag.PUBLISHED_TO_SEEN].count == 1


def test_unneeded_product_awaits_no_archiving(watch: Watch) -> None:
    new = product(NOW - 3 * HOUR, NOW + MINUTE)
    publish(watch, new)
    watch.now += HOUR
    watch.poll()
    products = watch.ledger.products
    products.advance(products.get(new.id), Transition(event=Event.WITHDRAW), now=watch.now)
    assert watch.ledger.connection.query("SELECT * FROM lag_due") == []


def test_damaged_row_delays_no_publication(watch: Watch) -> None:
    new = product(NOW - 3 * HOUR, NOW + MINUTE)
    publish(watch, new)
    watch.now += HOUR
    watch.poll()
    watch.ledger.connection.execute("UPDATE lag_due SET seen_at = 'x'")
    watch.ledger.connection.execute("UPDATE coverage SET watched_since = 'x'")
    archive(watch, new.id, watch.now)
    assert watch.ledger.products.get(new.id).state == "archived"
    assert Lag.SEEN_TO_ARCHIVED not in lags(watch)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    """Return a search of an area that is watched from now on."""
    watch = new_watch(tmp_path_factory.mktemp("lags"), FakeCatalog(), search=search_for(WEST))
    search = watch.search
    watch.ledger.coverage.note(search.collection, search.fingerprints, search.key, now=NOW)
    return watch


@settings(max_examples=15, deadline=None)
@given(seconds=st.lists(st.floats(0, 10**7), min_size=1, max_size=20))
def test_every_lag_is_in_its_bucket(watched: Watch, seconds: list[float]) -> None:
    new = [product(NOW, NOW + timedelta(seconds=s), n) for n, s in enumerate(seconds)]
    with watched.ledger.connection.atomic():
        watched.ledger.connection.execute("DELETE FROM lag")
        watched.ledger.lags.note_seen(new, {found.id: ["west"] for found in new}, now=NOW)
        found = lags(watched)[Lag.SENSED_TO_PUBLISHED]
    for place, bound in enumerate(UPPER_BOUNDS_SECONDS):
        below = sum(timedelta(seconds=s).total_seconds() <= bound for s in seconds)
        assert sum(found.counts[: place + 1]) == below
    assert (found.count, sum(found.counts)) == (len(seconds), len(seconds))
    assert found.sum_seconds == pytest.approx(sum(seconds), abs=0.001)
    middle = sorted(seconds)[(len(seconds) - 1) // 2]
    most = found.median_at_most_seconds
    assert middle > UPPER_BOUNDS_SECONDS[-1] if most is None else middle <= most
