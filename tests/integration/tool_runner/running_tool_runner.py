"""The tool-runner as it serves, in the test's own process or in another, and its callers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from agent_executor.api.call.v1 import grant_pb2
from agent_executor.api.tool_runner.v1 import (
    audit_service_pb2_grpc,
    tool_call_service_pb2,
    tool_call_service_pb2_grpc,
    tool_service_pb2_grpc,
)
from agent_executor.cli.issuer import TokenClaims, issue_token
from agent_executor.cli.keys import ensure_keys
from agent_executor.error_status import from_rpc_error
from agent_executor.serving.grants import GRANT_METADATA_KEY, ServiceKey
from agent_executor.serving.multiplex_client import MultiplexedStream
from agent_executor.serving.multiplex_frames import CHANNEL_OPTIONS
from agent_executor.serving.server import started
from agent_executor.serving.telemetry import CallTrace
from agent_executor.tool_runner.bootstrap import SERVICE_NAME, bootstrap
from agent_executor.tool_runner.schema import MIGRATIONS
from agent_executor.tool_runner.settings import ToolRunnerSettings
from agent_executor.tool_runner.tool_base import ToolBase
from tests.sqlite import migrated_file

PROGRAM = Path(__file__).with_name("tool_runner_process.py")
TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Platform:
    """A data folder with its keys: whoever holds it can speak for anyone."""

    data_dir: Path
    service_key: ServiceKey

    @classmethod
    def in_folder(cls, data_dir: Path) -> Platform:
        keys = ensure_keys(data_dir)
        return cls(data_dir, ServiceKey.load(keys.service))

    def token(
        self, *permissions: str, organization: str = "acme", user: str = "ada"
    ) -> tuple[tuple[str, str], ...]:
        """Returns the metadata of a user's call."""
        claims = TokenClaims(organization=organization, user=user, permissions=permissions)
        pem = (self.data_dir / "keys" / "issuer.pem").read_bytes()
        return (("authorization", f"Bearer {issue_token(pem, claims)}"),)

    def grant(
        self,
        request: tool_call_service_pb2.ExecuteToolCallRequest | None = None,
        *,
        permissions: tuple[str, ...] = ("tool:*",),
        organization: str = "acme",
        lifetime_seconds: float = 60.0,
        **changes: Any,
    ) -> grant_pb2.SignedGrant:
        """Returns a grant for one call, as the executor makes it, but for the changes."""
        fields: dict[str, Any] = {
            "audience": "tool-runner",
            "security_context": grant_pb2.SecurityContext(
                organization_id=organization, user_id="ada", permissions=permissions
            ),
            "expires_at_unix_ms": int((time.time() + lifetime_seconds) * 1000),
        }
        if request is not None:
            fields |= {
                "tool_call_id": request.tool_call_id,
                "tool_name": request.tool_name,
                "arguments_digest": hashlib.sha256(request.arguments_json.encode()).digest(),
            }
        return self.service_key.sign_grant(grant_pb2.Grant(**fields | changes))


class Caller:
    """A channel to the tool-runner, with a stream and a stub of each service on it."""

    def __init__(self, port: int) -> None:
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS)
        self.calls: Any = tool_call_service_pb2_grpc.ToolCallServiceStub(self.channel)
        self.tools: Any = tool_service_pb2_grpc.ToolServiceStub(self.channel)
        self.audit: Any = audit_service_pb2_grpc.AuditServiceStub(self.channel)
        self.stream = MultiplexedStream(
            self.calls.StreamToolCalls,
            tool_call_service_pb2.StreamToolCallsRequest,
            name="tool-runner",
        )

    async def close(self) -> None:
        await self.stream.close()
        await self.channel.close()

    async def execute(
        self,
        path: str,
        request: tool_call_service_pb2.ExecuteToolCallRequest,
        grant: grant_pb2.SignedGrant | None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        traceparent: str = "",
    ) -> Any:
        """Makes a call on one of the two paths, ``unary`` or ``stream``, with the same errors."""
        if path == "stream":
            return await self.stream.call(
                "execute",
                request,
                timeout_seconds=timeout_seconds,
                grant=grant,
                trace=CallTrace(traceparent),
            )
        metadata: list[tuple[str, str | bytes]] = [("traceparent", traceparent)]
        if grant is not None:
            metadata.append((GRANT_METADATA_KEY, grant.SerializeToString()))
        try:
            return await self.calls.ExecuteToolCall(
                request, timeout=timeout_seconds, metadata=metadata
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error


def make_request(
    tool_name: str = "calculator",
    arguments_json: str = '{"operation":"add","a":15,"b":27}',
    tool_call_id: str = "call-1",
    **more: Any,
) -> tool_call_service_pb2.ExecuteToolCallRequest:
    return tool_call_service_pb2.ExecuteToolCallRequest(
        tool_call_id=tool_call_id, tool_name=tool_name, arguments_json=arguments_json, **more
    )


@dataclass(frozen=True)
class Running:
    """A tool-runner that serves in this process."""

    platform: Platform
    caller: Caller
    grpc_port: int
    metrics_port: int


@contextlib.asynccontextmanager
async def running_tool_runner(
    data_dir: Path, *tools: ToolBase, **settings: Any
) -> AsyncIterator[Running]:
    """Yields a tool-runner with the built-in tools and those given."""
    platform = Platform.in_folder(data_dir)
    chosen = ToolRunnerSettings(
        data_dir=data_dir, drain_seconds=0, shutdown_grace_seconds=0.5, **settings
    )
    if not chosen.database_url:
        migrated_file(chosen.database_file, MIGRATIONS)
    build = functools.partial(bootstrap, further_tools=tools)
    async with started(SERVICE_NAME, chosen, build) as service:
        caller = Caller(service.grpc_port)
        try:
            yield Running(platform, caller, service.grpc_port, service.metrics_port)
        finally:
            await caller.close()


def environment_of(data_dir: Path) -> dict[str, str]:
    """Returns all that a tool-runner's process is told."""
    return {
        "PYTHONPATH": ":".join(filter(None, sys.path)),
        "TOOL_RUNNER_DATA_DIR": str(data_dir),
        "TOOL_RUNNER_DRAIN_SECONDS": "0",
    }


@dataclass(frozen=True)
class RunningProcess:
    """A tool-runner in a process of its own."""

    process: asyncio.subprocess.Process
    caller: Caller


@contextlib.asynccontextmanager
async def tool_runner_process(data_dir: Path, witness: Path) -> AsyncIterator[RunningProcess]:
    """Yields a process whose unsafe tool ``witnessed`` writes a line to the witness and hangs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        PROGRAM,
        str(witness),
        env=environment_of(data_dir),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(TIMEOUT_SECONDS):
            line = await process.stdout.readline()
        caller = Caller(int(line))
        try:
            yield RunningProcess(process, caller)
        finally:
            await caller.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
