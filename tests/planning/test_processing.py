"""The order of processing entries, and when a product is processed."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from s2mirror.planning.processing import (
    ProcessingEntry,
    applying,
    command_line,
    is_processed,
    outcome_of,
    planned,
    state_after,
)
from s2mirror.process_model import RunOutcome, RunState

LIMIT = 3


@st.composite
def graphs(draw: st.DrawFn) -> tuple[ProcessingEntry, ...]:
    """Return entries of which each needs some earlier ones, in any order."""
    count = draw(st.integers(1, 6))
    entries = []
    for number in range(count):
        earlier = [f"e{n}" for n in range(number)]
        needs = draw(st.lists(st.sampled_from(earlier), unique=True)) if earlier else []
        areas = draw(st.sets(st.sampled_from(["lake", "alps"])))
        entries.append(
            ProcessingEntry(name=f"e{number}", needs=tuple(needs), areas=frozenset(areas))
        )
    return tuple(draw(st.permutations(entries)))


ENDS = st.sampled_from([one for one in RunOutcome if one is not RunOutcome.RUNNING])


@given(entries=graphs(), ends=st.lists(ENDS, max_size=60), choices=st.randoms())
def test_needs_hold_in_every_order_of_ends(
    entries: tuple[ProcessingEntry, ...],
    ends: list[RunOutcome],
    choices: Random,
) -> None:
    mine = applying(entries, "sentinel-2-l2a", ["lake"])
    names, failures = {entry.name for entry in mine}, dict.fromkeys((e.name for e in mine), 0)
    states = planned(mine, {})
    for outcome in ends:
        due = [n for n, s in states.items() if s in (RunState.WAITING, RunState.LATER)]
        if not due:
            break
        name = choices.choice(sorted(due))
        needed = next(entry for entry in mine if entry.name == name).needs
        assert all(states[n] is RunState.DONE for n in needed if n in names), "too early"
        failures[name] += outcome in (RunOutcome.FAILED, RunOutcome.INTERRUPTED)
        after = state_after(outcome, failures[name], LIMIT)
        assert (after is RunState.FAILED) <= (failures[name] >= LIMIT)
        states = planned(mine, {**states, name: after})
        assert planned(mine, states) == states, "a second plan changes nothing"
    assert is_processed(mine, states) == (
        bool(mine) and all(state is RunState.DONE for state in states.values())
    )


@given(entries=graphs())
def test_every_graph_ends_with_all_done(entries: tuple[ProcessingEntry, ...]) -> None:
    mine = applying(entries, "sentinel-2-l1c", ["alps"])
    states = planned(mine, {})
    for _ in mine:
        ready = [name for name, state in states.items() if state is RunState.WAITING]
        states = planned(mine, {**states, **dict.fromkeys(ready, RunState.DONE)})
    assert set(states.values()) <= {RunState.DONE}
    assert is_processed(mine, states) is bool(mine)


def test_product_without_an_entry_is_never_processed() -> None:
    only = ProcessingEntry(name="only", collections=frozenset({"sentinel-2-l1c"}))
    assert applying([only], "sentinel-2-l2a", ["lake"]) == ()
    assert not is_processed((), {"only": RunState.DONE})


def test_states_of_a_removed_entry_are_left_out() -> None:
    kept = ProcessingEntry(name="kept", needs=("gone",))
    before = {"gone": RunState.FAILED, "ran": RunState.RUNNING, "was": RunState.DONE}
    after = {"kept": RunState.WAITING, "ran": RunState.RUNNING, "was": RunState.DONE}
    assert planned([kept], before) == after


def test_exit_codes_and_stops_have_their_outcomes() -> None:
    assert outcome_of(0, stopped=True) is RunOutcome.DONE
    assert outcome_of(75, stopped=False) is RunOutcome.LATER
    assert outcome_of(75, stopped=True) is RunOutcome.STOPPED
    assert outcome_of(None, stopped=False) is RunOutcome.FAILED
    assert state_after(RunOutcome.LATER, LIMIT, LIMIT) is RunState.LATER
    assert state_after(RunOutcome.INTERRUPTED, 1, LIMIT) is RunState.WAITING
    assert state_after(RunOutcome.INTERRUPTED, LIMIT, LIMIT) is RunState.FAILED


def test_placeholders_in_values_stay() -> None:
    values = {"path": "/a/{id}", "id": "S2A"}
    assert command_line(["{path}-{id}", "{x}"], values) == ["/a/{id}-S2A", "{x}"]
