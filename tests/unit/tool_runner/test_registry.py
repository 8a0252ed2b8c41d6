from __future__ import annotations

from typing import Any

import pytest

from agent_executor.errors import ConflictError, InvalidArgumentError, LimitExceededError
from agent_executor.tool_runner.builtin import built_in_tools
from agent_executor.tool_runner.registry import ToolRegistry
from agent_executor.tool_runner.tool_base import ToolBase


class Echo(ToolBase):
    def __init__(self, name: str = "echo", **more: Any) -> None:
        super().__init__(name, "Says it again.", **more)

    def _execute_impl(self, arguments: dict[str, Any]) -> Any:
        return arguments


class AsyncEcho(Echo):
    async def _execute_impl(self, arguments: dict[str, Any]) -> Any:
        return arguments


def test_four_tools_come_with_the_platform() -> None:
    registry = ToolRegistry(built_in_tools())
    assert [(tool.name, tool.built_in, tool.effect) for tool in registry.list()] == [
        ("calculator", True, "read_only"),
        ("email", True, "unsafe"),
        ("http_request", True, "unsafe"),
        ("slack", True, "unsafe"),
    ]


def test_tools_are_found_by_name_and_listed_in_order() -> None:
    registry = ToolRegistry()
    for name in ("b", "a", "c"):
        registry.register(Echo(name))
    assert [tool.name for tool in registry.list()] == ["a", "b", "c"]
    found = registry.find("b")
    assert found is not None
    assert (found.name, found.built_in, found.is_async) == ("b", False, False)
    assert registry.find("d") is None


def test_a_coroutine_function_is_known_as_one() -> None:
    registry = ToolRegistry()
    registry.register(AsyncEcho())
    found = registry.find("echo")
    assert found is not None
    assert found.is_async


def test_what_is_registered_does_not_change_with_the_tool() -> None:
    registry, tool = ToolRegistry(), Echo(effect="read_only")
    registry.register(tool)
    tool.effect = "unsafe"
    tool.name = "other"
    found = registry.find("echo")
    assert found is not None
    assert (found.name, found.effect) == ("echo", "read_only")


def test_a_name_is_taken_once() -> None:
    registry = ToolRegistry(built_in_tools())
    with pytest.raises(ConflictError, match="calculator"):
        registry.register(Echo("calculator"))


def test_the_permission_to_read_the_list_is_no_tool() -> None:
    with pytest.raises(InvalidArgumentError, match="reserved"):
        ToolRegistry().register(Echo("read"))


def test_what_is_no_tool_is_refused() -> None:
    class Forgetful(Echo):
        def __init__(self) -> None:
            pass

    class InlineCoroutine(AsyncEcho):
        runs_inline = True

    registry = ToolRegistry()
    with pytest.raises(InvalidArgumentError, match="subclass of ToolBase"):
        registry.register(print)  # type: ignore[arg-type]  # that is what is tested
    with pytest.raises(InvalidArgumentError, match="super"):
        registry.register(Forgetful())
    with pytest.raises(InvalidArgumentError, match="inline"):
        registry.register(InlineCoroutine())
    with pytest.raises(InvalidArgumentError, match="schema"):
        registry.register(Echo(input_schema={"type": "string"}))
    with pytest.raises(LimitExceededError, match="schema"):
        registry.register(Echo(input_schema={"type": "object", "x": "y" * 70_000}))
    assert registry.list() == []
