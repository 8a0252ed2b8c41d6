"""A growing sequence is, to those who look at it, a tuple."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_executor.executor.log.growing import Growing


@given(st.lists(st.tuples(st.integers(0, 20), st.lists(st.integers(), max_size=3)), max_size=20))
def test_every_state_stays_what_it_was(steps: list[tuple[int, list[int]]]) -> None:
    states: list[tuple[Growing[int], tuple[int, ...]]] = [(Growing(), ())]
    for at, items in steps:
        grown, model = states[at % len(states)]
        states.append((grown.with_items(*items), (*model, *items)))
    for grown, model in states:
        assert tuple(grown) == model
        assert grown == model
        assert len(grown) == len(model)
        assert hash(grown) == hash(model)
        assert grown[1:-1] == model[1:-1]
        assert list(reversed(grown)) == list(reversed(model))
        if model:
            assert grown[-1] == model[-1]
            assert grown[0] == model[0]
        with pytest.raises(IndexError):
            grown[len(model)]
        with pytest.raises(IndexError):
            grown[-len(model) - 1]


def test_the_empty_one_that_all_share_keeps_nothing() -> None:
    empty: Growing[int] = Growing()
    empty.with_items(1)
    assert empty.with_items(2) == (2,)
    assert empty == ()
    assert empty != [1]
