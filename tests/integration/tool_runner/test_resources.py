"""Custom tools, policy and credentials over gRPC, on a real database."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from agent_executor.api.tool_runner.v1 import (
    credential_service_pb2,
    credential_service_pb2_grpc,
    policy_service_pb2,
    policy_service_pb2_grpc,
    tool_service_pb2,
    tool_service_pb2_grpc,
)
from agent_executor.error_status import from_rpc_error
from agent_executor.errors import (
    AgentExecutorError,
    ConflictError,
    CredentialNotFoundError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ToolNotFoundError,
    UnauthenticatedError,
)
from agent_executor.serving.server import ServiceRuntime, started
from agent_executor.storage.encryption import Encryption
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements_sqlite import SqliteStatementRunner
from agent_executor.tool_runner.builtin.calculator import CalculatorTool
from agent_executor.tool_runner.mcp.client import McpClient
from agent_executor.tool_runner.registry import ToolRegistry
from agent_executor.tool_runner.resource_servicer import register_resource_services
from agent_executor.tool_runner.resources import Resources
from agent_executor.tool_runner.schema import MIGRATIONS
from agent_executor.tool_runner.settings import ToolRunnerSettings
from tests.integration.tool_runner.running_tool_runner import Platform
from tests.unit.tool_runner.resources_of_tests import GREETER, FakeInspector

SECRET = "sk-very-secret"
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 5, "minLength": 1}},
}
CREATE: dict[str, Any] = {"name": "greeter", "source": GREETER, "class_name": "Greeter"}


@dataclass(frozen=True)
class FixedStatus:
    """A sandbox that never changes; it reports itself."""

    available: bool = True
    tier: str = "landlock"
    landlock_abi: int = 7
    missing: Sequence[str] = ("User namespaces are forbidden.",)
    remedy: str = "Allow them."
    checked_at_ms: int = 1_700_000_000_123
    idle_workers: int = 3
    busy_workers: int = 1

    @property
    def status(self) -> FixedStatus:
        """See ``SandboxReporter``."""
        return self


@dataclass
class World:
    """A running service and its callers."""

    platform: Platform
    channel: grpc.aio.Channel
    resources: list[Resources] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tools: Any = tool_service_pb2_grpc.ToolServiceStub(self.channel)
        self.policy: Any = policy_service_pb2_grpc.PolicyServiceStub(self.channel)
        self.credentials: Any = credential_service_pb2_grpc.CredentialServiceStub(self.channel)

    async def call(
        self, method: Any, request: Any, *permissions: str, organization: str = "acme"
    ) -> Any:
        """Makes a call; without permissions named, with all."""
        token = self.platform.token(*(permissions or ("*",)), organization=organization)
        try:
            return await method(request, metadata=token, timeout=60)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def create(self, organization: str = "acme", **changes: Any) -> Any:
        request = tool_service_pb2.CreateToolRequest()
        json_format.ParseDict(CREATE | changes, request)
        return await self.call(self.tools.CreateTool, request, organization=organization)

    async def put_credential(self, **changes: Any) -> Any:
        request = credential_service_pb2.PutCredentialRequest(
            **{"name": "api", "secret": SECRET, **changes}
        )
        return await self.call(self.credentials.PutCredential, request)


@asynccontextmanager
async def running(data_dir: Path) -> AsyncIterator[World]:
    """Yields the services, on the database in the folder."""
    platform = Platform.in_folder(data_dir)
    built: list[Resources] = []

    async def build(runtime: ServiceRuntime[ToolRunnerSettings]) -> Sequence[str]:
        settings = runtime.settings
        upgrade(settings.database_file, MIGRATIONS)
        database = SqliteDatabase(settings.database_file)
        runtime.resources.push_async_callback(database.close)
        resources = Resources.in_database(
            SqliteStatementRunner(database),
            ToolRegistry([CalculatorTool()]),
            Encryption.from_file(settings.encryption_key_path),
            FakeInspector(),
            McpClient(settings.egress_policy),
            lambda: int(time.time() * 1000),
        )
        built.append(resources)
        return register_resource_services(runtime.server, resources, FixedStatus())

    settings = ToolRunnerSettings(data_dir=data_dir, drain_seconds=0, shutdown_grace_seconds=0.5)
    async with (
        started("tool-runner", settings, build) as service,
        grpc.aio.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel,
    ):
        yield World(platform, channel, built)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running(tmp_path) as world:
        yield world


async def test_a_tool_is_registered_shown_and_retired(world: World) -> None:
    created = await world.create(
        description="Waves.",
        input_schema=SCHEMA,
        timeout_seconds=1.5,
        allowed_origins=["https://API.example.com/"],
        source=GREETER + "import os\n",
    )
    assert (created.name, created.description, created.effect) == ("greeter", "Waves.", "read_only")
    assert json_format.MessageToDict(created.input_schema) == SCHEMA
    assert (created.built_in, created.enabled, created.class_name) == (False, True, "Greeter")
    assert (created.timeout_seconds, created.cache_ttl_seconds) == (1.5, 30)
    assert list(created.allowed_origins) == ["https://api.example.com"]
    assert list(created.findings) == ["line 17: imports os"]
    assert created.created_at.seconds > 1_700_000_000
    assert len(created.version) == 64
    shown = await world.call(
        world.tools.GetTool, tool_service_pb2.GetToolRequest(tool_name="greeter"), "tool:read"
    )
    assert shown == created
    listed = await world.call(world.tools.ListTools, tool_service_pb2.ListToolsRequest())
    assert [(tool.name, tool.source) for tool in listed.tools] == [
        ("calculator", ""),
        ("greeter", ""),
    ]
    request = tool_service_pb2.DeleteToolRequest(tool_name="greeter")
    with pytest.raises(NotFoundError):
        await world.call(world.tools.DeleteTool, request, organization="other")
    await world.call(world.tools.DeleteTool, request, "tool:write")
    with pytest.raises(ToolNotFoundError):
        await world.call(world.tools.DeleteTool, request)
    request = tool_service_pb2.DeleteToolRequest(tool_name="calculator")
    with pytest.raises(FailedPreconditionError):
        await world.call(world.tools.DeleteTool, request)


async def test_the_schema_is_kept_as_clean_json(world: World) -> None:
    await world.create(input_schema=SCHEMA)
    request = tool_service_pb2.DescribeToolsRequest(tool_names=["greeter"])
    (described,) = (await world.call(world.tools.DescribeTools, request, "tool:read")).tools
    assert described.input_schema_json == (
        '{"properties":{"name":{"maxLength":5,"minLength":1,"type":"string"}},"type":"object"}'
    )


async def test_versions_are_described_as_they_are_pinned(world: World) -> None:
    first = await world.create()
    second = await world.create(description="Second.")
    assert first.version != second.version
    assert (await world.create()).version == first.version

    async def described(**versions: str) -> list[str]:
        request = tool_service_pb2.DescribeToolsRequest(
            tool_names=["greeter", "calculator"], tool_versions=versions
        )
        response = await world.call(world.tools.DescribeTools, request)
        return [tool.version for tool in response.tools]

    assert await described() == [first.version, ""]
    assert await described(greeter=second.version) == [second.version, ""]
    assert await described(greeter="0" * 64) == [""]


async def test_refusals_have_their_codes(world: World) -> None:
    for error, changes in (
        (ConflictError, {"name": "calculator"}),
        (InvalidArgumentError, {"source": "class"}),
        (InvalidArgumentError, {"input_schema": {"type": "string"}}),
        (InvalidArgumentError, {"name": "Upper"}),
        (InvalidArgumentError, {"allowed_origins": ["api.example.com"]}),
    ):
        with pytest.raises(error):
            await world.create(**changes)
    listed = await world.call(world.tools.ListTools, tool_service_pb2.ListToolsRequest())
    assert [tool.name for tool in listed.tools] == ["calculator"]


async def test_the_sandbox_is_reported(world: World) -> None:
    request = tool_service_pb2.GetSandboxRequest()
    sandbox = await world.call(world.tools.GetSandbox, request, "tool:read")
    assert json_format.MessageToDict(sandbox) == {
        "available": True,
        "tier": "landlock",
        "landlockAbi": 7,
        "missing": ["User namespaces are forbidden."],
        "remedy": "Allow them.",
        "checkedAt": "2023-11-14T22:13:20.123Z",
        "idleWorkers": 3,
        "busyWorkers": 1,
    }
    with pytest.raises(PermissionDeniedError):
        await world.call(world.tools.GetSandbox, request, "tool:write")


async def test_policy_is_set_listed_and_removed(world: World) -> None:
    policy = world.policy
    request = policy_service_pb2.SetRateLimitRequest(
        tool_name="greeter", max_calls=0, window_seconds=0.5
    )
    limit = await world.call(policy.SetRateLimit, request, "policy:admin")
    assert (limit.tool_name, limit.scope, limit.max_calls, limit.window_seconds) == (
        *("greeter", "user", 0),
        0.5,
    )
    listed = await world.call(policy.ListRateLimits, policy_service_pb2.ListRateLimitsRequest())
    assert list(listed.rate_limits) == [limit]
    deletion = policy_service_pb2.DeleteRateLimitRequest(tool_name="greeter")
    await world.call(policy.DeleteRateLimit, deletion)
    with pytest.raises(NotFoundError):
        await world.call(policy.DeleteRateLimit, deletion)
    addition = policy_service_pb2.AddAllowedDomainRequest(domain="*.Example.com")
    domain = await world.call(policy.AddAllowedDomain, addition)
    assert domain.domain == "*.example.com"
    assert domain.created_at.seconds > 1_700_000_000
    assert await world.call(policy.AddAllowedDomain, addition) == domain
    domains = policy_service_pb2.ListAllowedDomainsRequest()
    listed = await world.call(policy.ListAllowedDomains, domains)
    assert list(listed.allowed_domains) == [domain]
    assert not (
        await world.call(policy.ListAllowedDomains, domains, organization="other")
    ).allowed_domains
    removal = policy_service_pb2.RemoveAllowedDomainRequest(domain="*.example.com")
    await world.call(policy.RemoveAllowedDomain, removal)
    with pytest.raises(NotFoundError):
        await world.call(policy.RemoveAllowedDomain, removal)


async def test_credentials_are_stored_and_their_secrets_are_not_shown(
    world: World, tmp_path: Path
) -> None:
    stored = await world.put_credential(tools=["http_request"])
    assert (stored.header_name, stored.header_prefix) == ("authorization", "Bearer ")
    bare = await world.put_credential(name="bare", header_name="X-Api-Key", header_prefix="")
    assert (bare.header_name, bare.header_prefix) == ("x-api-key", "")
    listed = await world.call(
        world.credentials.ListCredentials,
        credential_service_pb2.ListCredentialsRequest(),
        "credential:admin",
    )
    assert list(listed.credentials) == [stored, bare]
    assert SECRET not in str(listed)
    for file in (tmp_path / "tool_runner").iterdir():
        assert SECRET.encode() not in file.read_bytes()
    opened = await world.resources[0].credentials.open("acme", "api")
    assert opened.secret.reveal() == SECRET
    deletion = credential_service_pb2.DeleteCredentialRequest(name="api")
    await world.call(world.credentials.DeleteCredential, deletion)
    with pytest.raises(CredentialNotFoundError):
        await world.call(world.credentials.DeleteCredential, deletion)


async def test_a_refused_credential_is_not_repeated(world: World) -> None:
    for changes in ({"secret": SECRET + "\n"}, {"header_name": "Host"}, {"name": "Upper"}):
        with pytest.raises(InvalidArgumentError) as caught:
            await world.put_credential(**changes)
        error: AgentExecutorError = caught.value
        assert SECRET not in f"{error.message} {error.metadata} {caught.value.field_violations}"


async def test_everything_outlives_the_process(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        created = await world.create()
        await world.put_credential()
        addition = policy_service_pb2.AddAllowedDomainRequest(domain="a.example")
        await world.call(world.policy.AddAllowedDomain, addition)
    async with running(tmp_path) as world:
        request = tool_service_pb2.GetToolRequest(tool_name="greeter")
        assert await world.call(world.tools.GetTool, request) == created
        (resources,) = world.resources
        assert (await resources.credentials.open("acme", "api")).secret.reveal() == SECRET
        assert (await resources.policies.of("acme")).allowed_domains == {"a.example"}


async def test_nothing_is_answered_without_a_token(world: World) -> None:
    for method, request in (
        (world.tools.CreateTool, tool_service_pb2.CreateToolRequest(**CREATE)),
        (world.tools.GetSandbox, tool_service_pb2.GetSandboxRequest()),
        (world.policy.ListRateLimits, policy_service_pb2.ListRateLimitsRequest()),
        (world.credentials.ListCredentials, credential_service_pb2.ListCredentialsRequest()),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(request, timeout=60)
        assert isinstance(from_rpc_error(caught.value), UnauthenticatedError)


def test_the_key_is_in_the_tool_runners_own_folder_unless_it_is_set(tmp_path: Path) -> None:
    settings = ToolRunnerSettings(data_dir=tmp_path)
    assert settings.encryption_key_path == tmp_path / "tool_runner" / "encryption.key"
    chosen = ToolRunnerSettings(data_dir=tmp_path, encryption_key_file=str(tmp_path / "key"))
    assert chosen.encryption_key_path == tmp_path / "key"


async def test_a_key_file_that_is_lost_loses_the_secrets_and_nothing_else(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await world.put_credential()
    (tmp_path / "tool_runner" / "encryption.key").unlink()
    async with running(tmp_path) as world:
        with pytest.raises(FailedPreconditionError):
            await world.resources[0].credentials.open("acme", "api")
        await world.put_credential()
        opened = await world.resources[0].credentials.open("acme", "api")
        assert opened.secret.reveal() == SECRET
    with sqlite3.connect(tmp_path / "tool_runner" / "tool_runner.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM credentials").fetchone() == (1,)
