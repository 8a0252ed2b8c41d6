"""Mock Claude over HTTP is the Chat Completions API to the official SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI

from agent_executor.executor.models.mock_http.faults import Fault
from tests.mock_claude import MockClaudeServer, mock_claude_server

ASKED: Any = {
    "model": "gpt-6-luna",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 15 + 27? And 3 * 4?"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "calculator",
                "description": "d",
                "parameters": {"type": "object"},
            },
        }
    ],
}


@pytest.fixture
async def server() -> AsyncIterator[MockClaudeServer]:
    async with mock_claude_server() as running:
        yield running


@pytest.fixture
async def client(server: MockClaudeServer) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        api_key="k",
        base_url=f"{server.url}/v1",
        max_retries=0,
        # An answer that does not fit the SDK's own types is an error.
        _strict_response_validation=True,
    ) as made:
        yield made


@pytest.mark.parametrize("effort", ["none", "high"])
async def test_a_stream_is_the_answer_that_comes_without_one(
    client: AsyncOpenAI, effort: Any
) -> None:
    whole = await client.chat.completions.create(**ASKED, reasoning_effort=effort)
    async with client.chat.completions.stream(
        **ASKED, reasoning_effort=effort, stream_options={"include_usage": True}
    ) as stream:
        streamed = await stream.get_final_completion()
    (one,), (other,) = whole.choices, streamed.choices
    assert one.finish_reason == other.finish_reason == "tool_calls"
    assert (one.message.content or "") == (other.message.content or "")
    assert one.message.tool_calls
    assert other.message.tool_calls
    assert [call.to_dict()["function"] for call in one.message.tool_calls] == [
        {name: call.to_dict()["function"][name] for name in ("name", "arguments")}  # type: ignore[index]  # a mapping
        for call in other.message.tool_calls
    ]
    assert (whole.usage, whole.id) == (streamed.usage, streamed.id)
    thinks = "reasoning_content" in (one.message.model_extra or {})
    assert thinks is (effort == "high")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.RATE_LIMIT, openai.RateLimitError),
        (Fault.OVERLOADED, openai.InternalServerError),
        (Fault.SERVER_ERROR, openai.InternalServerError),
        (Fault.BILLING, openai.RateLimitError),
        (Fault.NO_PERMISSION, openai.PermissionDeniedError),
        (Fault.STREAM_ERROR, openai.InternalServerError),
        (Fault.CUT, openai.APIConnectionError),
        (Fault.NO_ANSWER, openai.APIConnectionError),
    ],
)
async def test_a_caller_chooses_its_fault_by_a_header(
    client: AsyncOpenAI, fault: Fault, error: type[Exception]
) -> None:
    with pytest.raises(error) as raised:
        await client.chat.completions.create(**ASKED, extra_headers={"x-mock-fault": fault.value})
    if isinstance(raised.value, openai.APIStatusError):
        assert (raised.value.request_id or "").startswith("req_")
        assert raised.value.type
    # The next call is as good as any.
    assert (await client.chat.completions.create(**ASKED)).choices[0].message.tool_calls


async def test_an_error_within_a_stream(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        **ASKED, stream=True, extra_headers={"x-mock-fault": "stream_error"}
    )
    with pytest.raises(openai.APIError, match="Busy"):
        async for _ in stream:
            pass


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": None}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "first message"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "robot"),
        ({"messages": [{"content": "x"}]}, "shape"),
        ({"messages": "x"}, "shape"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "max_completion_tokens"),
        ({"messages": [{"role": "tool", "tool_call_id": "1", "content": "x"}]}, "tool_use"),
    ],
)
async def test_what_the_api_does_not_take(
    server: MockClaudeServer, changes: dict[str, Any], message: str
) -> None:
    fields = {name: value for name, value in {**ASKED, **changes}.items() if value is not None}
    async with httpx2.AsyncClient(trust_env=False) as http:
        url = f"{server.url}/v1/chat/completions"
        response = await http.post(url, json=fields, headers={"authorization": "Bearer k"})
        unknown = await http.post(url, json=ASKED)
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert message in error["message"]
    assert unknown.status_code == 401
    assert server.api.calls.billed == 0
