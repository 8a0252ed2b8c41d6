"""The table of methods, held against the contracts."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, assert_type

import pytest
from google.protobuf.descriptor import MethodDescriptor

from agent_executor.api.executor.v1 import agent_pb2, run_event_pb2, run_pb2
from agent_executor.client import AgentExecutorClient, AsyncAgentExecutorClient
from agent_executor.client.call_options import Method, Repeat
from agent_executor.client.groups import Groups
from agent_executor.client.methods import Group, Paged, Stream, Unary
from tests.unit.client.gateway_descriptor import methods_of_the_gateway, reads_only

PAGE = Path(__file__).parents[3] / "deploy" / "docs" / "client.md"

# What the services say to one another, and what Envoy asks.
BETWEEN_SERVICES = {
    "ToolService/DescribeTools",
    "ToolCallService/StreamToolCalls",
    *("UsageService/ReserveUsage", "UsageService/ReserveAmount", "UsageService/RenewReservation"),
    *("UsageService/SettleUsage", "UsageService/VoidReservation", "UsageService/GetReservation"),
    "UsageService/StreamUsage",
    "Authorization/Check",
    "RateLimitService/ShouldRateLimit",
}
# The contracts give these an idempotency key.
UNDER_KEY = {
    "AgentService/CreateAgent",
    *("RunService/ExecuteAgent", "RunService/ExecuteAgentBatch", "RunService/StreamAgent"),
    *("RunService/TestAgent", "RunService/StartRun", "RunService/StartRunBatch"),
}
# They write, and their contracts say that the same call again changes nothing.
HARMLESS_WRITES = {
    "ApiKeyService/RevokeApiKey",
    "RunService/CancelRun",
    "RunService/ResolveApproval",
    "TokenService/ExchangeApiKey",
    *("ToolCallService/ExecuteToolCall", "ToolCallService/StopToolCall"),
    *("UsageService/RecordUsage", "UsageService/CorrectUsage"),
}
# It reads, though no RPC of REST does what it does.
HARMLESS_READS = {"MonitorService/StreamActivity"}
# It reads, and cannot be taken up in its middle.
FILES = {"UsageService/ExportUsage"}

Row = Unary[Any, Any] | Paged[Any, Any, Any] | Stream[Any, Any]


def rows() -> dict[str, Row]:
    """Returns every row of the table by its attribute, as `agents.create`."""
    groups = vars(Groups(None))
    return {
        f"{name}.{attribute}": row
        for name, group in groups.items()
        if isinstance(group, Group)
        for attribute, row in vars(type(group)).items()
        if isinstance(row, Unary | Paged | Stream)
    }


ROWS = rows()
METHODS = methods_of_the_gateway()


def method_of(row: Row) -> Method[Any]:
    return row.method


def contract_of(row: Row) -> MethodDescriptor:
    return METHODS[row.method.path.rpartition(".")[2]]


def test_every_method_of_the_contracts_is_there_once() -> None:
    called = sorted(row.method.path.rpartition(".")[2] for row in ROWS.values())
    assert called == sorted(set(METHODS) - BETWEEN_SERVICES)
    assert set(METHODS) >= BETWEEN_SERVICES


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_row_is_what_the_contract_says(name: str) -> None:
    row = ROWS[name]
    contract, method = contract_of(row), method_of(row)
    service = contract.containing_service
    assert method.path == f"/{service.full_name}/{contract.name}"
    request: Any = row.request
    assert request.DESCRIPTOR.full_name == contract.input_type.full_name
    assert method.response.DESCRIPTOR.full_name == contract.output_type.full_name
    assert isinstance(row, Stream) is contract.server_streaming
    fields = set(contract.output_type.fields_by_name)
    assert isinstance(row, Paged) is ("next_page_token" in fields)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_only_harmless_calls_are_repeated(name: str) -> None:
    row = ROWS[name]
    called = row.method.path.rpartition(".")[2]
    if called in UNDER_KEY:
        expected = Repeat.UNDER_KEY
    elif called in HARMLESS_WRITES | HARMLESS_READS or (
        reads_only(contract_of(row)) and called not in FILES
    ):
        expected = Repeat.HARMLESS
    else:
        expected = Repeat.NEVER
    assert row.method.repeat is expected


def test_the_page_of_the_documentation_names_every_method() -> None:
    documented = set()
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            groups, methods = (re.findall("`([^`]+)`", cell) for cell in line[1:-1].split(" | "))
            for group, names in zip(groups, methods, strict=True):
                documented |= {f"{group}.{name}" for name in names.split()}
    assert documented == set(ROWS)


def test_every_list_gives_the_items_of_its_page() -> None:
    for name, row in ROWS.items():
        if isinstance(row, Paged):
            page = row.method.response()
            (repeated,) = (field.name for field in page.DESCRIPTOR.fields if field.is_repeated)
            getattr(page, repeated).add()
            assert len(list(row._items(page))) == 1, name


def types_of_the_blocking_client(client: AgentExecutorClient) -> None:
    """Is read by the type checker, and never run."""
    assert_type(client.agents.get(agent_id="a"), agent_pb2.Agent)
    for run in client.runs.list(page_size=2):
        assert_type(run, run_pb2.Run)
    for event in client.runs.follow(run_id="r"):
        assert_type(event, run_event_pb2.RunEvent)
    client.agents.create(nmae="Ada")  # type: ignore[call-arg]  # it is no field
    client.agents.get(agent_id=1)  # type: ignore[arg-type]  # it is a text


async def types_of_the_aio_client(client: AsyncAgentExecutorClient) -> None:
    """As above."""
    assert_type(client.agents.get(agent_id="a"), Awaitable[agent_pb2.Agent])
    async for run in client.runs.list(page_size=2):
        assert_type(run, run_pb2.Run)
    async for event in client.runs.follow(run_id="r"):
        assert_type(event, run_event_pb2.RunEvent)


def test_the_clients_have_the_same_groups_and_options() -> None:
    sync, aio = (
        inspect.signature(kind) for kind in (AgentExecutorClient, AsyncAgentExecutorClient)
    )
    assert list(sync.parameters) == list(aio.parameters)
