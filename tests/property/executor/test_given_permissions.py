"""No key may do what its maker may not, whatever the maker holds and gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent_executor.executor.api_keys.api_key import not_to_give
from agent_executor.serving.security import SecurityContext

PARTS = st.sampled_from(["tool", "run", "calculator", "execute", "*", ""])
PERMISSIONS = st.one_of(
    st.builds("{}:{}".format, PARTS, PARTS), PARTS, st.text(alphabet="*:at", max_size=5)
)
MANY = st.frozensets(PERMISSIONS, max_size=5)


def caller(held: frozenset[str]) -> SecurityContext:
    return SecurityContext("acme", "ada", held)


@given(held=MANY, wanted=MANY, asked=PERMISSIONS)
def test_what_is_given_was_held(held: frozenset[str], wanted: frozenset[str], asked: str) -> None:
    given_away = wanted - set(not_to_give(caller(held), wanted))
    if caller(given_away).allows(asked):
        assert caller(held).allows(asked)


@given(held=MANY)
def test_what_is_held_can_be_given(held: frozenset[str]) -> None:
    assert not_to_give(caller(held), held) == []


@given(wanted=MANY)
def test_who_may_do_everything_can_give_everything(wanted: frozenset[str]) -> None:
    assert not_to_give(caller(frozenset({"*"})), wanted) == []
