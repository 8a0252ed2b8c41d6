"""Registering, refreshing and finding MCP servers, with a server whose list changes at will."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from agent_executor.errors import (
    AgentExecutorError,
    CredentialNotFoundError,
    DeadlineExceededError,
    InvalidArgumentError,
    LimitExceededError,
    McpServerNotFoundError,
    PermissionDeniedError,
    ToolExecutionError,
    ToolNotFoundError,
    UnavailableError,
)
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.builtin.calculator import CalculatorTool
from agent_executor.tool_runner.calls.context import CallContext
from agent_executor.tool_runner.custom.catalog import ToolCatalog
from agent_executor.tool_runner.custom.custom_tool import CustomTool
from agent_executor.tool_runner.custom.store_memory import MemoryCustomToolStore
from agent_executor.tool_runner.custom.tools import Tools
from agent_executor.tool_runner.mcp.client import Listing, McpClient
from agent_executor.tool_runner.mcp.listing import OfferedTool
from agent_executor.tool_runner.mcp.mcp_server import SERVERS_MAX, McpServer
from agent_executor.tool_runner.mcp.mcp_servers import McpServers
from agent_executor.tool_runner.mcp.mcp_tools import McpTools
from agent_executor.tool_runner.mcp.store_memory import MemoryMcpServerStore
from agent_executor.tool_runner.policy.policies import Policies
from agent_executor.tool_runner.policy.store_memory import MemoryPolicyStore
from agent_executor.tool_runner.registry import ToolRegistry
from tests.unit.tool_runner.vault import Vault

ADMIN = SecurityContext("acme", "ada", frozenset({"policy:admin", "tool:read"}))
READER = SecurityContext("acme", "bea", frozenset({"tool:read"}))
STRANGER = SecurityContext("other", "eve", frozenset({"*"}))
URL = "https://weather.example.com/mcp"
SCHEMA = {"type": "object"}


def offered(name: str = "forecast", description: str = "Says.", **more: Any) -> OfferedTool:
    return OfferedTool(name, description, more.get("schema", SCHEMA))


class FakeClient:
    """Lists what it is told to list."""

    def __init__(self) -> None:
        self.tools = [offered()]
        self.error: AgentExecutorError | None = None
        self.contexts: list[CallContext] = []
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def list_tools(self, server: McpServer, context: CallContext) -> Listing:
        del server
        self.contexts.append(context)
        if self.error is not None:
            raise self.error
        tools = tuple(self.tools)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return Listing("Weather\0", "2026-07-28", tools)


class World:
    """The use cases on stores in memory."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000
        self.now_seconds = 0.0
        self.client = FakeClient()
        self.store = MemoryMcpServerStore()
        client = cast("McpClient", self.client)
        mcp_tools = McpTools(self.store, client, clock=lambda: self.now_seconds)
        self.custom = MemoryCustomToolStore()
        self.tools = Tools(
            ToolRegistry([CalculatorTool()]),
            self.custom,
            external=mcp_tools,
            clock=lambda: self.now_seconds,
        )
        self.policies = Policies(MemoryPolicyStore(), lambda: self.now_ms)
        self.catalog = ToolCatalog(self.tools)
        self.servers = McpServers(
            self.store,
            client,
            mcp_tools,
            policies=self.policies,
            credentials=Vault(),
            is_taken=self.tools.is_taken,
            now_ms=self._tick,
        )

    def _tick(self) -> int:
        self.now_ms += 1_000
        return self.now_ms

    async def put(self, name: str = "weather", **fields: Any) -> McpServer:
        return await self.servers.put(McpServer(name=name, url=URL, **fields), ADMIN)

    async def version(self, name: str = "weather__forecast", version: str = "") -> str:
        tool = await self.tools.find("acme", name, version)
        return "" if tool is None else tool.version


@pytest.fixture
def world() -> World:
    return World()


async def test_a_server_is_stored_with_what_it_said(world: World) -> None:
    world.client.tools = [offered(), offered("bad", schema={})]
    await world.policies.add_allowed_domain("weather.example.com", ADMIN)
    server = await world.put(effect="idempotent")
    assert (server.server_title, server.protocol_version) == ("Weather", "2026-07-28")
    assert [tool.name for tool in server.tools] == ["weather__forecast"]
    assert len(server.findings) == 1
    (context,) = world.client.contexts
    assert context.organization_id == "acme"
    assert context.allowed_domains == frozenset({"weather.example.com"})
    assert await world.servers.get("weather", READER) == server
    page = await world.servers.list_servers(READER)
    assert (page.entries, page.next_page_token) == ([server], "")
    tool = await world.tools.find("acme", "weather__forecast")
    assert tool is not None
    assert (tool.effect, tool.is_async, tool.program) == ("idempotent", True, None)


