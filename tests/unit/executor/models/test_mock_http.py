"""Mock Claude over HTTP is the Messages API to the provider's own SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import AsyncAnthropic

from agent_executor.executor.models.mock_http.faults import (
    Fault,
    FaultNameError,
    FaultPlan,
    fault_named,
)
from tests.mock_claude import MockClaudeServer, mock_claude_server

TOOL: Any = {"name": "calculator", "description": "d", "input_schema": {"type": "object"}}
ASKED: Any = {
    "model": "claude-sonnet-4-6",
    "max_tokens": 500,
    "messages": [{"role": "user", "content": "What is 15 + 27? And 3 * 4?"}],
    "tools": [TOOL],
}
HEADERS = {"x-api-key": "k", "anthropic-version": "2023-06-01"}


@pytest.fixture
async def server() -> AsyncIterator[MockClaudeServer]:
    async with mock_claude_server() as running:
        yield running


@pytest.fixture
async def client(server: MockClaudeServer) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(
        api_key="k",
        base_url=server.url,
        max_retries=0,
        # An answer that does not fit the SDK's own types is an error.
        _strict_response_validation=True,
    ) as made:
        yield made


@pytest.fixture
async def http(server: MockClaudeServer) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=server.url, headers=HEADERS, trust_env=False) as made:
        yield made


@pytest.mark.parametrize("thinking", [{"type": "disabled"}, {"type": "adaptive"}])
async def test_a_stream_is_the_message_that_comes_without_one(
    client: AsyncAnthropic, thinking: Any
) -> None:
    message = await client.messages.create(**ASKED, thinking=thinking)
    async with client.messages.stream(**ASKED, thinking=thinking) as stream:
        streamed = await stream.get_final_message()
    assert message.stop_reason == "tool_use"
    assert [block.type for block in message.content][-2:] == ["tool_use", "tool_use"]
    assert (message.content[0].type == "thinking") is (thinking["type"] == "adaptive")
    assert [block.to_dict() for block in streamed.content] == [
        block.to_dict() for block in message.content
    ]
    assert streamed.usage.output_tokens == message.usage.output_tokens
    assert streamed.usage.input_tokens == message.usage.input_tokens
    assert streamed.stop_reason == message.stop_reason


async def test_tokens_are_counted_without_a_bill(
    server: MockClaudeServer, client: AsyncAnthropic
) -> None:
    asked = {name: value for name, value in ASKED.items() if name != "max_tokens"}
    counted = await client.messages.count_tokens(**asked)
    assert server.api.calls.billed == 0
    message = await client.messages.create(**ASKED)
    # The limit of the answer is a part of what the mock counts.
    assert abs(counted.input_tokens - message.usage.input_tokens) <= 1


async def test_the_models_are_those_of_the_catalog(client: AsyncAnthropic) -> None:
    listed = {model.id: model async for model in client.models.list()}
    assert listed["claude-opus-5-5"].lifecycle == "active"
    retired = await client.models.retrieve("claude-sonnet-4-20250514")
    assert (retired.lifecycle, str(retired.retires_at)[:10]) == ("retired", "2026-06-15")
    with pytest.raises(anthropic.NotFoundError):
        await client.models.retrieve("claude-of-my-own")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.RATE_LIMIT, anthropic.RateLimitError),
        (Fault.OVERLOADED, anthropic.OverloadedError),
        (Fault.SERVER_ERROR, anthropic.InternalServerError),
        (Fault.BILLING, anthropic.PaymentRequiredError),
        (Fault.NO_PERMISSION, anthropic.PermissionDeniedError),
        (Fault.TOO_LARGE, anthropic.ContentTooLargeError),
        (Fault.STREAM_ERROR, anthropic.InternalServerError),
        (Fault.CUT, anthropic.APIConnectionError),
        (Fault.NO_ANSWER, anthropic.APIConnectionError),
    ],
)
async def test_a_caller_chooses_its_fault_by_a_header(
    client: AsyncAnthropic, fault: Fault, error: type[Exception]
) -> None:
    with pytest.raises(error) as raised:
        await client.messages.create(**ASKED, extra_headers={"x-mock-fault": fault.value})
    if isinstance(raised.value, anthropic.APIStatusError):
        assert (raised.value.request_id or "").startswith("req_")
        assert raised.value.type
    # The next call is as good as any.
    assert (await client.messages.create(**ASKED)).stop_reason == "tool_use"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "first message"),
        ({"messages": [{"role": "user", "content": ""}]}, "non-empty"),
        ({"messages": [{"role": "user", "content": []}]}, "non-empty"),
        ({"messages": [{"role": "system", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "shape"),
        ({"messages": "x"}, "shape"),
        ({"max_tokens": 10**6}, "maximum allowed number of output tokens"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "text",
                                "text": "x",
                                "cache_control": {"type": "ephemeral"},
                            }
                        ]
                        * 5,
                    }
                ]
            },
            "cache_control",
        ),
    ],
)
async def test_what_the_api_does_not_take(
    http: httpx2.AsyncClient, changes: dict[str, Any], message: str
) -> None:
    fields = {name: value for name, value in {**ASKED, **changes}.items() if value is not None}
    response = await http.post("/v1/messages", json=fields)
    body = response.json()
    assert response.status_code == 400
    assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    assert message in body["error"]["message"]
    assert body["request_id"] == response.headers["request-id"]


@pytest.mark.parametrize(
    ("headers", "status_code"),
    [
        ({"x-api-key": ""}, 401),
        ({"anthropic-version": ""}, 400),
        ({"x-mock-fault": "lunch"}, 400),
        ({"x-api-key": "", "authorization": "Bearer k"}, 200),
    ],
)
async def test_the_headers(
    http: httpx2.AsyncClient, headers: dict[str, str], status_code: int
) -> None:
    response = await http.post("/v1/messages", json=ASKED, headers=headers)
    assert response.status_code == status_code


async def test_what_is_no_json_and_what_is_nowhere(http: httpx2.AsyncClient) -> None:
    assert (await http.post("/v1/messages", content=b"{")).status_code == 400
    assert (await http.get("/v1/messages")).status_code == 404
    assert (await http.get("/v1/complete")).json()["error"]["type"] == "not_found_error"


async def test_the_bill_is_shown(http: httpx2.AsyncClient) -> None:
    for fault in ("", "rate_limit", "refusal"):
        await http.post("/v1/messages", json=ASKED, headers={"x-mock-fault": fault})
    calls = (await http.get("/mock/calls")).json()
    assert (calls["requests"], calls["billed"], calls["errors"]) == (3, 2, {"429": 1})
    assert calls["billed_by_model"] == {"claude-sonnet-4-6": 2}
    assert calls["open"] == calls["disconnected"] == 0


async def test_what_is_no_http_breaks_nothing(
    server: MockClaudeServer, http: httpx2.AsyncClient
) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    for data in (b"\x16\x03\x01\n\n\n", b"GET / HTTP/1.1\r\n", b""):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(data)
        writer.write_eof()
        await reader.read()
        writer.close()
        await writer.wait_closed()
    assert (await http.get("/mock/calls")).status_code == 200


def test_the_same_seed_gives_the_same_faults() -> None:
    rates = {Fault.OVERLOADED: 0.2, Fault.CUT: 0.1}

    def drawn(seed: int) -> list[Fault | None]:
        plan = FaultPlan(rates, seed)
        return [plan.next_fault("") for _ in range(2_000)]

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
    counts = {fault: drawn(7).count(fault) for fault in (*rates, None)}
    assert 300 < counts[Fault.OVERLOADED] < 500
    assert 130 < counts[Fault.CUT] < 270


def test_a_fault_that_there_is_not() -> None:
    with pytest.raises(FaultNameError, match=r"lunch.*overloaded"):
        fault_named("lunch")
