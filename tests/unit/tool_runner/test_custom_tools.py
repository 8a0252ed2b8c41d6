from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from agent_executor.errors import (
    AgentExecutorError,
    ConflictError,
    FailedPreconditionError,
    InvalidArgumentError,
    LimitExceededError,
    PermissionDeniedError,
    SandboxUnavailableError,
    ToolNotFoundError,
)
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.builtin.calculator import CalculatorTool
from agent_executor.tool_runner.custom import custom_tools
from agent_executor.tool_runner.custom.catalog import ToolCatalog
from agent_executor.tool_runner.custom.custom_tool import CustomTool
from agent_executor.tool_runner.custom.custom_tools import CustomTools, ToolRegistration
from agent_executor.tool_runner.custom.store_memory import MemoryCustomToolStore
from agent_executor.tool_runner.custom.tools import Tools
from agent_executor.tool_runner.registry import ToolRegistry
from agent_executor.tool_runner.tool_program import ToolDescription, ToolProgram
from tests.unit.tool_runner.resources_of_tests import GREETER, STRANGER, WRITER, FakeInspector
from tests.unit.tool_runner.tools_of_tests import FunctionTool


class World:
    """A tool-runner's tools, with a clock that a test moves."""

    def __init__(self) -> None:
        self.now_seconds = 0.0
        self.now_ms = 1_000
        self.inspector = FakeInspector()
        self.store = MemoryCustomToolStore()
        registry = ToolRegistry([CalculatorTool()])
        registry.register(FunctionTool(name="own"))
        self.tools = Tools(registry, self.store, clock=lambda: self.now_seconds)
        self.custom = CustomTools(self.tools, self.inspector, lambda: self.now_ms)
        self.catalog = ToolCatalog(self.tools)

    async def register(self, security: SecurityContext = WRITER, **changes: Any) -> CustomTool:
        fields: dict[str, Any] = {"name": "greeter", "source": GREETER, "class_name": "Greeter"}
        return await self.custom.register(ToolRegistration(**fields | changes), security)

    async def refusal(self, error: type[AgentExecutorError], **changes: Any) -> str:
        """Returns how a registration was refused, without an effect."""
        with pytest.raises(error) as caught:
            await self.register(**changes)
        assert type(caught.value) is error
        assert await self.store.list_newest("acme", 10) == []
        return caught.value.message


@pytest.fixture
def world() -> World:
    return World()


async def test_what_is_left_out_is_as_the_class_says(world: World) -> None:
    tool = await world.register()
    assert tool.description == "Greets somebody."
    assert json.loads(tool.input_schema_json)["properties"] == {"name": {"type": "string"}}
    assert (tool.effect, tool.cache_ttl_seconds, tool.timeout_seconds) == ("read_only", 30, 0)
    assert (tool.created_at_ms, tool.organization_id) == (1_000, "acme")
    assert world.inspector.programs == [ToolProgram("greeter", GREETER, "Greeter", "acme")]


async def test_what_is_asked_for_goes_before_the_class(world: World) -> None:
    tool = await world.register(
        description="Waves.",
        input_schema={"type": "object", "maxProperties": 3},
        effect="idempotent",
        timeout_seconds=1.5,
        cache_ttl_seconds=5,
        allowed_origins=["https://B.example:443/", "https://a.example:8443"],
    )
    assert tool.description == "Waves."
    assert tool.input_schema_json == '{"type":"object","maxProperties":3}'
    assert (tool.effect, tool.cache_ttl_seconds, tool.timeout_seconds) == ("idempotent", 5, 1.5)
    assert tool.allowed_origins == ("https://a.example:8443", "https://b.example")


