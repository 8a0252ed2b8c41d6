"""What every store of custom tools must do, on every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_executor.tool_runner.custom.custom_tool import CustomTool
from agent_executor.tool_runner.custom.store import CustomToolStore, ReachedLimit
from agent_executor.tool_runner.custom.store_memory import MemoryCustomToolStore
from agent_executor.tool_runner.custom.store_sql import SqlCustomToolStore
from tests.contract.tool_runner.statement_runners import DATABASES, statement_runner


@pytest.fixture(params=["memory", *DATABASES])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CustomToolStore]:
    """Yields each adapter, empty."""
    if request.param == "memory":
        yield MemoryCustomToolStore()
        return
    async with statement_runner(request, tmp_path) as runner:
        yield SqlCustomToolStore(runner)


def new_tool(name: str = "greeter", source: str = "é = 1\n", **changes: Any) -> CustomTool:
    """Returns a tool that uses every kind of field."""
    fields: dict[str, Any] = {
        "organization_id": "acme",
        "name": name,
        "class_name": "Greeter",
        "source": source,
        "description": "Greets 😀.",
        "input_schema_json": '{"type":"object"}',
        "effect": "idempotent",
        "timeout_seconds": 2.5,
        "cache_ttl_seconds": 60,
        "allowed_origins": ("https://api.example.com",),
        "findings": ("line 1: looks odd",),
        "created_at_ms": 1_700_000_000_123,
    }
    return CustomTool.of(**fields | changes)


async def put(
    store: CustomToolStore, tool: CustomTool, tools_max: int = 10, versions_max: int = 10
) -> CustomTool | ReachedLimit:
    """Stores a version."""
    return await store.put(tool, tools_max=tools_max, versions_max=versions_max)


async def test_a_tool_is_read_as_it_was_stored(store: CustomToolStore) -> None:
    tool = new_tool()
    assert await put(store, tool) == tool
    assert await store.find("acme", "greeter") == tool
    assert await store.find("acme", "greeter", tool.version) == tool
    assert await store.find_version("acme", "greeter") == tool.version
    assert await store.find_version("acme", "greeter", tool.version) == tool.version
    for name, version in (("greeter", "0" * 64), ("other", ""), ("other", tool.version)):
        assert await store.find("acme", name, version) is None
        assert await store.find_version("acme", name, version) is None


async def test_a_demand_of_approval_is_kept(store: CustomToolStore) -> None:
    demanding = new_tool(requires_approval=True)
    assert await put(store, demanding) == demanding
    assert await store.find("acme", "greeter") == demanding
    assert await put(store, new_tool()) == new_tool()
    assert await store.find("acme", "greeter") == new_tool()


async def test_other_content_is_a_version_that_becomes_the_newest(store: CustomToolStore) -> None:
    first, second = new_tool(), new_tool(source="2")
    await put(store, first)
    await put(store, second)
    assert await store.find("acme", "greeter") == second
    assert await store.find("acme", "greeter", first.version) == first


async def test_the_same_content_again_is_the_version_there_is_and_the_newest(
    store: CustomToolStore,
) -> None:
    first = new_tool()
    await put(store, first)
    await put(store, new_tool(source="2"))
    assert await put(store, new_tool(created_at_ms=9, findings=())) == first
    assert await store.find("acme", "greeter") == first


async def test_organizations_are_apart(store: CustomToolStore) -> None:
    ours, theirs = new_tool(), new_tool(source="theirs", organization_id="other")
    await put(store, ours, tools_max=1)
    await put(store, theirs, tools_max=1)
    assert await store.find("acme", "greeter") == ours
    assert await store.find("other", "greeter") == theirs
    assert await store.find("acme", "greeter", theirs.version) is None
    assert await store.find("nobody", "greeter") is None
    assert [tool.version for tool in await store.list_newest("other", 10)] == [theirs.version]
    assert await store.delete("acme", "greeter")
    assert await store.find("other", "greeter") == theirs


async def test_tools_are_listed_by_code_points_and_without_their_source(
    store: CustomToolStore,
) -> None:
    names = ["a", "a1", "a_b", "aa", "b"]
    for name in reversed(names):
        await put(store, new_tool(name, source="old"))
        await put(store, new_tool(name))
    listed = await store.list_newest("acme", 10)
    assert listed == [msgspec.structs.replace(new_tool(name), source="") for name in names]
    page = await store.list_newest("acme", 2, after_name="a1")
    assert [tool.name for tool in page] == ["a_b", "aa"]
    assert await store.list_newest("acme", 10, after_name="b") == []


async def test_a_deleted_tool_is_gone_with_every_version_and_can_come_again(
    store: CustomToolStore,
) -> None:
    first, second = new_tool(), new_tool(source="2")
    await put(store, first)
    await put(store, second)
    assert await store.delete("acme", "greeter")
    assert not await store.delete("acme", "greeter")
    for version in ("", first.version, second.version):
        assert await store.find("acme", "greeter", version) is None
        assert await store.find_version("acme", "greeter", version) is None
    assert await store.list_newest("acme", 10) == []
    again = new_tool(created_at_ms=5)
    assert await put(store, again, tools_max=1, versions_max=1) == again
    assert await store.find("acme", "greeter", second.version) is None


async def test_limits_let_in_what_is_there_already_and_nothing_else(
    store: CustomToolStore,
) -> None:
    tool = new_tool()
    await put(store, tool, tools_max=1, versions_max=1)
    assert await put(store, new_tool("other"), tools_max=1, versions_max=1) == "tools"
    assert await put(store, new_tool(source="2"), tools_max=1, versions_max=1) == "versions"
    assert await put(store, tool, tools_max=1, versions_max=1) == tool
    assert await store.find("acme", "greeter") == tool
    assert await store.find("acme", "other") is None
    assert await put(store, new_tool(source="2"), tools_max=1, versions_max=2) == new_tool(
        source="2"
    )


async def test_registrations_at_the_same_time_keep_the_limit(store: CustomToolStore) -> None:
    tools = [new_tool(f"tool_{number}") for number in range(20)]
    outcomes = await asyncio.gather(*(put(store, tool, tools_max=5) for tool in tools))
    assert outcomes.count("tools") == 15
    assert len(await store.list_newest("acme", 100)) == 5
