"""Says what went wrong at the provider, in our own errors, and shows nothing of its insides."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from agent_executor.errors import AgentExecutorError, ContextLengthExceededError, ModelError
from agent_executor.executor.models.model import ModelUsage, usage_metadata

PROVIDER: Final = "anthropic"
# When the provider does not say how long to wait. The caller waits longer from try to try.
DEFAULT_RETRY_SECONDS: Final = 1.0
MESSAGE_CHARACTERS_MAX: Final = 300

_RETRIED_STATUSES: Final = frozenset({408, 409, 425, 429})
_RETRIED_TYPES: Final = frozenset(
    {"api_error", "overloaded_error", "rate_limit_error", "timeout_error"}
)
_SERVER_ERROR: Final = 500
# Only these are about the request itself, so that its author can do something about them.
_EXPLAINED_TYPES: Final = frozenset(
    {"invalid_request_error", "not_found_error", "request_too_large"}
)
_ERROR_TYPE: Final = re.compile(r"[a-z_]{1,64}")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SECRET: Final = re.compile(r"sk-[A-Za-z0-9_-]{8,}")
_TOO_LONG: Final = re.compile(r"prompt is too long: (\d{1,12}) tokens > (\d{1,12}) maximum")
_NO_ROOM: Final = re.compile(r"exceed context limit: (\d{1,12}) \+ \d{1,12} > (\d{1,12})")


def status_error(
    status_code: int, body: object, headers: Mapping[str, str], secret: str
) -> AgentExecutorError:
    """Returns the error of an answer with an error's status.

    Args:
        status_code: The status.
        body: Its body, as far as it is JSON.
        headers: Its headers.
        secret: The key of the request, which is never shown, whatever the provider echoes.
    """
    reported = body.get("error") if isinstance(body, dict) else None
    error_type, explanation = _read(reported, secret)
    metadata = {"status_code": str(status_code)}
    request_id = headers.get("request-id", "")
    if _REQUEST_ID.fullmatch(request_id):
        metadata["request_id"] = request_id
    too_long = _TOO_LONG.search(explanation) or _NO_ROOM.search(explanation)
    if too_long is not None:
        return _context_error(too_long[1], too_long[2])
    can_retry = status_code in _RETRIED_STATUSES or status_code >= _SERVER_ERROR
    return _model_error(
        f"The model's provider answered {status_code} ({error_type}){explanation}.",
        error_type,
        metadata,
        _retry_seconds(headers) if can_retry else None,
    )


def stream_error(
    reported: object, request_id: str, delivered: ModelUsage | None
) -> AgentExecutorError:
    """Returns the error that a stream reports after it has begun."""
    error_type, _ = _read(reported, "")
    return _model_error(
        f"The model's provider broke its answer off ({error_type}).",
        error_type,
        _delivered_metadata(request_id, delivered),
        DEFAULT_RETRY_SECONDS if error_type in _RETRIED_TYPES else None,
    )


def broken_answer(
    message: str, request_id: str, delivered: ModelUsage | None
) -> AgentExecutorError:
    """Returns the error of an answer that ended too early or cannot be read."""
    return _model_error(
        message,
        "broken_answer",
        _delivered_metadata(request_id, delivered),
        DEFAULT_RETRY_SECONDS,
    )


def connection_error(message: str, delivered: ModelUsage | None) -> AgentExecutorError:
    """Returns the error of a provider that was not reached or did not answer."""
    return _model_error(
        f"The model's provider was not reached. {message}"
        if delivered is None
        else f"The model's provider did not answer. {message}",
        "connection_error",
        _delivered_metadata("", delivered),
        DEFAULT_RETRY_SECONDS,
    )


def refused_call(message: str, error_type: str) -> AgentExecutorError:
    """Returns the error of a call that was not made at all."""
    return _model_error(message, error_type, {}, None)


def _model_error(
    message: str,
    error_type: str,
    metadata: Mapping[str, str],
    retry_after_seconds: float | None,
) -> ModelError:
    return ModelError(
        message,
        metadata={"provider": PROVIDER, "error_type": error_type, **metadata},
        retry_after_seconds=retry_after_seconds,
    )


def _context_error(input_tokens: str, context_window_tokens: str) -> ContextLengthExceededError:
    return ContextLengthExceededError(
        f"The prompt is {input_tokens} tokens long; with room for its answer it does not fit "
        f"into the model's {context_window_tokens}.",
        metadata={
            "input_tokens": input_tokens,
            "context_window_tokens": context_window_tokens,
        },
    )


def _delivered_metadata(request_id: str, delivered: ModelUsage | None) -> dict[str, str]:
    metadata = {"request_id": request_id} if request_id else {}
    return metadata if delivered is None else metadata | usage_metadata(delivered)


def _read(reported: Any, secret: str) -> tuple[str, str]:
    """Returns the error's type, and its explanation if it is meant for the request's author."""
    if not isinstance(reported, dict):
        return "unknown_error", ""
    error_type = str(reported.get("type"))
    if not _ERROR_TYPE.fullmatch(error_type):
        error_type = "unknown_error"
    message = reported.get("message")
    if error_type not in _EXPLAINED_TYPES or not isinstance(message, str) or not message:
        return error_type, ""
    if secret:
        message = message.replace(secret, "…")
    shown = "".join(character for character in message if character.isprintable())
    shown = _SECRET.sub("…", shown)[:MESSAGE_CHARACTERS_MAX].rstrip(".")
    return error_type, f": {shown}"


def _retry_seconds(headers: Mapping[str, str]) -> float | None:
    """Returns when the provider wants to be asked again; None if it does not want to be."""
    if headers.get("x-should-retry") == "false":
        return None
    for name, unit_seconds in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "")
        try:
            seconds = float(value) * unit_seconds
        except ValueError:
            continue
        # Neither a number that is none nor one that never ends.
        if 0 <= seconds < float("inf"):
            return seconds
    return _seconds_until(headers)


def _seconds_until(headers: Mapping[str, str]) -> float:
    """Reads a date against the provider's own clock, so that ours does not matter."""
    try:
        until = parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, (until - parsedate_to_datetime(headers.get("date", ""))).total_seconds())
    except (ValueError, TypeError):
        return DEFAULT_RETRY_SECONDS
