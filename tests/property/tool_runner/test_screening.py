from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent_executor.tool_runner.policy.screening import Finding, ScreeningPolicy
from agent_executor.tool_runner.policy.screening_rules import RULES
from tests.unit.tool_runner.screening_samples import ATTACKS

POLICY = ScreeningPolicy()
SURE = [(rule, text) for rule, texts in ATTACKS.items() for text in texts if text != "a\nwhoami"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4), st.sampled_from(["search", "email"]))
def test_whatever_the_arguments_are_there_is_a_verdict(
    arguments: dict[str, Any], tool_name: str
) -> None:
    verdict = POLICY.screen(tool_name, arguments)
    for finding in (*verdict.blocked, *verdict.reported):
        assert finding.rule in RULES
        assert finding.path.isascii()
    assert POLICY.screen(tool_name, arguments) == verdict


@given(st.sampled_from(SURE), st.lists(NAMES, min_size=1, max_size=4))
def test_an_attack_is_found_however_deep_it_is(attack: tuple[str, str], keys: list[str]) -> None:
    rule, text = attack
    value: Any = text
    for key in reversed(keys[1:]):
        value = {key: value}
    verdict = POLICY.screen("search", {keys[0]: value})
    assert Finding(rule, ".".join(keys)) in verdict.blocked


@given(st.sampled_from(SURE), st.randoms(use_true_random=False))
def test_the_case_of_letters_hides_no_sql(attack: tuple[str, str], random: Any) -> None:
    rule, text = attack
    if rule != "sql_injection":
        return
    mixed = "".join(random.choice((letter.lower(), letter.upper())) for letter in text)
    assert Finding(rule, "q") in POLICY.screen("search", {"q": mixed}).blocked
