"""What mock Claude sets out to do: each goal says which tool calls it needs, or its answer.

Goals hold no state. They are given what the tools have answered so far and say what comes next,
so one and the same conversation always leads to the same next message.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, Protocol, TypeAlias

import msgspec

from agent_executor.executor.models.mock_expression import (
    CalculationError,
    Expression,
    Operation,
    evaluate,
    format_number,
    render,
    to_argument,
)

CALCULATOR = "calculator"
HTTP_REQUEST = "http_request"
EMAIL = "email"
SLACK = "slack"
_QUOTED_RESULT_CHARACTERS = 300


class PlannedCall(NamedTuple):
    """A tool call that is needed next."""

    tool_name: str
    arguments: dict[str, Any]


class Outcome(NamedTuple):
    """What a tool call gave.

    Attributes:
        text: The result as the tool wrote it.
        value: The result decoded from JSON; the text itself if it is not JSON.
        error: Why the call failed; empty when it did not.
    """

    text: str
    value: Any
    error: str


Outcomes: TypeAlias = Mapping[bytes, Outcome]


def call_key(tool_name: str, arguments: dict[str, Any]) -> bytes:
    """The same for the same tool with the same arguments, in whatever order they are."""
    try:
        encoded = msgspec.json.encode(arguments, order="sorted")
    except UnicodeEncodeError:  # Half a surrogate pair, which JSON cannot hold.
        encoded = repr(arguments).encode()
    return tool_name.encode(errors="replace") + b" " + encoded


class Goal(Protocol):
    """One thing that the person asked for."""

    def advance(self, outcomes: Outcomes) -> list[PlannedCall] | str:
        """The calls that are needed now, or the sentence that answers."""
        ...


class Found(NamedTuple):
    """A goal, and the part of the text that it came from."""

    goal: Goal
    start: int
    end: int


class Remark(NamedTuple):
    """Something to say that needs no tool."""

    sentence: str

    def advance(self, outcomes: Outcomes) -> list[PlannedCall] | str:  # noqa: ARG002 -- the port's
        """The sentence."""
        return self.sentence


class HeadCalculation(NamedTuple):
    """A calculation without a calculator."""

    expression: Expression
    is_only_question: bool

    def advance(self, outcomes: Outcomes) -> list[PlannedCall] | str:  # noqa: ARG002 -- the port's
        """The result, or why there is none."""
        try:
            result = format_number(evaluate(self.expression))
        except CalculationError as error:
            return f"{render(self.expression)} has no answer: {error}."
        if self.is_only_question:
            return f"The answer is {result}"
        return f"{render(self.expression)} = {result}"


class Calculation(NamedTuple):
    """A calculation by calculator calls, the innermost operations first."""

    expression: Expression
    is_test: bool = False

    def advance(self, outcomes: Outcomes) -> list[PlannedCall] | str:
        """The operations whose operands are known by now, or the result."""
        calls: list[PlannedCall] = []
        try:
            value = _progress(self.expression, outcomes, calls)
        except CalculationError as error:
            return str(error)
        if value is None:
            return calls
        success = "Test successful: " if self.is_test else ""
        return f"{success}{render(self.expression)} = {format_number(value)}"


def _progress(
    expression: Expression, outcomes: Outcomes, calls: list[PlannedCall]
) -> Decimal | None:
    """The value if the tools have given it, else None, with what to call next in ``calls``."""
    if isinstance(expression, Decimal):
        return expression
    a = _progress(expression.a, outcomes, calls)
    b = None if expression.b is None else _progress(expression.b, outcomes, calls)
    if a is None or (b is None and expression.b is not None):
        return None
    arguments: dict[str, Any] = {"operation": expression.name, "a": to_argument(a)}
    if b is not None:
        arguments["b"] = to_argument(b)
    outcome = outcomes.get(call_key(CALCULATOR, arguments))
    if outcome is None:
        calls.append(PlannedCall(CALCULATOR, arguments))
        return None
    step = render(Operation(expression.name, a, b))
    if outcome.error:
        raise CalculationError(f"{step} failed: {outcome.error}")
    value = _number(outcome.value)
    if value is None:
        raise CalculationError(f"{step} gave no number but {_quote(outcome.text)}")
    return value


def _number(value: Any) -> Decimal | None:
    """The number in a calculator's result: bare, as text, or under ``result``."""
    if isinstance(value, dict):
        value = value.get("result")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        # A double stands for its shortest decimal form, which is what the tool wrote.
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


class ToolUse(NamedTuple):
    """One call of a tool."""

    tool_name: str
    arguments: dict[str, Any]
    is_test: bool = False

    def advance(self, outcomes: Outcomes) -> list[PlannedCall] | str:
        """The call, or what came of it."""
        outcome = outcomes.get(call_key(self.tool_name, self.arguments))
        if outcome is None:
            return [PlannedCall(self.tool_name, self.arguments)]
        what = self._subject()
        if outcome.error:
            return f"{what} failed: {outcome.error}"
        success = "Test successful: " if self.is_test else ""
        return f"{success}{what} {_describe(outcome)}"

    def _subject(self) -> str:
        """What the answer is about, in a few words."""
        if self.tool_name == HTTP_REQUEST:
            return f"{self.arguments.get('method')} {self.arguments.get('url')}"
        if self.tool_name == EMAIL:
            return f"The e-mail to {self.arguments.get('to')}"
        if self.tool_name == SLACK:
            return f"The Slack message to {self.arguments.get('channel')}"
        return self.tool_name


def _describe(outcome: Outcome) -> str:
    value = outcome.value
    if isinstance(value, dict):
        status = value.get("status_code", value.get("status"))
        if isinstance(status, int):
            body = value.get("json", value.get("body", value.get("text", "")))
            text = body if isinstance(body, str) else msgspec.json.encode(body).decode()
            return f"answered {status}: {_quote(text)}" if text else f"answered {status}"
    return f"returned {_quote(outcome.text)}"


def _quote(text: str) -> str:
    if len(text) <= _QUOTED_RESULT_CHARACTERS:
        return text
    return text[:_QUOTED_RESULT_CHARACTERS] + "…"
