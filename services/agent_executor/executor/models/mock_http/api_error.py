"""The errors of the APIs, in the Messages API's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agent_executor.errors import AgentExecutorError, ContextLengthExceededError
from agent_executor.executor.models.mock_http.faults import Fault

MESSAGES: Final[Mapping[Fault, tuple[int, str, str]]] = {
    Fault.RATE_LIMIT: (
        429,
        "rate_limit_error",
        "This request would exceed your organization's rate limit.",
    ),
    Fault.OVERLOADED: (529, "overloaded_error", "Overloaded"),
    Fault.SERVER_ERROR: (500, "api_error", "Internal server error"),
    Fault.BILLING: (402, "billing_error", "Your credit balance is too low."),
    Fault.NO_PERMISSION: (403, "permission_error", "Your API key may not use this model."),
    Fault.TOO_LARGE: (413, "request_too_large", "Request exceeds the maximum size."),
    Fault.STREAM_ERROR: (500, "api_error", "Internal server error"),
}


class ApiError(Exception):
    """An answer with an error's status.

    Attributes:
        status_code: The status.
        error_type: The API's word for it.
        message: A sentence.
        retry_after_seconds: What ``retry-after`` says; None for no such header.
    """

    def __init__(
        self,
        status_code: int,
        error_type: str,
        message: str,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.error_type = error_type
        self.message = message
        self.retry_after_seconds = retry_after_seconds


def invalid_request(message: str) -> ApiError:
    """Returns the error of a request that the API does not take."""
    return ApiError(400, "invalid_request_error", message)


def fault_error(fault: Fault, retry_after_seconds: float) -> ApiError:
    """Returns the error of a fault that is a status.

    Raises:
        KeyError: The fault is none.
    """
    status_code, error_type, message = MESSAGES[fault]
    waits = fault in (Fault.RATE_LIMIT, Fault.OVERLOADED)
    return ApiError(status_code, error_type, message, retry_after_seconds if waits else None)


def model_error(error: AgentExecutorError) -> ApiError:
    """Returns what the API says where mock Claude raises an error."""
    if isinstance(error, ContextLengthExceededError):
        tokens, limit = error.metadata["input_tokens"], error.metadata["context_window_tokens"]
        return invalid_request(f"prompt is too long: {tokens} tokens > {limit} maximum")
    return ApiError(
        int(error.metadata.get("status_code", "500")),
        error.metadata.get("error_type", "api_error"),
        error.message,
        error.retry_after_seconds,
    )