async def test_a_registered_tool_is_found_with_all_that_a_call_needs(world: World) -> None:
    assert await world.tools.find("acme", "greeter") is None
    stored = await world.register(timeout_seconds=2.0, allowed_origins=["https://a.example"])
    tool = await world.tools.find("acme", "greeter")
    assert tool is not None
    assert tool is await world.tools.find("acme", "greeter")
    assert tool.program == ToolProgram("greeter", GREETER, "Greeter", "acme")
    assert (tool.version, tool.built_in, tool.effect) == (stored.version, False, "read_only")
    assert (tool.timeout_seconds, tool.cache_ttl_seconds) == (2.0, 30)
    assert tool.allowed_origins == frozenset({"https://a.example"})
    with pytest.raises(InvalidArgumentError):
        tool.schema.check({"name": 5})
    assert tool.tool.execute({"name": "Ada"})["code"] == "SANDBOX_UNAVAILABLE"


async def test_tools_of_the_process_are_found_without_a_store(world: World) -> None:
    finding = world.tools.find("acme", "calculator")
    with pytest.raises(StopIteration) as found:
        finding.send(None)
    assert found.value.value.program is None
    assert await world.tools.find("acme", "calculator", "0" * 64) is None


@pytest.mark.parametrize(
    ("name", "version"),
    [("", ""), ("Greeter", ""), ("a\0b", ""), ("ä", ""), ("greeter", "x"), ("greeter", "A" * 64)],
)
async def test_what_no_custom_tool_is_named_is_not_looked_for(
    world: World, name: str, version: str
) -> None:
    await world.register()
    assert await world.tools.find("acme", name, version) is None
    with pytest.raises(ToolNotFoundError):
        await world.catalog.get_tool(name, WRITER, version)


async def test_versions_are_pinned_and_the_newest_is_the_last_registered(world: World) -> None:
    first = await world.register()
    assert await world.tools.find("acme", "greeter") is not None
    second = await world.register(description="Second.")
    newest = await world.tools.find("acme", "greeter")
    pinned = await world.tools.find("acme", "greeter", first.version)
    assert newest is not None
    assert pinned is not None
    assert (newest.version, pinned.version) == (second.version, first.version)
    world.now_ms = 2_000
    again = await world.register()
    assert again == first
    newest = await world.tools.find("acme", "greeter")
    assert newest is not None
    assert newest.version == first.version


async def test_what_another_process_did_is_seen_after_a_second(world: World) -> None:
    tool = await world.register()
    assert await world.tools.find("acme", "greeter") is not None
    assert await world.tools.find("acme", "greeter", tool.version) is not None
    await world.store.delete("acme", "greeter")
    world.now_seconds = 0.9
    assert await world.tools.find("acme", "greeter") is not None
    world.now_seconds = 1.1
    assert await world.tools.find("acme", "greeter") is None
    assert await world.tools.find("acme", "greeter", tool.version) is None


async def test_a_retired_tool_is_gone_at_once_with_every_version(world: World) -> None:
    first = await world.register()
    await world.register(description="Second.")
    for version in ("", first.version):
        assert await world.tools.find("acme", "greeter", version) is not None
    await world.custom.delete("greeter", WRITER)
    for version in ("", first.version):
        assert await world.tools.find("acme", "greeter", version) is None
    with pytest.raises(ToolNotFoundError):
        await world.custom.delete("greeter", WRITER)
    assert await world.register() == first


async def test_organizations_never_meet(world: World) -> None:
    theirs = await world.register(STRANGER)
    for version in ("", theirs.version):
        assert await world.tools.find("acme", "greeter", version) is None
        with pytest.raises(ToolNotFoundError):
            await world.catalog.get_tool("greeter", WRITER, version)
    with pytest.raises(ToolNotFoundError):
        await world.custom.delete("greeter", WRITER)
    names = [tool.name for tool in (await world.catalog.list_tools(WRITER)).tools]
    assert names == ["calculator", "own"]
    ours = await world.register(description="Ours.")
    assert (await world.catalog.get_tool("greeter", STRANGER)).version == theirs.version
    assert (await world.catalog.get_tool("greeter", WRITER)).version == ours.version


