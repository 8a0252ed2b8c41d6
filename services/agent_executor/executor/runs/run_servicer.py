"""RunService over gRPC: proto in, proto out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from math import inf
from typing import Final

from agent_executor.api.executor.v1 import (
    run_event_pb2,
    run_pb2,
    run_service_pb2,
    run_service_pb2_grpc,
)
from agent_executor.executor.approvals.approvals import Answer, Approvals
from agent_executor.executor.approvals.convert import approval_to_proto
from agent_executor.executor.convert import (
    agent_test_to_proto,
    event_to_proto,
    execution_to_proto,
    receipt_to_proto,
    run_to_proto,
)
from agent_executor.executor.driving.cancellations import WAIT_SECONDS_MAX
from agent_executor.executor.paging import (
    decode_page_token,
    decode_place,
    encode_page_token,
    encode_place,
    fitting_page,
    page_size_of,
)
from agent_executor.executor.runs.batch_convert import batch_to_proto, started_to_proto
from agent_executor.executor.runs.batches import execute_batch, start_batch
from agent_executor.executor.runs.run_request_convert import (
    batch_options_of,
    filter_of,
    options_of,
    options_of_test,
)
from agent_executor.executor.runs.run_view import RunView
from agent_executor.executor.runs.runs import Runs
from agent_executor.executor.streams.stream_metadata import last_event_id_of, silence_seconds_of
from agent_executor.executor.streams.update_convert import heartbeat_event, update_to_proto
from agent_executor.executor.webhooks.convert import delivery_to_proto
from agent_executor.executor.webhooks.webhooks import Webhooks
from agent_executor.serving.interceptors import Context
from agent_executor.serving.pipeline import remaining_seconds
from agent_executor.serving.security import current_security_context

# Of the time that a caller waits for a run's end, so that it hears what is known before it is over.
ANSWER_SHARE: Final = 0.9


class RunServicer(run_service_pb2_grpc.RunServiceServicer):
    """See ``protos/agent_executor/api/executor/v1/run_service.proto``."""

    def __init__(self, runs: Runs, approvals: Approvals, webhooks: Webhooks) -> None:
        self._runs = runs
        self._approvals = approvals
        self._webhooks = webhooks

    async def ExecuteAgent(  # noqa: N802 -- the contract's name
        self, request: run_service_pb2.ExecuteAgentRequest, context: Context
    ) -> run_service_pb2.ExecuteAgentResponse:
        """Executes an agent and waits for the end."""
        security = current_security_context.get()
        options = options_of(request, context, security)
        view = await self._runs.execute(request.agent_id, request.input, security, options)
        return execution_to_proto(view)

    async def TestAgent(  # noqa: N802 -- the contract's name
        self, request: run_service_pb2.TestAgentRequest, context: Context
    ) -> run_service_pb2.TestAgentResponse:
        """Executes an agent with sample input, as a test."""
        security = current_security_context.get()
        options = options_of_test(request, context, security)
        view = await self._runs.execute(request.agent_id, request.input, security, options)
        return agent_test_to_proto(view)

    async def StartRun(  # noqa: N802 -- the contract's name
        self, request: run_service_pb2.StartRunRequest, context: Context
    ) -> run_pb2.Run:
        """Starts a run in the background."""
        security = current_security_context.get()
        webhook = self._webhooks.accept(request.webhook_url, request.webhook_secret)
        options = replace(options_of(request, context, security), webhook=webhook)
        view = await self._runs.start(request.agent_id, request.input, security, options)
        return await self._shown(view)

    async def StreamAgent(  # noqa: N802 -- the contract's name
        self, request: run_service_pb2.StreamAgentRequest, context: Context
    ) -> AsyncIterator[run_service_pb2.RunUpdate]:
        """Executes an agent and tells what happens as it happens."""
        security = current_security_context.get()
        updates = self._runs.stream(
            request.agent_id,
            request.input,
            security,
            options_of(request, context, security),
            silence_seconds=silence_seconds_of(context),
        )
        async with aclosing(updates):
            async for update in updates:
                yield update_to_proto(update)

    async def CancelRun(  # noqa: N802 -- the contract's name
        self, request: run_service_pb2.CancelRunRequest, context: Context
    ) -> run_service_pb2.CancelReceipt:
        """Stops a run and says what that did."""
        del context
        receipt = await self._runs.cancel(
            request.run_id,
            request.reason,
            current_security_context.get(),
            timeout_seconds=min(WAIT_SECONDS_MAX, (remaining_seconds() or inf) * ANSWER_SHARE),
        )
        return receipt_to_proto(receipt)

    async def ExecuteAgentBatch(  # noqa: N802 -- the contract's name
        self, request: run_service_pb2.ExecuteAgentBatchRequest, context: Context
    ) -> run_service_pb2.ExecuteAgentBatchResponse:
        """Executes an agent on several inputs and waits for the ends of all."""
        security = current_security_context.get()
        options, keys = batch_options_of(request, context, security)
        results = await execute_batch(
            self._runs, request.agent_id, request.inputs, security, options, keys
        )
        return batch_to_proto(results)

    async def StartRunBatch(  # noqa: N802 -- the contract's name
        self, request: run_service_pb2.StartRunBatchRequest, context: Context
    ) -> run_service_pb2.StartRunBatchResponse:
        """Starts a run in the background for each of several inputs."""
        security = current_security_context.get()
        options, keys = batch_options_of(request, context, security)
        results = await start_batch(
            self._runs, request.agent_id, request.inputs, security, options, keys
        )
        return started_to_proto(results)

    async def GetRun(  # noqa: N802 -- the contract's name
        self, request: run_service_pb2.GetRunRequest, context: Context
    ) -> run_pb2.Run:
        """Returns a run."""
        del context
        view = await self._runs.get(request.run_id, current_security_context.get())
        return await self._shown(view)

    async def _shown(self, view: RunView) -> run_pb2.Run:
        """Returns a run with all that is known of it."""
        shown = run_to_proto(view.run, view.state)
        delivery = await self._webhooks.of(view.run)
        if delivery is not None:
            shown.webhook.CopyFrom(delivery_to_proto(delivery))
        return shown

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
            run_filter=filter_of(request),
        )
        page = fitting_page(map(run_to_proto, runs), size)
        return run_service_pb2.ListRunsResponse(
            runs=page,
            next_page_token=encode_page_token(page[-1].id) if len(runs) > len(page) else "",
        )

    async def StreamRunEvents(  # noqa: N802 -- the contract's name
        self, request: run_service_pb2.StreamRunEventsRequest, context: Context
    ) -> AsyncIterator[run_event_pb2.RunEvent]:
        """Sends a run's events until its last one."""
        last_sequence = max(request.after_sequence, last_event_id_of(context))
        events = self._runs.watch(
            request.run_id,
            last_sequence,
            current_security_context.get(),
            silence_seconds=silence_seconds_of(context),
        )
        async with aclosing(events):
            async for event in events:
                if event is None:
                    yield heartbeat_event(request.run_id, last_sequence)
                else:
                    last_sequence = event.sequence
                    yield event_to_proto(request.run_id, event)

    async def ListApprovals(  # noqa: N802 -- the contract's name
        self, request: run_service_pb2.ListApprovalsRequest, context: Context
    ) -> run_service_pb2.ListApprovalsResponse:
        """Lists the tool calls that wait for a person."""
        del context
        size = page_size_of(request.page_size)
        found = await self._approvals.list_pending(
            current_security_context.get(),
            size + 1,
            after=decode_place(request.page_token),
            run_id=request.run_id,
            agent_id=request.agent_id,
        )
        page = fitting_page(map(approval_to_proto, found), size)
        token = ""
        if len(found) > len(page):
            last = found[len(page) - 1]
            token = encode_place(last.created_at_ms, last.tool_call_id)
        return run_service_pb2.ListApprovalsResponse(approvals=page, next_page_token=token)

    async def ResolveApproval(  # noqa: N802 -- the contract's name
        self, request: run_service_pb2.ResolveApprovalRequest, context: Context
    ) -> run_service_pb2.Approval:
        """Decides about a tool call that waits."""
        del context
        approval = await self._approvals.resolve(
            request.run_id,
            request.tool_call_id,
            Answer(
                "approve" if request.decision == "approve" else "deny",
                request.reason,
                request.arguments_json,
            ),
            current_security_context.get(),
        )
        return approval_to_proto(approval)
