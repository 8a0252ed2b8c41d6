from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from agent_executor.errors import InvalidArgumentError, RateLimitExceededError
from agent_executor.tool_runner.tool_base import ToolBase

SECRET = "password hunter2"


class CustomTool(ToolBase):
    """A tool as a user writes it."""

    def __init__(self) -> None:
        super().__init__(name="custom_tool", description="Custom tool description")

    def _execute_impl(self, arguments: dict[str, Any]) -> Any:
        outcome = arguments.get("outcome", {"result": "success"})
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class FailingTool(CustomTool):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def _execute_impl(self, arguments: dict[str, Any]) -> Any:
        raise self._error


class AsyncTool(CustomTool):
    async def _execute_impl(self, arguments: dict[str, Any]) -> Any:
        await asyncio.sleep(0)
        if "error" in arguments:
            raise ValueError(SECRET)
        return arguments


def test_a_result_is_answered_in_its_shape() -> None:
    answer = CustomTool().execute({"x": 1})
    timestamp = answer.pop("timestamp")
    assert answer == {"success": True, "tool_name": "custom_tool", "result": {"result": "success"}}
    assert timestamp.endswith("Z")
    assert datetime.fromisoformat(timestamp).utcoffset() == timedelta(0)


def test_defaults_are_an_unsafe_tool_that_takes_any_object() -> None:
    tool = CustomTool()
    assert (tool.name, tool.description) == ("custom_tool", "Custom tool description")
    assert (tool.effect, tool.input_schema) == ("unsafe", {"type": "object"})
    assert not tool.runs_inline


def test_an_error_of_the_platform_shows_its_message_and_reason() -> None:
    answer = FailingTool(RateLimitExceededError("Too many letters.")).execute({})
    assert answer.keys() == {"success", "error", "tool_name", "code", "timestamp"}
    assert answer["success"] is False
    assert answer["error"] == "Too many letters."
    assert answer["code"] == "RATE_LIMIT_EXCEEDED"
    assert answer["tool_name"] == "custom_tool"


def test_the_text_of_an_error_is_text_and_has_an_end() -> None:
    for message in ("x" * 1_000_000, "\ud800" * 10, {"not": "text"}):
        error = RateLimitExceededError(message)  # type: ignore[arg-type]  # that is what is tested
        answer = FailingTool(error).execute({})
        assert 0 < len(answer["error"].encode()) <= 2_000
        assert answer["code"] == "RATE_LIMIT_EXCEEDED"


@pytest.mark.parametrize(
    "error",
    [ValueError(SECRET), RecursionError(SECRET), MemoryError(SECRET), SystemExit(SECRET)],
    ids=lambda error: type(error).__name__,
)
def test_another_error_is_logged_and_not_shown(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = FailingTool(error).execute({})
    assert (answer["code"], answer["error"]) == ("TOOL_EXECUTION_ERROR", "The tool failed.")
    assert SECRET not in str(answer)
    assert SECRET in caplog.text


def test_an_interrupt_is_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt):
        FailingTool(KeyboardInterrupt()).execute({})


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"x": value}
    return value


def circle() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["x"] = value
    return value


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (None, "INVALID_ARGUMENT"),
        ([1], "INVALID_ARGUMENT"),
        ("{}", "INVALID_ARGUMENT"),
        ({"x": float("nan")}, "INVALID_ARGUMENT"),
        ({"x": [float("-inf")]}, "INVALID_ARGUMENT"),
        ({"x": Decimal("NaN")}, "INVALID_ARGUMENT"),
        ({"x": {1, 2}}, "INVALID_ARGUMENT"),
        ({"x": b"bytes"}, "INVALID_ARGUMENT"),
        ({"x": object()}, "INVALID_ARGUMENT"),
        ({1: "x"}, "INVALID_ARGUMENT"),
        ({"x": {None: 1}}, "INVALID_ARGUMENT"),
        ({"x": "\ud800"}, "INVALID_ARGUMENT"),
        ({"\udfff": 1}, "INVALID_ARGUMENT"),
        ({"x": 10**5000}, "INVALID_ARGUMENT"),
        (deep(65), "LIMIT_EXCEEDED"),
        (deep(100_000), "LIMIT_EXCEEDED"),
        (circle(), "LIMIT_EXCEEDED"),
        ({"x": "y" * 2_000_000}, "LIMIT_EXCEEDED"),
        ({"y" * 2_000_000: "x"}, "LIMIT_EXCEEDED"),
        ({"x": [0] * 2_000_000}, "LIMIT_EXCEEDED"),
    ],
    ids=range(20),
)
def test_bad_arguments_are_answered_and_reach_no_tool(arguments: Any, code: str) -> None:
    answer = FailingTool(AssertionError("reached")).execute(arguments)
    assert (answer["success"], answer["code"]) == (False, code)


def test_good_arguments_reach_the_tool_as_they_are() -> None:
    outcome = {"a": [1, 2.5, "é", None, True, (Decimal("1.10"),), {"b": []}], "c": deep(60)}
    assert CustomTool().execute({"outcome": outcome})["result"] == outcome


def test_a_coroutine_is_waited_for() -> None:
    assert AsyncTool().execute({"x": 1})["result"] == {"x": 1}
    assert AsyncTool().execute({"error": 1})["error"] == "The tool failed."


async def test_a_coroutine_is_waited_for_where_a_loop_runs() -> None:
    assert AsyncTool().execute({"x": 1})["result"] == {"x": 1}


@pytest.mark.parametrize("name", ["", "with space", "a" * 65, "tool:x", "é", "x\n", None, 5])
def test_a_bad_name_is_refused(name: Any) -> None:
    class Named(CustomTool):
        def __init__(self) -> None:
            ToolBase.__init__(self, name, "Description.")

    with pytest.raises(InvalidArgumentError, match="name"):
        Named()


def test_a_bad_description_or_effect_is_refused() -> None:
    class Described(CustomTool):
        def __init__(self, description: Any, effect: Any) -> None:
            ToolBase.__init__(self, "x", description, effect=effect)

    for description in ("", "  ", None):
        with pytest.raises(InvalidArgumentError, match="description"):
            Described(description, "unsafe")
    with pytest.raises(InvalidArgumentError, match="effect"):
        Described("Description.", "harmless")


def test_a_tool_must_do_something() -> None:
    with pytest.raises(TypeError, match="_execute_impl"):
        ToolBase("x", "y")  # type: ignore[abstract]  # that is what is tested
