"""Which baseline replaces which, for baselines of every number."""

from datetime import timedelta
from itertools import permutations

import pytest
from builders import NOW
from hypothesis import assume, given
from hypothesis import strategies as st
from planning_builders import entry, hours

from s2mirror.lifecycle import State
from s2mirror.model import LedgerEntry, SupersedePolicy
from s2mirror.planning.supersede import plan_supersede, waiting_for_better

SENSED_AT = NOW - timedelta(days=700)
ORDINARY = st.integers(200, 8999).map(lambda number: f"{number // 100:02d}.{number % 100:02d}")
SPECIAL = st.integers(9000, 9999).map(lambda number: f"{number // 100:02d}.{number % 100:02d}")
AGES = st.integers(0, 1000)


def version(baseline: str, *, age_hours: int = 0, state: State = State.ARCHIVED) -> LedgerEntry:
    return entry(
        f"S2C_N{baseline.replace('.', '')}_{age_hours}",
        state=state,
        baseline=baseline,
        sensed_at=SENSED_AT,
        generated_at=NOW - hours(age_hours),
        published_at=NOW - hours(age_hours),
    )


def replaced(*entries: LedgerEntry) -> dict[str, str]:
    """Return, by the replaced baseline, the one that replaces it."""
    found = plan_supersede(entries, SupersedePolicy.NEWEST, timedelta())
    return {one.old.product.baseline: one.new.product.baseline for one in found}


@pytest.mark.parametrize("order", list(permutations(("05.10", "05.11", "99.05"))))
def test_tandem_reissue_replaces_commissioning_and_first_issue(order: tuple[str, ...]) -> None:
    ages = {"05.10": 900, "99.05": 500, "05.11": 1}
    found = replaced(*(version(baseline, age_hours=ages[baseline]) for baseline in order))
    assert found == {"05.10": "05.11", "99.05": "05.11"}


def test_commissioning_baselines_replace_not_even_each_other() -> None:
    assert replaced(version("99.05", age_hours=9), version("99.06")) == {}


@given(special=SPECIAL, other=ORDINARY | SPECIAL, ages=st.tuples(AGES, AGES))
def test_special_baseline_never_replaces_any(
    special: str, other: str, ages: tuple[int, int]
) -> None:
    new, old = version(special, age_hours=ages[0]), version(other, age_hours=ages[1])
    assert special not in replaced(new, old).values()
    pending = version(special, age_hours=ages[0], state=State.QUEUED)
    found = version(other, age_hours=ages[1], state=State.DISCOVERED)
    assert found.product.id not in waiting_for_better([pending, found], SupersedePolicy.NEWEST)


@given(one=ORDINARY, other=ORDINARY, ages=st.tuples(AGES, AGES))
def test_higher_unknown_baseline_replaces_lower_one(
    one: str, other: str, ages: tuple[int, int]
) -> None:
    assume(one != other)
    low, high = sorted((one, other))
    found = replaced(version(one, age_hours=ages[0]), version(other, age_hours=ages[1]))
    assert found == {low: high}
