"""Errors of OpenAI-compatible endpoints, in the words of each."""

from __future__ import annotations

import pytest

from agent_executor.errors import AgentExecutorError, ContextLengthExceededError, ModelError
from agent_executor.executor.models.model import ModelUsage, delivered_usage
from agent_executor.executor.models.openai.errors import status_error, stream_error

KEY = "an-opaque-key"


def error_of(
    status_code: int,
    error_type: str = "",
    message: str = "",
    code: str | int | None = None,
    **headers: str,
) -> AgentExecutorError:
    body = {"type": error_type, "message": message, "code": code, "param": None}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status_error(status_code, body, named, KEY, 55)


@pytest.mark.parametrize(
    ("status_code", "error_type", "code", "is_retried"),
    [
        (400, "invalid_request_error", None, False),
        (401, "invalid_request_error", "invalid_api_key", False),
        (403, "", None, False),
        (404, "invalid_request_error", "model_not_found", False),
        (408, "", None, True),
        (409, "", None, True),
        (429, "requests", "rate_limit_exceeded", True),
        (429, "tokens", "rate_limit_exceeded", True),
        (429, "insufficient_quota", "insufficient_quota", False),
        (429, "insufficient_quota", None, False),
        (500, "server_error", None, True),
        (503, "", None, True),
    ],
)
def test_which_errors_may_be_tried_again(
    status_code: int, error_type: str, code: str | None, is_retried: bool
) -> None:
    error = error_of(status_code, error_type, "Why.", code, x_request_id="req_1")
    assert isinstance(error, ModelError)
    assert error.retry_after_seconds == (1.0 if is_retried else None)
    assert error.metadata["error_type"] == (code or error_type or "unknown_error")
    assert error.metadata["request_id"] == "req_1"
    assert ("Why" in error.message) is (status_code in (400, 404))
    assert delivered_usage(error) is None


def test_the_providers_own_figure_is_used() -> None:
    assert error_of(429, "requests", retry_after="12").retry_after_seconds == 12.0
    assert error_of(503, retry_after_ms="250").retry_after_seconds == 0.25


@pytest.mark.parametrize(
    ("message", "code", "input_tokens", "window"),
    [
        (
            (
                "This model's maximum context length is 8192 tokens. However, your messages resulted "
                "in 9000 tokens. Please reduce the length of the messages."
            ),
            "context_length_exceeded",
            "9000",
            "8192",
        ),
        (
            (
                "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens "
                "(4000 in the messages, 1000 in the completion). Please reduce the length."
            ),
            400,
            "4000",
            "4096",
        ),
        (
            "Input tokens exceed the configured limit.",
            "context_length_exceeded",
            "55",
            "0",
        ),
        ("Your input exceeds the context window of this model.", None, "55", "0"),
    ],
)
def test_a_prompt_that_does_not_fit(
    message: str, code: str | int | None, input_tokens: str, window: str
) -> None:
    error = error_of(400, "BadRequestError", message, code)
    assert isinstance(error, ContextLengthExceededError)
    assert error.metadata == {"input_tokens": input_tokens, "context_window_tokens": window}


@pytest.mark.parametrize("body", [None, "no", [], {}, {"type": 7, "message": {"a": 1}}])
def test_what_is_no_error_of_the_api(body: object) -> None:
    error = status_error(502, body, {}, KEY, 1)
    assert error.message == "The model's provider answered 502 (unknown_error)."


def test_no_secret_is_told() -> None:
    message = f"The key {KEY} and sk-proj-abcdefgh12 are wrong <script>\n"
    error = error_of(400, "invalid_request_error", message)
    assert KEY not in error.message
    assert "abcdefgh" not in error.message
    assert "\n" not in error.message
    assert "wrong" not in error_of(401, "invalid_request_error", message).message


@pytest.mark.parametrize(
    ("body", "is_retried"),
    [
        ({"type": "server_error", "code": 503}, True),
        ({"type": "server_error", "message": "x"}, True),
        ({"type": "InternalServerError", "code": 500}, True),
        ({"type": "BadRequestError", "code": 400}, False),
        ({"message": "Service unavailable", "code": "overloaded"}, True),
        ("no", False),
    ],
)
def test_an_error_within_a_stream(body: object, is_retried: bool) -> None:
    error = stream_error(body, "req_1", ModelUsage(5, 6))
    assert isinstance(error, ModelError)
    assert (error.retry_after_seconds is not None) is is_retried
    assert delivered_usage(error) == ModelUsage(5, 6)