async def test_what_changes_at_the_server_is_another_version(world: World) -> None:
    await world.put()
    first = await world.version()
    world.client.tools = [offered(description="Says more."), offered("added")]
    # Nothing changes by itself.
    world.now_seconds += 10
    assert await world.version() == first
    refreshed = await world.servers.refresh("weather", ADMIN)
    assert [tool.name for tool in refreshed.tools] == ["weather__added", "weather__forecast"]
    second = await world.version()
    assert second != first
    # Who began with the old one stays with it.
    assert await world.version(version=first) == first
    (described,) = await world.catalog.describe_tools(
        ["weather__forecast"], READER, {"weather__forecast": first}
    )
    assert (described.version, described.description) == (first, "Says.")
    world.client.tools = [offered("added")]
    await world.servers.refresh("weather", ADMIN)
    for version in ("", first, second):
        assert await world.version(version=version) == ""
        with pytest.raises(ToolNotFoundError):
            await world.catalog.get_tool("weather__forecast", READER, version)


async def test_lists_hold_all_kinds_of_tools_in_pages(world: World) -> None:
    await world.put()
    await world.put("a")
    names: list[str] = []
    token = ""
    while True:
        page = await world.catalog.list_tools(READER, page_size=1, page_token=token)
        names += [tool.name for tool in page.tools]
        token = page.next_page_token
        if not token:
            break
    assert names == ["a__forecast", "calculator", "weather__forecast"]
    shown = await world.catalog.get_tool("weather__forecast", READER)
    assert (shown.mcp_server, shown.built_in, shown.source) == ("weather", False, "")
    assert [tool.name for tool in (await world.catalog.list_tools(STRANGER)).tools] == [
        "calculator"
    ]


async def test_a_custom_tool_of_the_name_goes_before(world: World) -> None:
    custom = CustomTool.of(
        organization_id="acme",
        name="weather__forecast",
        class_name="T",
        source="",
        description="Its own.",
        input_schema_json='{"type":"object"}',
        effect="unsafe",
        timeout_seconds=0.0,
        cache_ttl_seconds=0,
        allowed_origins=(),
        findings=(),
        created_at_ms=1,
    )
    await world.custom.put(custom, tools_max=10, versions_max=10)
    server = await world.put()
    assert server.tools == ()
    assert "another tool has the name" in server.findings[0]
    assert await world.version() == custom.version


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "a_b"}, "name"),
        ({"name": "x" * 25}, "name"),
        ({"allowed_tools": ("telescope",)}, "allowed_tools"),
        ({"allowed_tools": ("bad",)}, "allowed_tools"),
    ],
)
async def test_what_cannot_be_stored_is_refused(
    world: World, fields: dict[str, Any], field: str
) -> None:
    world.client.tools.append(offered("bad", schema={"type": "array"}))
    with pytest.raises(InvalidArgumentError) as caught:
        await world.put(**fields)
    assert caught.value.field_violations[0][0] == field
    assert await world.store.list_servers("acme", 10) == []


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (PermissionDeniedError("x", metadata={"rule": "domain"}), InvalidArgumentError),
        (PermissionDeniedError("x", metadata={"rule": "credential"}), InvalidArgumentError),
        (ToolExecutionError("x"), UnavailableError),
        (DeadlineExceededError("x"), UnavailableError),
        (LimitExceededError("x"), UnavailableError),
        (CredentialNotFoundError("x"), CredentialNotFoundError),
    ],
)
async def test_a_server_that_does_not_answer_changes_nothing(
    world: World, raised: AgentExecutorError, expected: type[AgentExecutorError]
) -> None:
    server = await world.put()
    world.client.error = raised
    with pytest.raises(expected, match="x"):
        await world.servers.refresh("weather", ADMIN)
    with pytest.raises(expected, match="x"):
        await world.put(effect="read_only")
    assert await world.servers.get("weather", READER) == server


async def test_a_refresh_does_not_undo_what_is_stored_meanwhile(world: World) -> None:
    await world.put()
    world.client.meanwhile = lambda: world.put(effect="read_only")
    refreshed = await world.servers.refresh("weather", ADMIN)
    assert refreshed.effect == "read_only"
    assert [tool.effect for tool in refreshed.tools] == ["read_only"]
    world.client.meanwhile = lambda: world.servers.delete("weather", ADMIN)
    with pytest.raises(McpServerNotFoundError):
        await world.servers.refresh("weather", ADMIN)
    assert await world.version() == ""


async def test_an_organization_has_so_many_servers(world: World) -> None:
    for number in range(SERVERS_MAX):
        await world.put(f"server{number}")
    with pytest.raises(LimitExceededError):
        await world.put("another")
    await world.put("server0")


async def test_organizations_are_apart(world: World) -> None:
    await world.put()
    assert await world.tools.find("other", "weather__forecast") is None
    for call in (
        world.servers.get("weather", STRANGER),
        world.servers.refresh("weather", STRANGER),
        world.servers.delete("weather", STRANGER),
    ):
        with pytest.raises(McpServerNotFoundError):
            await call
    assert (await world.servers.list_servers(STRANGER)).entries == []
    assert await world.version()


async def test_permissions_are_needed(world: World) -> None:
    await world.put()
    nobody = SecurityContext("acme", "bob", frozenset({"tool:weather__forecast"}))
    for call in (
        world.servers.put(McpServer(name="weather", url=URL), READER),
        world.servers.refresh("weather", READER),
        world.servers.delete("weather", READER),
        world.servers.get("weather", nobody),
        world.servers.list_servers(nobody),
    ):
        with pytest.raises(PermissionDeniedError):
            await call
