from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent_executor.errors import AgentExecutorError, LimitExceededError
from agent_executor.tool_runner.arguments import (
    ARGUMENTS_DEPTH_MAX,
    check_arguments,
    parse_arguments,
)
from agent_executor.tool_runner.calls.tool_call import unix_ms_of, utc_of

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)
JSON_OBJECTS = st.dictionaries(st.text(st.characters(codec="utf-8")), JSON_VALUES, max_size=4)


def parse(text: str, *, decimal: bool = False) -> dict[str, Any]:
    return parse_arguments(
        text,
        size_bytes=len(text.encode("utf-8", "surrogatepass")),
        size_bytes_max=100_000,
        decimal_numbers=decimal,
    )


@given(JSON_OBJECTS, st.booleans())
def test_every_json_object_is_read_as_it_is(value: dict[str, Any], ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert parse(text) == value
    assert parse(text, decimal=True).keys() == value.keys()
    assert check_arguments(value) == value


@given(st.text() | st.text('[]{}",:\\0 ', max_size=300), st.booleans())
@example("[" * 70 + '"', False)
@example('{"a":"\\ud83d\\ude00"}', False)
def test_any_text_is_read_or_refused(text: str, decimal: bool) -> None:
    try:
        value = parse(text, decimal=decimal)
    except AgentExecutorError:
        return
    assert value == json.loads(text)
    assert check_arguments(value) == value


@given(st.lists(st.booleans(), min_size=1, max_size=100))
def test_depth_is_counted_as_it_is(kinds: list[bool]) -> None:
    text = "1"
    for is_object in kinds:
        text = f'{{"[": {text}}}' if is_object else f'["{{", {text}]'
    text = f'{{"a": {text}}}'
    # Enough brackets side by side that the quick look is not enough.
    text = text[:-1] + ', "b": [' + "[]," * ARGUMENTS_DEPTH_MAX + "[]]}"
    is_deep = len(kinds) + 1 > ARGUMENTS_DEPTH_MAX
    if is_deep:
        with pytest.raises(LimitExceededError, match="levels deep"):
            parse(text)
    else:
        parse(text)


@given(st.integers(0, 4_000_000_000_000))
def test_times_are_kept_to_the_millisecond(unix_ms: int) -> None:
    assert unix_ms_of(utc_of(unix_ms)) == unix_ms