@pytest.mark.parametrize("name", ["calculator", "own", "read", "write"])
async def test_names_of_the_platform_are_refused(world: World, name: str) -> None:
    assert name in await world.refusal(ConflictError, name=name)
    assert world.inspector.programs == []


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Greeter"},
        {"name": "1st"},
        {"name": "x" * 65},
        {"name": "other"},
        {"class_name": "Greeter()"},
        {"source": "x = '\ud800'"},
        {"description": "x" * 4_097},
        {"description": "\ud800"},
        {"description": "a\0b"},
        {"description": " "},
        {"input_schema": {"type": "string"}},
        {"input_schema": {"type": "object", "properties": {"a": {"$ref": "http://x.example/"}}}},
        {"timeout_seconds": 601},
        {"timeout_seconds": -1},
        {"timeout_seconds": float("nan")},
        {"cache_ttl_seconds": 86_401},
        {"allowed_origins": ["api.example.com"]},
        {"allowed_origins": ["https://a.example"] * 33},
    ],
    ids=str,
)
async def test_what_is_wrong_is_refused(world: World, changes: dict[str, Any]) -> None:
    assert await world.refusal(InvalidArgumentError, **changes)


async def test_a_source_that_does_not_load_is_refused_with_the_line(world: World) -> None:
    message = await world.refusal(InvalidArgumentError, source=GREETER + "\nclass\n")
    assert "line 18" in message


@pytest.mark.parametrize(
    "forged",
    [
        {"name": "calculator"},
        {"description": 5},
        {"effect": "harmless"},
        {"cache_ttl_seconds": -1},
        {"cache_ttl_seconds": True},
        {"cache_ttl_seconds": 1e9},
        {"input_schema": {"type": "object", "$ref": "file:///etc/passwd"}},
        {"input_schema": {}},
        {"requires_approval": 1},
        {"requires_approval": "no"},
    ],
    ids=str,
)
async def test_what_a_source_makes_up_is_refused(world: World, forged: dict[str, Any]) -> None:
    world.inspector.forged = forged
    assert await world.refusal(InvalidArgumentError)


async def test_what_is_too_large_is_refused(world: World) -> None:
    await world.refusal(LimitExceededError, source="#" * 262_145)
    await world.refusal(LimitExceededError, source="#" + "é" * 131_072)
    schema = {"type": "object", "description": "x" * 65_536}
    await world.refusal(LimitExceededError, input_schema=schema)
    assert world.inspector.programs == []
    world.inspector.forged = {"input_schema": schema}
    await world.refusal(LimitExceededError)


