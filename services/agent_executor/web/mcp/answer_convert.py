"""What a call of a tool is answered with."""

from __future__ import annotations

from typing import Any, Final

from mcp.types import CallToolResult, TextContent

from agent_executor.errors import AgentExecutorError
from agent_executor.web.error_convert import error_body
from agent_executor.web.run_following_grpc import FINAL_STATES, FollowedRun

_COMPLETED: Final = "completed"


def run_to_result(followed: FollowedRun) -> CallToolResult:
    """Returns the answer for a run, which is an error if the run has ended without completing."""
    run = followed.run
    content: dict[str, Any] = {
        "task_id": run.id,
        "state": run.state,
        "response": run.output.response,
        "tokens_used": run.tokens_used,
        "cost_usd": run.cost_usd,
    }
    if run.conversation_id:
        content["conversation_id"] = run.conversation_id
    if followed.waits_for:
        content["waits_for"] = followed.waits_for
    if run.HasField("error"):
        content["error"], content["code"] = run.error, run.code
    return CallToolResult(
        content=[TextContent(type="text", text=_text(followed))],
        structured_content=content,
        is_error=run.state in FINAL_STATES and run.state != _COMPLETED,
    )


def error_to_result(error: AgentExecutorError) -> CallToolResult:
    """Returns the answer for a call that was refused, with the error in the platform's shape."""
    return CallToolResult(
        content=[TextContent(type="text", text=f"{error.reason}: {error.message}")],
        structured_content=error_body(error.reason, error.message, error.tool_name),
        is_error=True,
    )


def _text(followed: FollowedRun) -> str:
    run = followed.run
    if run.state == _COMPLETED:
        return run.output.response
    if run.state in FINAL_STATES:
        reason = f"{run.code}: {run.error}" if run.HasField("error") else ""
        return "\n\n".join(
            filter(None, (run.output.response, reason or f"The run is {run.state}."))
        )
    waits = f" {followed.waits_for}" if followed.waits_for else ""
    return (
        f"The run {run.id} is {run.state} and goes on by itself.{waits}"
        " Ask the tool get_run for its answer."
    )
