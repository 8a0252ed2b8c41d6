"""The tool-runner: calls over its multiplexed stream, descriptions as unary RPCs."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import grpc
import msgspec
from cachetools import TTLCache

from agent_executor.api.call.v1 import grant_pb2
from agent_executor.api.tool_runner.v1 import (
    tool_call_service_pb2,
    tool_call_service_pb2_grpc,
    tool_service_pb2,
    tool_service_pb2_grpc,
)
from agent_executor.error_status import from_rpc_error
from agent_executor.errors import (
    AgentExecutorError,
    DeadlineExceededError,
    OutcomeUnknownError,
    UnavailableError,
)
from agent_executor.executor.models.model import ToolSpecification
from agent_executor.executor.peers.retries import Retries
from agent_executor.executor.peers.tools import ToolOutcome, ToolRequest
from agent_executor.serving.cancellation import StopSignal
from agent_executor.serving.grants import GRANT_METADATA_KEY, ServiceKey
from agent_executor.serving.replicas import Replicas
from agent_executor.serving.security import SecurityContext
from agent_executor.serving.telemetry import current_trace

AUDIENCE: Final = "tool-runner"
# How long a grant outlives its call's deadline, for a repeat after a lost stream.
GRANT_MARGIN_SECONDS: Final = 5.0
DESCRIPTION_TTL_SECONDS: Final = 10.0
DESCRIPTIONS_MAX: Final = 4096
DESCRIBE_TIMEOUT_SECONDS: Final = 5.0
DESCRIBE_TRY_SECONDS: Final = 2.0
SILENT: Final = "The tool-runner did not describe the tools in time."
# A run that is to end waits no longer for what came of a call.
STOP_TIMEOUT_SECONDS: Final = 1.0
# What a replica that is away, or hangs, has said of a call: nothing.
_UNHEARD: Final = (UnavailableError, DeadlineExceededError)

# The organization, the tools, and the versions of those that are custom.
_DescriptionKey: TypeAlias = tuple[str, tuple[str, ...], frozenset[tuple[str, str]]]


class GrpcToolRunner:
    """A ``ToolRunner`` in another process."""

    def __init__(self, replicas: Replicas, service_key: ServiceKey) -> None:
        self._replicas = replicas
        self._service_key = service_key
        self._retries = Retries()
        self._descriptions: TTLCache[_DescriptionKey, tuple[ToolSpecification, ...]]
        self._descriptions = TTLCache(DESCRIPTIONS_MAX, DESCRIPTION_TTL_SECONDS)
        self._changes = 0

    async def describe(
        self, tool_names: Sequence[str], security: SecurityContext, versions: Mapping[str, str]
    ) -> tuple[ToolSpecification, ...]:
        """See ``ToolRunner``. An answer is used for ``DESCRIPTION_TTL_SECONDS``.

        It is used for those only who ask for the very versions that it holds: who asks for the
        newest gets what is the newest by then, and a tool that is missing may be there by then.
        """
        names = tuple(tool_names)
        wanted = {name: versions[name] for name in names if versions.get(name)}
        known = self._descriptions.get((security.organization_id, names, frozenset(wanted.items())))
        if known is not None:
            return known
        changes = self._changes
        specifications = await self._ask(names, security, wanted)
        # What was asked for while something changed may be from before.
        if len(specifications) == len(names) and changes == self._changes:
            found = frozenset((tool.name, tool.version) for tool in specifications if tool.version)
            self._descriptions[security.organization_id, names, found] = specifications
        return specifications

    def forget(self, organization_id: str, name: str = "") -> None:
        """Asks again for the tools of an organization, of which one was changed."""
        del name
        self._changes += 1
        for key in [key for key in self._descriptions if key[0] == organization_id]:
            self._descriptions.pop(key, None)

    def forget_all(self) -> None:
        """Asks again for the tools of all organizations."""
        self._changes += 1
        self._descriptions.clear()

    async def _ask(
        self, names: Sequence[str], security: SecurityContext, versions: Mapping[str, str]
    ) -> tuple[ToolSpecification, ...]:
        grant = self._service_key.sign_grant(
            grant_pb2.Grant(
                audience=AUDIENCE,
                security_context=grant_pb2.SecurityContext(
                    organization_id=security.organization_id,
                    user_id=security.user_id,
                    permissions=["tool:read"],
                ),
                expires_at_unix_ms=_expiry_ms(DESCRIBE_TIMEOUT_SECONDS),
            )
        )
        request = tool_service_pb2.DescribeToolsRequest(tool_names=names, tool_versions=versions)
        response = await self._describe_patiently(request, grant.SerializeToString())
        return tuple(
            ToolSpecification(
                name=tool.name,
                description=tool.description,
                input_schema=msgspec.json.decode(tool.input_schema_json),
                version=tool.version,
                effect=tool.effect,
                requires_approval=tool.requires_approval,
            )
            for tool in response.tools
            if tool.enabled
        )

    async def _describe_patiently(
        self, request: tool_service_pb2.DescribeToolsRequest, grant: bytes
    ) -> tool_service_pb2.DescribeToolsResponse:
        """Asks until ``DESCRIBE_TIMEOUT_SECONDS`` are over, as when the tool-runner starts again."""
        now = asyncio.get_running_loop().time
        gives_up_at, tries = now() + DESCRIBE_TIMEOUT_SECONDS, 0
        while True:
            try:
                stub = tool_service_pb2_grpc.ToolServiceStub(self._replicas.channel)
                return await stub.DescribeTools(
                    request,
                    timeout=min(DESCRIBE_TRY_SECONDS, gives_up_at - now()),
                    metadata=((GRANT_METADATA_KEY, grant),),
                )
            except grpc.aio.AioRpcError as error:
                tries += 1
                delay_seconds = self._retries.delay_seconds(tries)
                # One that hangs, or whose database does, is as much away as one that is dead.
                is_silent = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
                is_away = is_silent or error.code() is grpc.StatusCode.UNAVAILABLE
                if not is_away or now() + delay_seconds >= gives_up_at:
                    if is_silent:
                        raise UnavailableError(SILENT) from error
                    raise from_rpc_error(error) from error
                await asyncio.sleep(delay_seconds)

    async def execute(
        self,
        request: ToolRequest,
        security: SecurityContext,
        *,
        timeout_seconds: float,
        stop: StopSignal | None = None,
    ) -> ToolOutcome:
        """See ``ToolRunner``."""
        grant = self._grant_for(request, security, timeout_seconds)
        response = await self._until_heard(
            tool_call_service_pb2.ExecuteToolCallRequest(
                tool_call_id=request.tool_call_id,
                tool_name=request.tool_name,
                arguments_json=request.arguments_json,
                run_id=request.run_id,
                agent_id=request.agent_id,
                is_test=request.is_test,
                tool_version=request.tool_version,
            ),
            timeout_seconds,
            grant,
            stop or StopSignal(),
        )
        return _outcome_of(response)

    async def stop(self, request: ToolRequest, security: SecurityContext) -> ToolOutcome | None:
        """See ``ToolRunner``. All replicas are asked at once, for ``STOP_TIMEOUT_SECONDS``."""
        channels = self._replicas.channels
        if not channels:
            raise UnavailableError("No address of the tool-runner is known.")
        grant = self._grant_for(request, security, STOP_TIMEOUT_SECONDS).SerializeToString()
        answers = await asyncio.gather(*(_stop_at(channel, request, grant) for channel in channels))
        # Only the one that runs the call can stop it. Another one says that it cannot tell, or that
        # it knows of nothing: a call that only reads is not in the record that they share.
        for answer in answers:
            if isinstance(answer, ToolOutcome):
                return answer
        errors = [answer for answer in answers if isinstance(answer, AgentExecutorError)]
        if errors:
            raise min(errors, key=lambda error: isinstance(error, _UNHEARD))
        return None

    def _grant_for(
        self, request: ToolRequest, security: SecurityContext, timeout_seconds: float
    ) -> grant_pb2.SignedGrant:
        """Returns a grant that is good for one tool call and no other one."""
        return self._service_key.sign_grant(
            grant_pb2.Grant(
                audience=AUDIENCE,
                security_context=grant_pb2.SecurityContext(
                    organization_id=security.organization_id,
                    user_id=security.user_id,
                    permissions=security.permissions,
                ),
                expires_at_unix_ms=_expiry_ms(timeout_seconds),
                tool_call_id=request.tool_call_id,
                tool_name=request.tool_name,
                arguments_digest=hashlib.sha256(request.arguments_json.encode()).digest(),
            )
        )

    async def _until_heard(
        self,
        request: tool_call_service_pb2.ExecuteToolCallRequest,
        timeout_seconds: float,
        grant: grant_pb2.SignedGrant,
        stop: StopSignal,
    ) -> tool_call_service_pb2.ExecuteToolCallResponse:
        """Returns the answer to a call, which is repeated under its id until its time is over.

        The stream does so while it has no connection. A tool-runner that is about to stop breaks its
        calls off; the next one answers from the record, or runs what can be run again.
        """
        now = asyncio.get_running_loop().time
        ends_at, tries, trace = now() + timeout_seconds, 0, current_trace()
        while True:
            try:
                answer: tool_call_service_pb2.ExecuteToolCallResponse = await self._replicas.call(
                    "execute",
                    request,
                    timeout_seconds=ends_at - now() if tries else timeout_seconds,
                    trace=trace,
                    grant=grant,
                    stop=stop,
                )
            except UnavailableError as error:
                tries += 1
                asked_for = error.retry_after_seconds or 0.0
                delay_seconds = max(asked_for, self._retries.delay_seconds(tries))
                if now() + delay_seconds >= ends_at:
                    raise
                await stop.sleep(delay_seconds)
                if stop.is_set:
                    raise OutcomeUnknownError(
                        "The tool-runner did not say what came of the call, which was stopped."
                    ) from error
            else:
                return answer


async def _stop_at(
    channel: grpc.aio.Channel, request: ToolRequest, grant: bytes
) -> ToolOutcome | AgentExecutorError | None:
    """Asks one replica to stop a call, and returns what it says; None if it knows of nothing."""
    try:
        response = await tool_call_service_pb2_grpc.ToolCallServiceStub(channel).StopToolCall(
            tool_call_service_pb2.StopToolCallRequest(
                tool_call_id=request.tool_call_id,
                tool_name=request.tool_name,
                arguments_json=request.arguments_json,
            ),
            timeout=STOP_TIMEOUT_SECONDS,
            metadata=((GRANT_METADATA_KEY, grant),),
        )
    except grpc.aio.AioRpcError as refusal:
        return from_rpc_error(refusal)
    return _outcome_of(response.outcome) if response.HasField("outcome") else None


def _outcome_of(response: tool_call_service_pb2.ExecuteToolCallResponse) -> ToolOutcome:
    return ToolOutcome(
        success=response.success,
        result_json=response.result_json,
        error=response.error,
        code=response.code,
        timestamp_ms=response.timestamp.ToMilliseconds(),
    )


def _expiry_ms(timeout_seconds: float) -> int:
    return int((time.time() + timeout_seconds + GRANT_MARGIN_SECONDS) * 1000)
