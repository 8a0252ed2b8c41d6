"""A gRPC service behind the gateway whose answers are chosen by the ids in the request.

It is a process of its own (`python -m tests.integration.gateway.upstream PORT`), so that a test can
kill it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from agent_executor.api.error.v1 import error_pb2
from agent_executor.api.executor.v1 import (
    agent_pb2,
    agent_service_pb2,
    agent_service_pb2_grpc,
    run_event_pb2,
    run_service_pb2,
    run_service_pb2_grpc,
)
from agent_executor.api.gateway.v1 import (
    external_authorization_service_pb2 as gateway_pb2,
)
from agent_executor.api.gateway.v1 import (
    external_authorization_service_pb2_grpc as gateway_grpc,
)
from agent_executor.errors import LimitExceededError
from agent_executor.executor.api_keys.convert import denied_to_proto

HARD_TEXT = 'data: {"run_id":"x","type":"heartbeat","sequence":7}\n\ndata: {}\n\n: é \r\n%1'
HARD_MESSAGE = 'rate limit of "calculator" } {"@type": \\ é'


def rich_status(message: str = HARD_MESSAGE, *, body: bool = True) -> grpc.Status:
    """RESOURCE_EXHAUSTED as the services send it, with or without an ErrorBody."""
    status = status_pb2.Status(code=8, message=message)
    info = error_details_pb2.ErrorInfo(
        reason="RATE_LIMIT_EXCEEDED", domain="agent-executor", metadata={"message": '"}'}
    )
    status.details.add().Pack(info)
    status.details.add().Pack(
        error_details_pb2.RetryInfo(retry_delay=Duration(seconds=6, nanos=200_000_000))
    )
    if body:
        status.details.add().Pack(
            error_pb2.ErrorBody(
                error=message,
                tool_name="calculator",
                code="RATE_LIMIT_EXCEEDED",
                timestamp=Timestamp(seconds=1_771_840_800),
            )
        )
    to_send: grpc.Status = rpc_status.to_status(status)
    return to_send


class Agents(agent_service_pb2_grpc.AgentServiceServicer):
    async def GetAgent(  # noqa: N802 -- the contract's name
        self,
        request: agent_service_pb2.GetAgentRequest,
        context: grpc.aio.ServicerContext[agent_service_pb2.GetAgentRequest, agent_pb2.Agent],
    ) -> agent_pb2.Agent:
        kind, _, argument = request.agent_id.partition("-")
        if kind == "say":
            await context.abort_with_status(rich_status(bytes.fromhex(argument).decode()))
        match request.agent_id:
            case "rich":
                await context.abort_with_status(rich_status())
            case "rich-after-headers":
                await context.send_initial_metadata(())
                await context.abort_with_status(rich_status())
            case "no-body":
                await context.abort_with_status(rich_status(body=False))
            case "bare":
                await context.abort(grpc.StatusCode.NOT_FOUND, 'no "bare"')
            case "bug":
                msg = "the secret of the stack trace"
                raise RuntimeError(msg)
            case "slow":
                await asyncio.sleep(60)
            case "large":
                return agent_pb2.Agent(description="x" * 3_000_000)
            case "metadata":
                metadata = {key: str(value) for key, value in context.invocation_metadata() or ()}
                metadata["time-remaining"] = str(context.time_remaining())
                return agent_pb2.Agent(description=json.dumps(metadata))
        return agent_pb2.Agent(id=request.agent_id, version=request.version)

    async def CreateAgent(  # noqa: N802 -- the contract's name
        self,
        request: agent_service_pb2.CreateAgentRequest,
        context: grpc.aio.ServicerContext[agent_service_pb2.CreateAgentRequest, agent_pb2.Agent],
    ) -> agent_pb2.Agent:
        del context
        return agent_pb2.Agent(name=request.name, instructions=request.instructions)


class Runs(run_service_pb2_grpc.RunServiceServicer):
    async def ExecuteAgent(  # noqa: N802 -- the contract's name
        self,
        request: run_service_pb2.ExecuteAgentRequest,
        context: grpc.aio.ServicerContext[
            run_service_pb2.ExecuteAgentRequest, run_service_pb2.ExecuteAgentResponse
        ],
    ) -> run_service_pb2.ExecuteAgentResponse:
        match request.input:
            case "wait":
                await asyncio.sleep(60)
            case "nap":
                await asyncio.sleep(0.5)
            case "die":
                os._exit(1)
        return run_service_pb2.ExecuteAgentResponse(
            agent_id=request.agent_id, input=str(context.time_remaining()), tokens_used=7
        )

    async def StreamRunEvents(  # noqa: N802 -- the contract's name
        self,
        request: run_service_pb2.StreamRunEventsRequest,
        context: grpc.aio.ServicerContext[
            run_service_pb2.StreamRunEventsRequest, run_event_pb2.RunEvent
        ],
    ) -> AsyncIterator[run_event_pb2.RunEvent]:
        if request.run_id == "rich":
            await context.abort_with_status(rich_status())
        for sequence in (1, 2):
            yield run_event_pb2.RunEvent(
                run_id=request.run_id, sequence=sequence, type="model_call_started"
            )
        yield run_event_pb2.RunEvent(run_id=request.run_id, sequence=2, type="heartbeat")

    async def StreamAgent(  # noqa: N802 -- the contract's name
        self,
        request: run_service_pb2.StreamAgentRequest,
        context: grpc.aio.ServicerContext[
            run_service_pb2.StreamAgentRequest, run_service_pb2.RunUpdate
        ],
    ) -> AsyncIterator[run_service_pb2.RunUpdate]:
        if request.agent_id == "rich":
            await context.abort_with_status(rich_status())
        metadata = {key: str(value) for key, value in context.invocation_metadata() or ()}
        metadata["time-remaining"] = str(context.time_remaining())
        texts = [HARD_TEXT]
        if request.input == "large":
            texts = ["\n" * size for size in (1, 70_000, 2_000_000, 5)]
        told = (
            run_service_pb2.RunUpdate(
                type="text_delta",
                sequence=2,
                text_delta=run_service_pb2.TextDelta(text=json.dumps(metadata)),
            ),
            run_service_pb2.RunUpdate(type="heartbeat", sequence=2),
            # What a model writes is not taken for the frame around it.
            *(
                run_service_pb2.RunUpdate(
                    type="text_delta", sequence=2, text_delta=run_service_pb2.TextDelta(text=text)
                )
                for text in texts
            ),
            run_service_pb2.RunUpdate(
                type="done", sequence=9, done=run_service_pb2.ExecuteAgentResponse(task_id="r")
            ),
        )
        for update in told:
            update.run_id = "r"
            yield update
            if request.input == "pause":
                await asyncio.sleep(0.2)
        if request.input == "hang":
            await asyncio.sleep(60)


class Authorization(gateway_grpc.AuthorizationServicer):
    """Takes `aek_<token>` for a key of that token, and tells what it was asked with `aek_what`."""

    async def Check(  # noqa: N802 -- the contract's name
        self,
        request: gateway_pb2.CheckRequest,
        context: grpc.aio.ServicerContext[gateway_pb2.CheckRequest, gateway_pb2.CheckResponse],
    ) -> gateway_pb2.CheckResponse:
        http = request.attributes.request.http
        shown = http.headers.get("authorization", "") + http.headers.get("cookie", "")
        token = shown.partition("aek_")[2].partition(";")[0]
        match token:
            case "broken":
                await context.abort(grpc.StatusCode.INTERNAL, "the secret of the stack trace")
            case "slow":
                await asyncio.sleep(60)
            case "many":
                return denied_to_proto(LimitExceededError("Too many.", retry_after_seconds=6.5))
            case "what":
                told = {"method": http.method, "host": http.host, **http.headers}
                return gateway_pb2.CheckResponse(
                    status=status_pb2.Status(code=code_pb2.UNAUTHENTICATED),
                    denied_response=gateway_pb2.DeniedHttpResponse(
                        status=gateway_pb2.HttpStatus(code=401), body=json.dumps(told)
                    ),
                )
        header = gateway_pb2.HeaderValue(key="authorization", value=f"Bearer {token}")
        option = gateway_pb2.HeaderValueOption(header=header, append_action=2)
        return gateway_pb2.CheckResponse(
            status=status_pb2.Status(), ok_response=gateway_pb2.OkHttpResponse(headers=[option])
        )


async def serve(port: int) -> None:
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    agent_service_pb2_grpc.add_AgentServiceServicer_to_server(Agents(), server)
    run_service_pb2_grpc.add_RunServiceServicer_to_server(Runs(), server)
    gateway_grpc.add_AuthorizationServicer_to_server(Authorization(), server)
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection([reflection.SERVICE_NAME], server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await checks.set("", health_pb2.HealthCheckResponse.SERVING)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
