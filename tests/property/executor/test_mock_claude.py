"""Whatever is typed, mock Claude answers in the Messages API's shape and calculates right."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import jsonschema_rs
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_executor.executor.models.mock import MockClaude
from agent_executor.executor.models.mock_arithmetic import find_expressions
from agent_executor.executor.models.mock_expression import (
    Expression,
    Operation,
    evaluate,
    render,
)
from agent_executor.executor.models.mock_samples import sample_arguments
from agent_executor.executor.models.model import ModelResponse, TextBlock, ToolSpecification
from tests.unit.executor.models.dialogue import (
    CALCULATOR,
    EMAIL,
    HTTP_REQUEST,
    SLACK,
    WEATHER,
    converse,
    request_of,
    text_of,
    tool_uses,
    user,
)

ARITHMETIC: dict[str, Callable[[Decimal, Decimal], Decimal]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
}
WORDS = {"add": "plus", "subtract": "minus", "multiply": "times"}

numbers = st.integers(-999, 999).map(lambda value: Decimal(value) / 4)
expressions: st.SearchStrategy[Expression] = st.recursive(
    numbers,
    lambda operands: st.builds(Operation, st.sampled_from(sorted(ARITHMETIC)), operands, operands),
    max_leaves=5,  # Quarters have two decimal places, and the calculator keeps ten.
)
operations = expressions.filter(lambda expression: isinstance(expression, Operation))

# What a language of its own would be made of, so that fuzzing gets past the first words.
VOCABULARY = (
    *("add", "sum of", "what is", "and", "then", "multiply", "by", "sqrt of", "the", "it", "that"),
    *("1", "27", "0.5", "3%", "of", "(", ")", "+", "-", "- ", "*", "/", "^", "²", "?", ".", "\n"),
    *("test", "use", "tool", "calculator", "weather_report", "http_request", "all tools", "two"),
    *(
        "GET",
        "POST",
        "https://a.example/x",
        "json",
        '{"a": 1}',
        "{",
        "}",
        '"',
        "headers",
        "million",
    ),
    *("send", "an e-mail to", "a@b.example", "with subject", "saying", "body", "'", "“", ","),
    *(
        "post",
        "to",
        "#general",
        "on Slack",
        "in thread 1712345678.0001",
        "tell",
        "with city",
        "days",
    ),
)
texts = st.one_of(
    st.text(),
    st.text(alphabet=st.characters(codec=None)),
    st.lists(st.one_of(st.sampled_from(VOCABULARY), st.text(max_size=3))).map(" ".join),
    st.lists(st.sampled_from(VOCABULARY)).map("".join),
)
tool_sets = st.lists(
    st.sampled_from([CALCULATOR, HTTP_REQUEST, WEATHER, EMAIL, SLACK]), unique_by=id
)


def solve(expression: Expression) -> Decimal:
    if isinstance(expression, Decimal):
        return expression
    assert expression.b is not None
    return ARITHMETIC[expression.name](solve(expression.a), solve(expression.b))


def write_in_words(expression: Expression) -> str:
    if isinstance(expression, Decimal):
        return str(expression)
    assert expression.b is not None
    a, b = write_in_words(expression.a), write_in_words(expression.b)
    return f"({a} {WORDS[expression.name]} {b})"


def check_shape(response: ModelResponse, tools: list[ToolSpecification], max_tokens: int) -> None:
    decoded = json.loads(msgspec.json.encode(response))
    assert msgspec.convert(decoded, ModelResponse) == response
    assert 1 <= response.usage.output_tokens <= max_tokens
    assert response.usage.input_tokens >= 1
    uses = tool_uses(response)
    schemas = {tool.name: tool.input_schema for tool in tools}
    assert len({block.id for block in uses}) == len(uses)
    assert all(block.name in schemas and isinstance(block.input, dict) for block in uses)
    if response.stop_reason == "tool_use":
        assert uses
    elif response.stop_reason == "end_turn":
        assert not uses
        assert text_of(response)
    else:
        assert response.stop_reason == "max_tokens"
        assert response.usage.output_tokens == max_tokens


@given(texts, tool_sets, st.integers(1, 200))
async def test_any_text_gets_an_answer_of_the_right_shape(
    text: str, tools: list[ToolSpecification], max_tokens: int
) -> None:
    request = request_of(user(text), tools=tools, max_tokens=max_tokens)
    response = await MockClaude().generate(request)
    check_shape(response, tools, max_tokens)
    assert await MockClaude().generate(request) == response


@given(texts, st.sampled_from([{"result": 7}, {"status_code": 200}, None, "text", [1]]))
@settings(deadline=None)
async def test_any_text_comes_to_an_end(text: str, result: Any) -> None:
    tools = [CALCULATOR, HTTP_REQUEST, WEATHER, EMAIL, SLACK]
    results = {tool.name: result for tool in tools[1:]}
    dialogue = await converse(text, tools, results=results)
    calls = [json.dumps(call) for turn in dialogue.calls for call in turn]
    assert len(calls) == len(set(calls)), "a call was repeated after its result"
    assert all(isinstance(block, TextBlock) for block in dialogue.responses[-1].content)


@given(operations)
def test_an_expression_is_read_as_it_is_written(expression: Operation) -> None:
    (read,) = find_expressions(f"What is {render(expression)}?")
    assert solve(read) == evaluate(read) == solve(expression)
    (heard,) = find_expressions(f"Tell me {write_in_words(expression)}.")
    assert solve(heard) == solve(expression)


@given(operations)
@settings(deadline=None)
async def test_the_calculator_s_answer_is_the_decimal_s(expression: Operation) -> None:
    dialogue = await converse(f"What is {render(expression)}?")
    assert Decimal(dialogue.answer.split(" = ")[1]) == solve(expression)
    assert all(name == "calculator" for turn in dialogue.calls for name, _ in turn)


@given(st.decimals(-999, 999, places=2), st.decimals(-999, 999, places=2).filter(bool))
async def test_a_quotient_is_right_to_ten_places(a: Decimal, b: Decimal) -> None:
    for tools in ([CALCULATOR], []):
        dialogue = await converse(f"divide {a} by {b}", tools)
        answer = Decimal(dialogue.answer.replace("The answer is", "=").split("= ")[1])
        assert abs(answer - a / b) <= Decimal("0.5e-10")


property_schemas: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.one_of(
        st.builds(
            lambda low, width: {"type": "integer", "minimum": low, "maximum": low + width},
            st.integers(-50, 50),
            st.integers(0, 9),
        ),
        st.builds(
            lambda low, width: {"type": "number", "exclusiveMinimum": low, "maximum": low + width},
            st.integers(-50, 50),
            st.floats(0.1, 9),
        ),
        st.builds(
            lambda low, width: {"type": "string", "minLength": low, "maxLength": low + width},
            st.integers(0, 20),
            st.integers(0, 20),
        ),
        st.builds(lambda values: {"enum": values}, st.lists(st.integers(), min_size=1)),
        st.just({"type": "boolean"}),
        st.just({"type": ["null", "string"], "default": None}),
    ),
    lambda inner: st.one_of(
        st.builds(
            lambda items, low: {"type": "array", "items": items, "minItems": low},
            inner,
            st.integers(0, 3),
        ),
        st.dictionaries(st.text(max_size=5), inner, max_size=3).map(
            lambda properties: {
                "type": "object",
                "properties": properties,
                "required": sorted(properties)[:2],
                "additionalProperties": False,
            }
        ),
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=5), property_schemas, max_size=3))
def test_sample_arguments_satisfy_their_schema(properties: dict[str, Any]) -> None:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    jsonschema_rs.validator_for(schema).validate(sample_arguments(schema))


json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    *("type", "properties", "required", "items", "enum", "const", "default"),
                    *("minimum", "maximum", "multipleOf", "minItems", "minLength", "anyOf"),
                    *("$ref", "examples", "a"),
                ]
            ),
            inner,
        ),
    ),
    max_leaves=15,
)


@given(st.dictionaries(st.sampled_from(["properties", "required", "$ref", "anyOf"]), json_values))
def test_no_schema_is_too_strange_to_sample(schema: dict[str, Any]) -> None:
    assert isinstance(sample_arguments(schema), dict)
