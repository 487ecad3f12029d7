import itertools

import pytest

from s2mirror.errors import IllegalTransition
from s2mirror.lifecycle import (
    GONE,
    HELD,
    IN_PROGRESS,
    PENDING,
    TRANSITIONS,
    TROUBLED,
    WAITING,
    Event,
    State,
    advance,
    sources,
)

OUTSIDE = [pair for pair in itertools.product(State, Event) if pair not in TRANSITIONS]


@pytest.mark.parametrize(("state", "event"), OUTSIDE)
def test_pairs_outside_the_table_are_refused(state: State, event: Event) -> None:
    roads = ", ".join(known.value for from_state, known in TRANSITIONS if from_state is state)
    with pytest.raises(IllegalTransition) as caught:
        advance(state, event)
    assert str(caught.value) == (
        f"cannot {event} a product that is {state}; possible here: {roads or 'nothing'}"
    )


@pytest.mark.parametrize(("state", "event"), TRANSITIONS)
def test_pairs_of_the_table_are_transitions(state: State, event: Event) -> None:
    assert advance(state, event) is TRANSITIONS[state, event]


def test_each_state_belongs_to_one_group() -> None:
    groups = (WAITING, IN_PROGRESS, HELD, TROUBLED, GONE)
    assert sorted(itertools.chain.from_iterable(groups)) == sorted(State)
    assert PENDING == WAITING | IN_PROGRESS


def test_held_products_are_those_in_the_archive_tree() -> None:
    assert {State.ARCHIVED, State.PROCESSED} == HELD


def test_only_proven_products_enter_the_archive_tree() -> None:
    ways_in = {pair for pair, target in TRANSITIONS.items() if target in HELD}
    adopted = {pair for pair in ways_in if pair[1] is Event.ADOPT}
    restored = {pair for pair in ways_in if pair[1] is Event.RESTORE}
    others = {(State.VERIFIED, Event.PUBLISH), (State.ARCHIVED, Event.MARK)}
    assert ways_in - adopted - restored == others
    assert {state for state, _ in restored} == {*TROUBLED, *GONE}
    assert {state for state, _ in adopted} == {*WAITING, *TROUBLED, *GONE}


def test_every_state_can_be_reached_from_discovered() -> None:
    reached = {State.DISCOVERED}
    for _ in State:
        reached |= {target for (state, _), target in TRANSITIONS.items() if state in reached}
    assert reached == set(State)


def test_no_state_is_final() -> None:
    assert set(State) == {state for state, _ in TRANSITIONS}


@pytest.mark.parametrize("gone", [State.PRUNED, State.SUPERSEDED])
def test_removed_products_come_back_only_when_requested(gone: State) -> None:
    assert [e for state, e in TRANSITIONS if state is gone] == [
        Event.REQUEUE,
        Event.ADOPT,
        Event.RESTORE,
    ]


def test_sources_of_an_event_follow_the_table() -> None:
    for event in Event:
        found = sources(event)
        assert len(found) == len(set(found))
        assert set(found) == {state for state in State if (state, event) in TRANSITIONS}
