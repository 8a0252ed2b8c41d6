"""Reads the errors of the Messages API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from agent_executor.errors import AgentExecutorError
from agent_executor.executor.models.catalog import Retirement
from agent_executor.executor.models.model import ModelUsage
from agent_executor.executor.models.provider_errors import (
    DEFAULT_RETRY_SECONDS,
    ProviderErrors,
    can_retry,
    context_error,
    retry_seconds,
    shown,
)

PROVIDER: Final = "anthropic"
ERRORS: Final = ProviderErrors(PROVIDER)

_RETRIED_TYPES: Final = frozenset(
    {"api_error", "overloaded_error", "rate_limit_error", "timeout_error"}
)
# Only these are about the request itself, so that its author can do something about them.
_EXPLAINED_TYPES: Final = frozenset(
    {"invalid_request_error", "not_found_error", "request_too_large"}
)
_NOT_FOUND: Final = 404
_ERROR_TYPE: Final = re.compile(r"[a-z_]{1,64}")
_TOO_LONG: Final = re.compile(r"prompt is too long: (\d{1,12}) tokens > (\d{1,12}) maximum")
_NO_ROOM: Final = re.compile(r"exceed context limit: (\d{1,12}) \+ \d{1,12} > (\d{1,12})")


def status_error(
    status_code: int,
    body: object,
    headers: Mapping[str, str],
    secret: str,
    retirement: Retirement | None = None,
) -> AgentExecutorError:
    """Returns the error of an answer with an error's status.

    Args:
        status_code: The status.
        body: Its body, as far as it is JSON.
        headers: Its headers.
        secret: The key of the request, which is never shown, whatever the provider echoes.
        retirement: The end of the request's model, if it has one.
    """
    reported = body.get("error") if isinstance(body, dict) else None
    error_type, explanation = _read(reported, secret)
    too_long = _TOO_LONG.search(explanation) or _NO_ROOM.search(explanation)
    if too_long is not None:
        return context_error(int(too_long[1]), int(too_long[2]))
    if status_code == _NOT_FOUND and retirement is not None:
        # Said only once the provider has no such model any more: others serve it for longer.
        explanation += (
            f". The model's retirement is {retirement.on.isoformat()}; its successor is "
            f"{retirement.successor.value}"
        )
    return ERRORS.status(
        status_code,
        error_type,
        explanation,
        request_id=headers.get("request-id", ""),
        retry_after_seconds=retry_seconds(headers) if can_retry(status_code) else None,
    )


def batched_error(reported: object) -> AgentExecutorError:
    """Returns the error of a request in a batch, which is reported as the body of an answer is.

    It was not billed.
    """
    body = reported if isinstance(reported, dict) else {}
    error_type, explanation = _read(body.get("error"), "")
    too_long = _TOO_LONG.search(explanation) or _NO_ROOM.search(explanation)
    if too_long is not None:
        return context_error(int(too_long[1]), int(too_long[2]))
    return ERRORS.batched(
        error_type,
        explanation,
        request_id=str(body.get("request_id") or ""),
        retry_after_seconds=DEFAULT_RETRY_SECONDS if error_type in _RETRIED_TYPES else None,
    )


def stream_error(
    reported: object, request_id: str, delivered: ModelUsage | None
) -> AgentExecutorError:
    """Returns the error that a stream reports after it has begun."""
    error_type, _ = _read(reported, "")
    retry_after_seconds = DEFAULT_RETRY_SECONDS if error_type in _RETRIED_TYPES else None
    return ERRORS.broken_off(error_type, request_id, delivered, retry_after_seconds)


def _read(reported: Any, secret: str) -> tuple[str, str]:
    """Returns the error's type, and its explanation if it is meant for the request's author."""
    if not isinstance(reported, dict):
        return "unknown_error", ""
    error_type = str(reported.get("type"))
    if not _ERROR_TYPE.fullmatch(error_type):
        error_type = "unknown_error"
    if error_type not in _EXPLAINED_TYPES:
        return error_type, ""
    return error_type, shown(reported.get("message"), secret)