async def test_numbers_of_tools_and_versions_are_limited(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(custom_tools, "TOOLS_MAX", 1)
    monkeypatch.setattr(custom_tools, "VERSIONS_MAX", 2)
    await world.register()
    await world.register(description="Second.")
    with pytest.raises(LimitExceededError, match="2 versions"):
        await world.register(description="Third.")
    with pytest.raises(LimitExceededError, match="1 tools"):
        await world.register(name="other", source=GREETER.replace('"greeter"', '"other"'))


async def test_without_a_sandbox_nothing_is_registered() -> None:
    class Unavailable:
        async def inspect(self, program: ToolProgram, *, timeout_seconds: float) -> ToolDescription:
            raise SandboxUnavailableError("The kernel has no Landlock.")

    world = World()
    world.custom = CustomTools(world.tools, Unavailable(), lambda: 0)
    assert "Landlock" in await world.refusal(SandboxUnavailableError)


async def test_what_looks_suspicious_is_told_and_does_not_matter(world: World) -> None:
    tool = await world.register(source=GREETER + "import os\n")
    assert tool.findings == ("line 17: imports os",)
    assert (await world.catalog.get_tool("greeter", WRITER)).findings == tool.findings


async def test_permissions_are_needed(world: World) -> None:
    nobody = SecurityContext("acme", "ada", frozenset({"tool:greeter", "policy:admin"}))
    reader = SecurityContext("acme", "ada", frozenset({"tool:read"}))
    for security in (nobody, reader):
        with pytest.raises(PermissionDeniedError, match="tool:write"):
            await world.register(security)
        with pytest.raises(PermissionDeniedError, match="tool:write"):
            await world.custom.delete("greeter", security)
    for refused in (
        world.catalog.list_tools(nobody),
        world.catalog.get_tool("calculator", nobody),
        world.catalog.describe_tools(["calculator"], nobody),
    ):
        with pytest.raises(PermissionDeniedError, match="tool:read"):
            await refused


async def test_tools_of_the_platform_stay(world: World) -> None:
    for name in ("calculator", "own"):
        with pytest.raises(FailedPreconditionError):
            await world.custom.delete(name, WRITER)
    with pytest.raises(ToolNotFoundError):
        await world.custom.delete("a\0b", WRITER)


class TestCatalog:
    async def test_own_tools_are_listed_among_those_of_the_platform(self, world: World) -> None:
        for name in ("apple", "melon", "zebra"):
            await world.register(name=name, source=GREETER.replace('"greeter"', f'"{name}"'))
        names = ["apple", "calculator", "melon", "own", "zebra"]
        for size in range(1, 6):
            seen, token = [], ""
            while True:
                page = await world.catalog.list_tools(WRITER, page_size=size, page_token=token)
                assert len(page.tools) <= size
                seen += page.tools
                token = page.next_page_token
                if not token:
                    break
            assert [tool.name for tool in seen] == names
            assert [tool.built_in for tool in seen] == [False, True, False, False, False]
            assert {tool.source for tool in seen} == {""}

    @pytest.mark.parametrize("request_", [{"page_size": -1}, {"page_size": 1_001}])
    async def test_a_size_that_is_none_is_refused(self, world: World, request_: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="page_size"):
            await world.catalog.list_tools(WRITER, **request_)

    @pytest.mark.parametrize("token", ["x", "\0", "AAAA", "calculator", "Y2FsY3VsYXRvcg=="])
    async def test_a_token_that_was_not_given_out_is_refused(
        self, world: World, token: str
    ) -> None:
        with pytest.raises(InvalidArgumentError, match="page_token"):
            await world.catalog.list_tools(WRITER, page_token=token)

    async def test_a_page_ends_where_its_schemas_are_large(self, world: World) -> None:
        schema = {"type": "object", "description": "x" * 60_000}
        for number in range(30):
            name = f"big_{number:02}"
            source = GREETER.replace('"greeter"', f'"{name}"')
            await world.register(name=name, source=source, input_schema=schema)
        page = await world.catalog.list_tools(WRITER)
        assert len(page.tools) == 17
        page = await world.catalog.list_tools(WRITER, page_token=page.next_page_token)
        assert page.next_page_token == ""
        assert [tool.name for tool in page.tools][-3:] == ["big_29", "calculator", "own"]

    async def test_a_tool_is_shown_with_its_source(self, world: World) -> None:
        stored = await world.register(timeout_seconds=1.0)
        shown = await world.catalog.get_tool("greeter", WRITER)
        assert (shown.source, shown.class_name) == (GREETER, "Greeter")
        assert (shown.version, shown.created_at_ms) == (stored.version, 1_000)
        assert (shown.timeout_seconds, shown.built_in, shown.enabled) == (1.0, False, True)
        assert await world.catalog.get_tool("greeter", WRITER, stored.version) == shown
        assert (await world.catalog.get_tool("calculator", WRITER)).built_in

    async def test_tools_are_described_at_their_pinned_versions(self, world: World) -> None:
        first = await world.register()
        second = await world.register(description="Second.")
        names = ["greeter", "missing", "calculator"]
        newest = await world.catalog.describe_tools(names, WRITER)
        assert [(tool.name, tool.version) for tool in newest] == [
            ("greeter", second.version),
            ("calculator", ""),
        ]
        pinned = await world.catalog.describe_tools(names, WRITER, {"greeter": first.version})
        assert [tool.version for tool in pinned] == [first.version, ""]
        assert msgspec.structs.asdict(pinned[0])["source"] == ""
        retired = await world.catalog.describe_tools(names, WRITER, {"greeter": "0" * 64})
        assert [tool.name for tool in retired] == ["calculator"]
