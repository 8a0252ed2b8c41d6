from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from agent_executor.errors import AgentExecutorError, InvalidArgumentError, LimitExceededError
from agent_executor.tool_runner.arguments import ARGUMENTS_DEPTH_MAX, parse_arguments


def parse(text: str, size_max: int = 1_048_576, *, decimal: bool = False) -> dict[str, Any]:
    size = len(text.encode("utf-8", "surrogatepass"))
    return parse_arguments(text, size_bytes=size, size_bytes_max=size_max, decimal_numbers=decimal)


def test_an_object_is_read() -> None:
    text = '{"a": [1, 2.5, true, null, "\\u00e9\\ud83d\\ude00"], "b": {"c": "[{"}}'
    expected = {"a": [1, 2.5, True, None, "é😀"], "b": {"c": "[{"}}
    assert parse(text) == expected


def test_numbers_can_be_read_as_they_are_written() -> None:
    text = '{"a": 0.12345678901234567891, "b": 1e2, "c": 12345678901234567890}'
    numbers = parse(text, decimal=True)
    assert numbers["a"] == Decimal("0.12345678901234567891")
    assert (numbers["b"], numbers["c"]) == (Decimal(100), 12345678901234567890)
    assert type(parse(text)["a"]) is float


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ('{"a": 1,}', "not JSON"),
        ("{} {}", "not JSON"),
        ("[1]", "not a JSON object"),
        ("null", "not a JSON object"),
        ('"x"', "not a JSON object"),
        ('{"a": NaN}', "NaN, which is not JSON"),
        ('{"a": -Infinity}', "-Infinity, which is not JSON"),
        ('{"a": 1e999}', "number that is too large"),
        ('{"a": "\\ud800"}', "not Unicode"),
        ('{"\\uDFFF": 1}', "not Unicode"),
        ('{"a": "\ud800"}', "not Unicode"),
        ('{"a": ' + "1" * 5_000 + "}", "more than 4300 digits"),
    ],
)
def test_what_is_not_a_json_object_is_refused(text: str, message: str) -> None:
    for decimal in (False, True):
        if decimal and "1e999" in text:
            continue
        with pytest.raises(InvalidArgumentError, match=message):
            parse(text, decimal=decimal)


def test_an_exponent_beyond_decimal_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="too large"):
        parse('{"a": 1e99999999999999999999999}', decimal=True)


def test_size_is_checked_before_anything_is_read() -> None:
    with pytest.raises(LimitExceededError, match="11 bytes; at most 10 are allowed") as refused:
        parse("{not json x", size_max=10)
    assert refused.value.metadata == {"sizeBytes": "11", "sizeBytesMax": "10"}


def nested(levels: int) -> str:
    return '{"a":' * (levels - 1) + "{}" + "}" * (levels - 1)


def test_depth_is_capped() -> None:
    parse(nested(ARGUMENTS_DEPTH_MAX))
    for text in (
        nested(ARGUMENTS_DEPTH_MAX + 1),
        nested(100_000),
        '{"a": "\\"' + '", "b": ' + "[" * 100_000,
        "[" * 500_000,
    ):
        with pytest.raises(LimitExceededError, match="levels deep"):
            parse(text)


def test_brackets_in_strings_and_side_by_side_are_no_depth() -> None:
    assert len(parse('{"a": "' + "[{" * 1_000 + '\\""}')["a"]) == 2_001
    assert len(parse('{"a": [' + ",".join(["{}"] * 1_000) + "]}")["a"]) == 1_000


def test_an_unended_string_does_not_hide_what_comes_before_it() -> None:
    with pytest.raises(AgentExecutorError):
        parse('{"a": ' + "[" * 100 + '"')
