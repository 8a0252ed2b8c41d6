from __future__ import annotations

import json
from typing import Any

import pytest

from agent_executor.tool_runner.isolation.frames import FrameError
from agent_executor.tool_runner.isolation.http_message import http_request_of

REQUEST: dict[str, Any] = {
    "method": "POST",
    "url": "https://api.test/",
    "headers": {"accept": "text/plain"},
    "params": {"q": [1, 2]},
    "data": None,
    "json": {"a": 1},
    "timeout": 5,
    "credential": "crm",
}


def test_a_request_is_read() -> None:
    assert http_request_of(json.dumps(REQUEST).encode()) == REQUEST


@pytest.mark.parametrize(
    "change",
    [
        {"method": 1},
        {"url": None},
        {"headers": []},
        {"headers": {"a": 1}},
        {"params": "q=1"},
        {"data": 3},
        {"timeout": "5"},
        {"timeout": True},
        {"timeout": 0},
        {"credential": None},
        {"verify_ssl": False},
    ],
)
def test_a_request_with_a_field_of_another_type_is_none(change: dict[str, Any]) -> None:
    with pytest.raises(FrameError):
        http_request_of(json.dumps({**REQUEST, **change}).encode())


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b'{"url": "https://api.test/"}'])
def test_something_else_is_no_request(payload: bytes) -> None:
    with pytest.raises(FrameError):
        http_request_of(payload)
