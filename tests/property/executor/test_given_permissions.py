"""No key may do what its maker may not, whatever the maker holds and gives."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from agent_executor.executor.api_keys.api_key import not_to_give
from agent_executor.serving.security import SecurityContext

# Few, so that what is held, given and asked meet; the odd ones are where wildcards could be fooled.
PERMISSIONS = st.sampled_from(
    [
        *("*", "*:*", ":*", "*:", ":", "", "*:read"),
        *("tool:*", "tool:calculator", "tool:mcp:*", "tool:mcp:search", "tool", "tool:"),
        *("run:*", "run:read"),
    ]
)
MANY = st.frozensets(PERMISSIONS, max_size=4)


def caller(held: frozenset[str]) -> SecurityContext:
    return SecurityContext("acme", "ada", held)


@given(held=MANY, wanted=MANY, asked=PERMISSIONS)
# "*" looks like a permission of the kind "*", which is not one.
@example(held=frozenset({"*:*"}), wanted=frozenset({"*"}), asked="run:read")
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
