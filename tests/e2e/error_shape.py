"""The one shape of every REST error."""

from __future__ import annotations

import datetime as dt
import re

from agent_executor.api.error.v1.error_pb2 import ErrorReason
from tests.platforms import Answer

CODES = {value.name.removeprefix("ERROR_REASON_") for value in ErrorReason.DESCRIPTOR.values}
# What only a stack trace or the name of a Python class would have brought into an answer.
_INTERNALS = re.compile(
    rb"Traceback|\.py\b|\b[A-Z]\w+(?:Error|Exception)\b|\bgrpc[._]|site-packages"
)


def assert_is_error(answer: Answer, status: int, code: str, tool_name: str = "") -> None:
    """Holds an answer to be this error in the documented shape, and nothing more."""
    assert answer.status == status, answer.content
    assert answer.headers["content-type"] == "application/json"
    body = answer.body
    assert body.keys() == {"success", "error", "tool_name", "code", "timestamp"}, answer.content
    assert body["success"] is False
    assert isinstance(body["error"], str)
    assert body["error"]
    assert body["tool_name"] == tool_name
    assert body["code"] == code, answer.content
    assert code in CODES
    assert_is_timestamp(body["timestamp"])
    assert not _INTERNALS.search(answer.content), answer.content


def assert_is_timestamp(value: object) -> None:
    """Holds a value to be a time in UTC, written as documented, with a Z at its end."""
    assert isinstance(value, str)
    assert value.endswith("Z"), value
    assert dt.datetime.fromisoformat(value).tzinfo is dt.UTC
