"""Between webhooks and their contracts. Pure; decides nothing but what is left out of a message."""

from __future__ import annotations

import json
from typing import Any, Final

from google.protobuf.json_format import MessageToDict

from agent_executor.api.executor.v1 import run_pb2
from agent_executor.executor.convert import run_to_proto
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.log.run import RunState
from agent_executor.executor.webhooks.delivery import Delivery
from agent_executor.serving.timestamp_convert import timestamp

BODY_BYTES_MAX: Final = 262_144
# What is left out of a message that is too large, in this order, until it fits. What remains then
# is bounded by the contract.
_LEFT_OUT: Final[tuple[tuple[str, ...], ...]] = (
    ("output", "conversation_history"),
    ("output", "tool_results"),
    ("input",),
    ("output", "response"),
    ("error",),
)


def delivery_to_proto(delivery: Delivery) -> run_pb2.WebhookDelivery:
    """Returns what became of telling a run's end."""
    return run_pb2.WebhookDelivery(
        url=delivery.url,
        state=delivery.state,
        attempts=delivery.attempts,
        status_code=delivery.status_code,
        error=delivery.error,
        next_attempt_at=timestamp(delivery.due_at_ms) if delivery.due_at_ms else None,
    )


def body_of(run: RunRecord, state: RunState | None) -> bytes:
    """Returns the message of a run's end: what happened, when, and the run as REST shows it.

    Args:
        run: The run, ended.
        state: Its folded state; None if its log cannot be read, which leaves its details out.
    """
    message = run_to_proto(run, state)
    left_out = [] if state is not None else list(_LEFT_OUT[:2])
    remaining = [path for path in _LEFT_OUT if path not in left_out]
    while True:
        # The text is never much smaller than the message, whose size is known at once.
        if message.ByteSize() <= BODY_BYTES_MAX or not remaining:
            body = _encoded(message, left_out)
            if len(body) <= BODY_BYTES_MAX or not remaining:
                return body
        left_out.append(remaining.pop(0))
        _clear(message, left_out[-1])


def _clear(message: run_pb2.Run, path: tuple[str, ...]) -> None:
    owner: Any = message
    for name in path[:-1]:
        owner = getattr(owner, name)
    owner.ClearField(path[-1])


def _encoded(message: run_pb2.Run, left_out: list[tuple[str, ...]]) -> bytes:
    run = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    body: dict[str, Any] = {
        "type": f"run.{message.state}",
        "timestamp": run.get("ended_at", ""),
        "data": run,
    }
    if left_out:
        body["left_out"] = [".".join(path) for path in left_out]
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
