"""Errors of the platform as errors of the Agent2Agent protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from a2a.utils.errors import (
    A2AError,
    InternalError,
    InvalidParamsError,
    InvalidRequestError,
    TaskNotFoundError,
    UnsupportedOperationError,
)

from agent_executor.errors import AgentExecutorError, RunNotFoundError

_OF_CODE: Final[Mapping[str, type[A2AError]]] = {
    "INVALID_ARGUMENT": InvalidParamsError,
    "NOT_FOUND": InvalidParamsError,
    "ALREADY_EXISTS": InvalidRequestError,
    "UNAUTHENTICATED": InvalidRequestError,
    "PERMISSION_DENIED": InvalidRequestError,
    "RESOURCE_EXHAUSTED": InvalidRequestError,
    "FAILED_PRECONDITION": UnsupportedOperationError,
}


def error_to_a2a(error: AgentExecutorError) -> A2AError:
    """Returns the error that the protocol has for it; its data names the platform's own reason."""
    if isinstance(error, RunNotFoundError):
        return task_not_found()
    data = {"code": error.reason, "tool_name": error.tool_name}
    if error.retry_after_seconds is not None:
        data["retry_after_seconds"] = str(error.retry_after_seconds)
    return _OF_CODE.get(error.code, InternalError)(error.message, data)


def task_not_found() -> TaskNotFoundError:
    """Returns the error for a task that does not exist, or of which the caller is not told."""
    return TaskNotFoundError(
        "There is no such task of this agent.", {"code": RunNotFoundError.reason, "tool_name": ""}
    )
