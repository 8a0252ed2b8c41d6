"""What happens in a run, in words, as other agents and their people are told it."""

from __future__ import annotations

from typing import TypeAlias

from agent_executor.api.executor.v1 import run_event_pb2, run_service_pb2

Happening: TypeAlias = run_service_pb2.RunUpdate | run_event_pb2.RunEvent


def kind_of(happening: Happening) -> str | None:
    """Returns the name of what happens, as "tool_call_started"; None for what has no content."""
    is_update = isinstance(happening, run_service_pb2.RunUpdate)
    kind: str | None = happening.WhichOneof("update" if is_update else "payload")
    return kind


def approval_sentence(asked: run_event_pb2.ApprovalRequested | run_service_pb2.Approval) -> str:
    """Says that a tool call waits for a person."""
    return f"A person is to decide about a call of the tool {asked.tool_name}: {asked.reason}"


def happening_to_sentence(happening: Happening) -> str | None:
    """Returns what a step of a run is in words, or None if nobody is told of it."""
    match kind_of(happening):
        case "tool_call_started":
            return f"Calls the tool {happening.tool_call_started.tool_name}."
        case "tool_call_completed":
            result = happening.tool_call_completed.tool_result
            outcome = "has answered." if result.success else f"has failed: {result.error}"
            return f"The tool {result.tool_name} {outcome}"
        case "approval_requested":
            return approval_sentence(happening.approval_requested)
        case "approval_resolved":
            return f"The decision is: {happening.approval_resolved.decision}."
        case "model_call_failed":
            return f"A call of the model has failed: {happening.model_call_failed.error}"
        case "run_paused":
            return f"The run waits for money: {happening.run_paused.error}"
        case "run_continued":
            return "The run goes on."
        case _:
            return None
