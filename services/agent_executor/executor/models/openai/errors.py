"""Reads the errors of the Chat Completions API, as OpenAI, vLLM and Ollama put them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from agent_executor.errors import AgentExecutorError
from agent_executor.executor.models.model import ModelUsage
from agent_executor.executor.models.provider_errors import (
    DEFAULT_RETRY_SECONDS,
    ProviderErrors,
    can_retry,
    context_error,
    retry_seconds,
    shown,
)

PROVIDER: Final = "openai"
ERRORS: Final = ProviderErrors(PROVIDER)

_REFUSED_STATUSES: Final = frozenset({400, 404, 413, 422})
_TOO_MANY_REQUESTS: Final = 429
# OpenAI answers 429 for an empty account too, and waiting does not fill it.
_NEVER_RETRIED: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
# Of an error within a stream, in whose type there is a status or a word.
_RETRIED_TYPES: Final = re.compile(
    r"server_error|internal|overload|unavailable|timeout|rate_limit", re.IGNORECASE
)
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_TOO_LONG_CODE: Final = "context_length_exceeded"
_TOO_LONG: Final = re.compile(r"context length|context window|context size", re.IGNORECASE)
_WINDOW: Final = re.compile(r"maximum (?:context|model) length (?:is|of) (\d{1,12})")
# The first of these that is said counts; the last holds the room for the answer, too.
_INPUT: Final = (
    re.compile(r"\((\d{1,12}) in the messages"),
    re.compile(r"messages resulted in (\d{1,12})"),
    re.compile(r"contains (?:at least )?(\d{1,12}) (?:input )?tokens"),
    re.compile(r"requested (\d{1,12}) tokens"),
)


def status_error(
    status_code: int,
    body: object,
    headers: Mapping[str, str],
    secret: str,
    estimated_input_tokens: int,
) -> AgentExecutorError:
    """Returns the error of an answer with an error's status.

    Args:
        status_code: The status.
        body: What is under ``error`` in its body, or the body if nothing is.
        headers: Its headers.
        secret: The key of the request, which is never shown, whatever the provider echoes.
        estimated_input_tokens: Of the request, where the provider does not say that it is too long
            for the model in numbers.
    """
    error_type, code, message = _read(body)
    if status_code in _REFUSED_STATUSES and (code == _TOO_LONG_CODE or _TOO_LONG.search(message)):
        return _too_long(message, estimated_input_tokens)
    is_retried = can_retry(status_code) and not (
        status_code == _TOO_MANY_REQUESTS and {error_type, code} & _NEVER_RETRIED
    )
    # Only these are about the request itself, so that its author can do something about them.
    explanation = shown(message, secret) if status_code in _REFUSED_STATUSES else ""
    return ERRORS.status(
        status_code,
        code or error_type,
        explanation,
        request_id=headers.get("x-request-id", ""),
        retry_after_seconds=retry_seconds(headers) if is_retried else None,
    )


def stream_error(body: object, request_id: str, delivered: ModelUsage | None) -> AgentExecutorError:
    """Returns the error that a stream reports after it has begun.

    Args:
        body: What is under ``error`` in the event.
        request_id: The provider's id of the request.
        delivered: What has come before it.
    """
    error_type, code, _ = _read(body)
    status = body.get("code") if isinstance(body, dict) else None
    is_retried = (
        can_retry(status)
        if isinstance(status, int)
        else _RETRIED_TYPES.search(f"{error_type} {code}") is not None
    )
    return ERRORS.broken_off(
        code or error_type, request_id, delivered, DEFAULT_RETRY_SECONDS if is_retried else None
    )


def _too_long(message: str, estimated_input_tokens: int) -> AgentExecutorError:
    window = _WINDOW.search(message)
    counted = next((found for one in _INPUT if (found := one.search(message))), None)
    return context_error(
        int(counted[1]) if counted else estimated_input_tokens, int(window[1]) if window else 0
    )


def _read(body: Any) -> tuple[str, str, str]:
    """Returns the error's type, its code if that is a word, and its message."""
    if not isinstance(body, dict):
        return "unknown_error", "", ""
    error_type, code, message = (str(body.get(key) or "") for key in ("type", "code", "message"))
    if not _WORD.fullmatch(error_type):
        error_type = "unknown_error"
    if not _WORD.fullmatch(code):
        code = ""
    return error_type, code, message
