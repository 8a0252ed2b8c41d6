from __future__ import annotations

import json

import pytest

from agent_executor.errors import InvalidArgumentError, PermissionDeniedError, ToolNotFoundError
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.builtin.calculator import CalculatorTool
from agent_executor.tool_runner.calls.audit import AuditFilter, AuditReports
from agent_executor.tool_runner.custom.catalog import ToolCatalog
from agent_executor.tool_runner.custom.store_memory import MemoryCustomToolStore
from agent_executor.tool_runner.custom.tools import Tools
from agent_executor.tool_runner.registry import ToolRegistry
from tests.unit.tool_runner.tools_of_tests import ADA, EVE, FunctionTool, Runner, call

READER = SecurityContext("acme", "ada", frozenset({"tool:read"}))
NOBODY = SecurityContext("acme", "ada", frozenset({"run:execute", "ledger:read"}))


@pytest.fixture
def catalog() -> ToolCatalog:
    registry = ToolRegistry([CalculatorTool()])
    for name in ("weather", "abacus"):
        registry.register(FunctionTool(name=name, effect="idempotent"))
    return ToolCatalog(Tools(registry, MemoryCustomToolStore()))


async def test_tools_are_listed_in_pages(catalog: ToolCatalog) -> None:
    assert [tool.name for tool in (await catalog.list_tools(READER)).tools] == [
        "abacus",
        "calculator",
        "weather",
    ]
    first = await catalog.list_tools(READER, page_size=2)
    assert [tool.name for tool in first.tools] == ["abacus", "calculator"]
    second = await catalog.list_tools(READER, page_size=2, page_token=first.next_page_token)
    assert ([tool.name for tool in second.tools], second.next_page_token) == (["weather"], "")
    assert (await catalog.list_tools(READER, page_size=3)).next_page_token == ""
    for size in (-1, 1_001):
        with pytest.raises(InvalidArgumentError):
            await catalog.list_tools(READER, page_size=size)


async def test_a_tool_is_shown(catalog: ToolCatalog) -> None:
    tool = await catalog.get_tool("calculator", READER)
    assert (tool.effect, tool.enabled, tool.built_in) == ("read_only", True, True)
    assert json.loads(tool.input_schema_json)["required"] == ["operation", "a"]
    with pytest.raises(ToolNotFoundError):
        await catalog.get_tool("missing", READER)


async def test_tools_are_described_in_the_order_asked_for(catalog: ToolCatalog) -> None:
    tools = await catalog.describe_tools(["weather", "missing", "calculator"], READER)
    assert [tool.name for tool in tools] == ["weather", "calculator"]


async def test_the_catalog_is_for_those_who_may_read_it(catalog: ToolCatalog) -> None:
    with pytest.raises(PermissionDeniedError):
        await catalog.list_tools(NOBODY)
    with pytest.raises(PermissionDeniedError):
        await catalog.get_tool("calculator", NOBODY)
    with pytest.raises(PermissionDeniedError):
        await catalog.describe_tools(["calculator"], NOBODY)


async def test_the_audit_log_is_read_in_pages() -> None:
    runner = Runner(FunctionTool())
    for number in range(5):
        await runner.calls.execute(call(tool_call_id=str(number)), ADA)
    reports = AuditReports(runner.store)
    seen, token = [], ""
    while True:
        page = await reports.list(ADA, page_size=2, page_token=token)
        seen += [record.tool_call_id for record in page.records]
        token = page.next_page_token
        if not token:
            break
    assert seen == ["4", "3", "2", "1", "0"]
    assert (await reports.list(ADA, page_size=5)).next_page_token == ""
    assert (await reports.list(EVE)).records == []
    assert (await reports.list(ADA, matching=AuditFilter(tool_name="other"))).records == []
    assert len((await reports.list(ADA, matching=AuditFilter(run_id="run-1"))).records) == 5


@pytest.mark.parametrize("token", ["x", "-1", "1.5", "٣", "9" * 17, " 1"])
async def test_a_page_token_that_was_not_given_out_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgumentError, match="page_token"):
        await AuditReports(Runner().store).list(ADA, page_token=token)


async def test_the_audit_log_is_for_those_who_may_read_it() -> None:
    with pytest.raises(PermissionDeniedError, match="policy:admin"):
        await AuditReports(Runner().store).list(READER)
    for size in (-1, 1_001):
        with pytest.raises(InvalidArgumentError, match="page_size"):
            await AuditReports(Runner().store).list(ADA, page_size=size)
