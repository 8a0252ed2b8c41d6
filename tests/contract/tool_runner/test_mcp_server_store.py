"""What every store of MCP servers must do, on every adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_executor.tool_runner.mcp.mcp_server import GENERATIONS_KEPT, McpServer, McpTool
from agent_executor.tool_runner.mcp.store import McpServerStore
from agent_executor.tool_runner.mcp.store_memory import MemoryMcpServerStore
from agent_executor.tool_runner.mcp.store_sql import SqlMcpServerStore
from tests.contract.tool_runner.statement_runners import DATABASES, statement_runner

NOW_MS = 1_700_000_000_123


@pytest.fixture(params=["memory", *DATABASES])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[McpServerStore]:
    """Yields each adapter, empty."""
    if request.param == "memory":
        yield MemoryMcpServerStore()
        return
    async with statement_runner(request, tmp_path) as runner:
        yield SqlMcpServerStore(runner)


def new_tool(name: str = "weather__forecast", **changes: Any) -> McpTool:
    """Returns a tool that uses every kind of field."""
    fields: dict[str, Any] = {
        "name": name,
        "server_tool_name": name.partition("__")[2],
        "description": "Grüße 🌦",
        "input_schema_json": '{"type":"object"}',
        "effect": "read_only",
        "requires_approval": True,
        "timeout_seconds": 1.5,
        "created_at_ms": NOW_MS,
    }
    return McpTool.of(**fields | changes)


def new_server(name: str = "weather", **changes: Any) -> McpServer:
    """Returns a server that uses every kind of field."""
    fields: dict[str, Any] = {
        "name": name,
        "url": f"https://{name}.example.com/mcp",
        "credential_name": "key",
        "allowed_tools": ("forecast", "history"),
        "effect": "idempotent",
        "trusts_hints": True,
        "requires_approval": True,
        "timeout_seconds": 2.5,
        "server_title": "Weather",
        "protocol_version": "2025-11-25",
        "findings": ("One.", "Two."),
        "refreshed_at_ms": NOW_MS,
        "tools": (new_tool(f"{name}__forecast"), new_tool(f"{name}__history")),
    }
    return McpServer(**fields | changes)


async def put(store: McpServerStore, server: McpServer, servers_max: int = 10) -> McpServer:
    """Stores a server and returns it as it is then."""
    assert await store.put("acme", server, servers_max=servers_max)
    stored = await store.find("acme", server.name)
    assert stored is not None
    return stored


def as_stored(server: McpServer, generation: int = NOW_MS) -> McpServer:
    return msgspec.structs.replace(server, generation=generation)


async def test_a_server_is_read_as_it_was_stored(store: McpServerStore) -> None:
    assert await store.find("acme", "weather") is None
    server = new_server()
    assert await put(store, server) == as_stored(server)
    without_tools = msgspec.structs.replace(as_stored(server), tools=())
    for tool in server.tools:
        for version in ("", tool.version):
            assert await store.find_tool("acme", tool.name, version) == (without_tools, tool)
    assert await store.list_tools("acme", 10) == list(server.tools)


async def test_it_is_replaced_whole(store: McpServerStore) -> None:
    await put(store, new_server())
    replaced = McpServer(
        name="weather",
        url="https://other.example.com",
        refreshed_at_ms=NOW_MS + 5,
        tools=(new_tool("weather__new"),),
    )
    assert await put(store, replaced) == as_stored(replaced, NOW_MS + 1)
    assert await store.list_tools("acme", 10) == list(replaced.tools)
    assert await store.find_tool("acme", "weather__forecast") is None


async def test_versions_stay_for_those_who_are_bound_to_them(store: McpServerStore) -> None:
    first, second = new_tool(), new_tool(description="Another.", created_at_ms=NOW_MS + 1)
    await put(store, new_server(tools=(first,)))
    await put(store, new_server(tools=(second,)))
    for version, expected in (("", second), (first.version, first), (second.version, second)):
        found = await store.find_tool("acme", first.name, version)
        assert found is not None
        assert found[1] == expected
    assert await store.find_tool("acme", first.name, "0" * 64) is None
    # What is there again has the time at which it was there first.
    again = new_tool(created_at_ms=NOW_MS + 9)
    assert (await put(store, new_server(tools=(again,)))).tools == (first,)
    await put(store, new_server(tools=()))
    # A tool that the server has no more is gone in every version.
    assert await store.find_tool("acme", first.name, first.version) is None
    assert await store.list_tools("acme", 10) == []


async def test_old_versions_are_dropped_in_the_end(
    store: McpServerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert GENERATIONS_KEPT > 2
    for module in ("store_memory", "store_sql"):
        monkeypatch.setattr(f"agent_executor.tool_runner.mcp.{module}.GENERATIONS_KEPT", 2)
    first, second = new_tool(), new_tool(description="Another.")
    await put(store, new_server(tools=(first,)))
    await put(store, new_server(tools=(second,)))
    assert await store.find_tool("acme", first.name, first.version) is not None
    await put(store, new_server(tools=(second,)))
    assert await store.find_tool("acme", first.name, first.version) is None
    assert await store.find_tool("acme", first.name, second.version) is not None


async def test_only_what_was_read_is_renewed(store: McpServerStore) -> None:
    read = await put(store, new_server())
    renewed = msgspec.structs.replace(read, tools=(new_tool("weather__new"),), findings=())
    assert await store.renew("acme", renewed)
    assert await store.find("acme", "weather") == as_stored(renewed, NOW_MS + 1)
    # It has been stored since: nothing of it changes, its tools included.
    assert not await store.renew("acme", read)
    assert await store.find("acme", "weather") == as_stored(renewed, NOW_MS + 1)
    assert await store.delete("acme", "weather")
    assert not await store.renew("acme", as_stored(renewed, NOW_MS + 1))
    assert await store.find("acme", "weather") is None
    assert await store.list_tools("acme", 10) == []


async def test_one_that_was_deleted_and_stored_again_is_another(store: McpServerStore) -> None:
    read = await put(store, new_server())
    await store.delete("acme", "weather")
    again = await put(store, new_server(refreshed_at_ms=NOW_MS + 1000))
    assert not await store.renew("acme", read)
    assert await store.find("acme", "weather") == again


async def test_they_are_listed_by_name_in_pages(store: McpServerStore) -> None:
    for name in ("b", "a1", "a", "aa"):
        await put(store, new_server(name))
    listed = await store.list_servers("acme", 10)
    assert listed == [as_stored(new_server(name)) for name in ("a", "a1", "aa", "b")]
    assert [each.name for each in await store.list_servers("acme", 2, after="a")] == ["a1", "aa"]
    tools = await store.list_tools("acme", 3, after_name="a1__forecast")
    # By code points: a digit and a letter come before and after an underscore.
    assert [tool.name for tool in tools] == ["a1__history", "a__forecast", "a__history"]


async def test_a_deleted_one_is_gone(store: McpServerStore) -> None:
    server = await put(store, new_server())
    assert await store.delete("acme", "weather")
    assert not await store.delete("acme", "weather")
    assert await store.find("acme", "weather") is None
    assert await store.find_tool("acme", "weather__forecast", server.tools[0].version) is None
    assert await store.list_tools("acme", 10) == []
    assert await store.list_servers("acme", 10) == []


async def test_organizations_are_apart(store: McpServerStore) -> None:
    ours = await put(store, new_server(), servers_max=1)
    assert await store.find("other", "weather") is None
    assert await store.find_tool("other", "weather__forecast", ours.tools[0].version) is None
    assert await store.list_servers("other", 10) == []
    assert await store.list_tools("other", 10) == []
    assert not await store.delete("other", "weather")
    assert not await store.renew("other", ours)
    theirs = new_server(tools=(new_tool(description="Theirs."),))
    assert await store.put("other", theirs, servers_max=1)
    assert await store.find("acme", "weather") == ours
    assert await store.find("other", "weather") == as_stored(theirs)


async def test_a_full_list_takes_only_what_it_has(store: McpServerStore) -> None:
    await put(store, new_server(), servers_max=1)
    assert not await store.put("acme", new_server("other"), servers_max=1)
    assert await store.find("acme", "other") is None
    assert await store.list_tools("acme", 10) == list(new_server().tools)
    await put(store, new_server(server_title="New"), servers_max=1)


async def test_a_name_that_no_tool_can_have_is_not_found(store: McpServerStore) -> None:
    await put(store, new_server())
    for name in ("", "weather", "__", "weather__", "a b__c", "Weather__x", "é__x"):
        assert await store.find_tool("acme", name) is None
