"""What the calls of RunService say of new runs and of lists, as the use cases take it."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import Message

from agent_executor.api.executor.v1 import run_service_pb2
from agent_executor.errors import InvalidArgumentError
from agent_executor.executor.journal.journal import IdempotencyKey, RunFilter
from agent_executor.executor.log.run_waiting import BATCH
from agent_executor.executor.money import nano_usd_of
from agent_executor.executor.runs.idempotency import HEADER, idempotency_key
from agent_executor.executor.runs.run_options import RunOptions
from agent_executor.serving.interceptors import Context
from agent_executor.serving.security import SecurityContext
from agent_executor.serving.telemetry import current_traceparent
from agent_executor.serving.timestamp_convert import ceil_to_ms

_METADATA_KEY: Final = HEADER.lower()


def options_of(
    request: run_service_pb2.ExecuteAgentRequest
    | run_service_pb2.StreamAgentRequest
    | run_service_pb2.StartRunRequest,
    context: Context,
    security: SecurityContext,
) -> RunOptions:
    """Returns how a run is to be run.

    Raises:
        InvalidArgumentError: The limit of its cost or the idempotency key cannot be.
    """
    return RunOptions(
        traceparent=current_traceparent(),
        parent_run_id=request.parent_run_id,
        max_cost_nano_usd=nano_usd_of(request.max_cost_usd, "max_cost_usd"),
        timeout_seconds=request.timeout_seconds,
        conversation_id=request.conversation_id,
        # Nobody waits for a run that is started in the background.
        on_disconnect=(
            "" if isinstance(request, run_service_pb2.StartRunRequest) else request.on_disconnect
        ),
        processing=_processing_of(request),
        key=key_of(request, context, security),
    )


def options_of_test(
    request: run_service_pb2.TestAgentRequest, context: Context, security: SecurityContext
) -> RunOptions:
    """Returns how a test is to be run.

    Raises:
        InvalidArgumentError: The idempotency key cannot be.
    """
    key = key_of(request, context, security)
    return RunOptions(traceparent=current_traceparent(), is_test=True, key=key)


def batch_options_of(
    request: run_service_pb2.ExecuteAgentBatchRequest | run_service_pb2.StartRunBatchRequest,
    context: Context,
    security: SecurityContext,
) -> tuple[RunOptions, list[IdempotencyKey]]:
    """Returns how each run of a batch is to be run, and the keys of all, if the call has one.

    Raises:
        InvalidArgumentError: The limit of their cost or the idempotency key cannot be.
    """
    options = RunOptions(
        traceparent=current_traceparent(),
        max_cost_nano_usd=nano_usd_of(request.max_cost_usd, "max_cost_usd"),
        timeout_seconds=request.timeout_seconds,
        processing=_processing_of(request),
    )
    text = _key_text(context)
    if text is None:
        return options, []
    digested = request.SerializeToString(deterministic=True)
    name = request.DESCRIPTOR.full_name
    return options, [
        idempotency_key(text, security.user_id, name, digested, index)
        for index in range(len(request.inputs))
    ]


def key_of(request: Message, context: Context, security: SecurityContext) -> IdempotencyKey | None:
    """Returns the idempotency key of a call; None if it has none.

    Raises:
        InvalidArgumentError: It cannot be one, or there are several.
    """
    text = _key_text(context)
    if text is None:
        return None
    digested = request.SerializeToString(deterministic=True)
    return idempotency_key(text, security.user_id, request.DESCRIPTOR.full_name, digested)


def filter_of(request: run_service_pb2.ListRunsRequest) -> RunFilter:
    """Returns which runs a list is to have."""
    return RunFilter(
        agent_id=request.agent_id,
        state=request.state,
        user_id=request.user_id,
        conversation_id=request.conversation_id,
        parent_run_id=request.parent_run_id,
        start_ms=ceil_to_ms(request.start_time) if request.HasField("start_time") else None,
        end_ms=ceil_to_ms(request.end_time) if request.HasField("end_time") else None,
    )


def _processing_of(request: Message) -> str:
    """Returns how the model calls are to be made; only runs in the background have the choice."""
    if not isinstance(
        request, run_service_pb2.StartRunRequest | run_service_pb2.StartRunBatchRequest
    ):
        return ""
    return BATCH if request.processing == BATCH else ""


def _key_text(context: Context) -> str | None:
    values = [
        str(value) for key, value in context.invocation_metadata() or () if key == _METADATA_KEY
    ]
    if len(values) > 1:
        message = f"{HEADER} may be given once."
        raise InvalidArgumentError(message, field_violations=((HEADER, message),))
    return values[0] if values else None
