"""RunService over gRPC: proto in, proto out."""

from __future__ import annotations

from collections.abc import AsyncIterator

from agent_executor.api.executor.v1 import (
    run_event_pb2,
    run_pb2,
    run_service_pb2,
    run_service_pb2_grpc,
)
from agent_executor.executor.convert import (
    agent_test_to_proto,
    event_to_proto,
    execution_to_proto,
    run_to_proto,
)
from agent_executor.executor.money import nano_usd_of
from agent_executor.executor.paging import decode_page_token, encode_page_token, page_size_of
from agent_executor.executor.runs import Runs
from agent_executor.serving.interceptors import Context
from agent_executor.serving.security import current_security_context
from agent_executor.serving.telemetry import current_traceparent


class RunServicer(run_service_pb2_grpc.RunServiceServicer):
    """See ``protos/agent_executor/api/executor/v1/run_service.proto``."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def ExecuteAgent(  # noqa: N802 -- the contract's name
        self, request: run_service_pb2.ExecuteAgentRequest, context: Context
    ) -> run_service_pb2.ExecuteAgentResponse:
        """Executes an agent and waits for the end."""
        del context
        view = await self._runs.execute(
            request.agent_id,
            request.input,
            current_security_context.get(),
            traceparent=current_traceparent(),
            parent_run_id=request.parent_run_id,
            max_cost_nano_usd=nano_usd_of(request.max_cost_usd, "max_cost_usd"),
            conversation_id=request.conversation_id,
        )
        return execution_to_proto(view)

    async def TestAgent(  # noqa: N802 -- the contract's name
        self, request: run_service_pb2.TestAgentRequest, context: Context
    ) -> run_service_pb2.TestAgentResponse:
        """Executes an agent with sample input, as a test."""
        del context
        view = await self._runs.execute(
            request.agent_id,
            request.input,
            current_security_context.get(),
            traceparent=current_traceparent(),
            is_test=True,
        )
        return agent_test_to_proto(view)

    async def StartRun(  # noqa: N802 -- the contract's name
        self, request: run_service_pb2.StartRunRequest, context: Context
    ) -> run_pb2.Run:
        """Starts a run in the background."""
        del context
        view = await self._runs.start(
            request.agent_id,
            request.input,
            current_security_context.get(),
            traceparent=current_traceparent(),
            parent_run_id=request.parent_run_id,
            max_cost_nano_usd=nano_usd_of(request.max_cost_usd, "max_cost_usd"),
            conversation_id=request.conversation_id,
        )
        return run_to_proto(view.run, view.state)

    async def GetRun(  # noqa: N802 -- the contract's name
        self, request: run_service_pb2.GetRunRequest, context: Context
    ) -> run_pb2.Run:
        """Returns a run."""
        del context
        view = await self._runs.get(request.run_id, current_security_context.get())
        return run_to_proto(view.run, view.state)

    async def ListRuns(  # noqa: N802 -- the contract's name
        self, request: run_service_pb2.ListRunsRequest, context: Context
    ) -> run_service_pb2.ListRunsResponse:
        """Lists runs."""
        del context
        size = page_size_of(request.page_size)
        runs = await self._runs.list_runs(
            current_security_context.get(),
            size + 1,
            before_run_id=decode_page_token(request.page_token),
            agent_id=request.agent_id,
            state=request.state,
        )
        page = runs[:size]
        return run_service_pb2.ListRunsResponse(
            runs=[run_to_proto(run) for run in page],
            next_page_token=encode_page_token(page[-1].run_id) if len(runs) > size else "",
        )

    async def StreamRunEvents(  # noqa: N802 -- the contract's name
        self, request: run_service_pb2.StreamRunEventsRequest, context: Context
    ) -> AsyncIterator[run_event_pb2.RunEvent]:
        """Sends a run's events until its last one."""
        del context
        events = self._runs.follow(
            request.run_id, request.after_sequence, current_security_context.get()
        )
        async for event in events:
            yield event_to_proto(request.run_id, event)
