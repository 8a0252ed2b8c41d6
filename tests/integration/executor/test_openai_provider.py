"""Chat Completions over a real socket, by the SDK, with everything that goes wrong."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import logging
import traceback
from collections.abc import AsyncIterator

import httpx2
import pytest

from agent_executor.errors import (
    AgentExecutorError,
    ContextLengthExceededError,
    InvalidArgumentError,
    ModelError,
)
from agent_executor.executor.models.mock import MockClaude
from agent_executor.executor.models.mock_http.faults import Fault
from agent_executor.executor.models.mock_script import ScriptedReply, ScriptedToolCall
from agent_executor.executor.models.model import (
    Message,
    ModelAccess,
    ModelDelta,
    ModelRequest,
    ModelUsage,
    TextBlock,
    Thinking,
    ThinkingBlock,
    ToolResultBlock,
    ToolSpecification,
    ToolUseBlock,
    delivered_usage,
)
from agent_executor.executor.models.openai.provider import OpenAIProvider
from agent_executor.executor.models.provider_networks import ProviderNetworks
from tests.mock_claude import (
    OPERATOR_KEY,
    MockClaudeServer,
    mock_claude_server,
    openai_provider_of,
)
from tests.raw_server import raw_server

AGENT_KEY = "sk-proj-the-agents-own-secret-key"
CALCULATOR = ToolSpecification("calculator", "It calculates.", {"type": "object"})
UNBILLED = (
    Fault.RATE_LIMIT,
    Fault.OVERLOADED,
    Fault.SERVER_ERROR,
    Fault.BILLING,
    Fault.NO_PERMISSION,
    Fault.TOO_LARGE,
)
BROKEN_OFF = (Fault.CUT, Fault.STREAM_ERROR, Fault.BAD_JSON)


@pytest.fixture
async def server() -> AsyncIterator[MockClaudeServer]:
    async with mock_claude_server() as running:
        yield running


@pytest.fixture
async def provider(
    server: MockClaudeServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[OpenAIProvider]:
    async with openai_provider_of(server.url, monkeypatch) as ready:
        yield ready


def request_of(
    text: str = "What is 15 + 27?",
    *more: Message,
    model: str = "claude-sonnet-4-6",
    thinking: Thinking = "default",
) -> ModelRequest:
    messages = (Message("user", (TextBlock(text),)), *more)
    return ModelRequest(model, "Be brief.", messages, (CALCULATOR,), 1_000, thinking, 5_000)


async def refusal_of(
    provider: OpenAIProvider, access: ModelAccess | None = None
) -> AgentExecutorError:
    with pytest.raises(AgentExecutorError) as raised:
        await provider.generate(request_of(), access=access or ModelAccess())
    return raised.value


async def test_the_answer_is_the_mocks_own(provider: OpenAIProvider) -> None:
    request = request_of()
    answered = await provider.generate(request)
    direct = await MockClaude().generate(request)
    assert answered.request_id.startswith("req_")
    assert (answered.id, answered.model) == (direct.id, direct.model)
    assert (answered.content, answered.stop_reason) == (direct.content, direct.stop_reason)
    assert answered.usage == direct.usage


async def test_a_whole_conversation_arrives(provider: OpenAIProvider) -> None:
    """System prompt, parallel calls with their results, and what followed."""
    first = await provider.generate(request_of("What is 15 + 27? And 3 * 4?"))
    calls = [block for block in first.content if isinstance(block, ToolUseBlock)]
    assert len(calls) == 2
    results = tuple(
        ToolResultBlock(call.id, answer) for call, answer in zip(calls, ("42", "12"), strict=True)
    )
    asked = request_of(
        "What is 15 + 27? And 3 * 4?", Message("assistant", first.content), Message("user", results)
    )
    answered = await provider.generate(asked)
    assert answered.content == (await MockClaude().generate(asked)).content
    assert "42" in str(answered.content)
    failed = ToolResultBlock(calls[0].id, '{"success": false, "error": "No."}', is_error=True)
    asked = request_of(
        "What is 15 + 27? And 3 * 4?",
        Message("assistant", first.content),
        Message("user", (failed, results[1])),
    )
    assert "No." in str((await provider.generate(asked)).content)


async def test_parallel_tool_calls_and_the_counts_of_every_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = ModelUsage(10, 20, 30, 40)
    calls = tuple(ScriptedToolCall("calculator", {"a": number}) for number in range(12))
    model = MockClaude([ScriptedReply(text="All at once.", tool_calls=calls, usage=usage)])
    async with (
        mock_claude_server(model) as server,
        openai_provider_of(server.url, monkeypatch) as provider,
    ):
        response = await provider.generate(request_of())
    assert response.usage == usage
    assert response.stop_reason == "tool_use"
    assert [block.input for block in response.content if isinstance(block, ToolUseBlock)] == [
        {"a": number} for number in range(12)
    ]
    assert response.content[0] == TextBlock("All at once.")


async def test_reasoning_comes_and_is_not_sent_back(
    provider: OpenAIProvider, server: MockClaudeServer
) -> None:
    deltas: list[ModelDelta] = []
    first = await provider.generate(request_of("Hello", thinking="on"), on_delta=deltas.append)
    thinking, text = first.content
    assert isinstance(thinking, ThinkingBlock)
    assert isinstance(text, TextBlock)
    assert thinking.signature == ""
    assert {(delta.kind, delta.block) for delta in deltas} == {("thinking", 0), ("text", 1)}
    more = Message("assistant", first.content), Message("user", (TextBlock("Bye"),))
    assert (await provider.generate(request_of("Hello", *more))).stop_reason == "end_turn"


async def test_text_is_told_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "The quick brown fox jumps over the lazy dog. 🦊"
    model = MockClaude([ScriptedReply(text=text)])
    deltas: list[ModelDelta] = []
    async with (
        mock_claude_server(model) as server,
        openai_provider_of(server.url, monkeypatch) as provider,
    ):
        await provider.generate(request_of(), on_delta=deltas.append)
    assert len(deltas) > 3
    assert "".join(delta.text for delta in deltas) == text


@pytest.mark.parametrize("fault", UNBILLED)
async def test_an_error_status_costs_nothing_and_is_not_tried_again(
    server: MockClaudeServer, provider: OpenAIProvider, fault: Fault
) -> None:
    server.faults.queue(fault)
    error = await refusal_of(provider)
    assert isinstance(error, ModelError)
    assert delivered_usage(error) is None
    # An empty account is a 429 as well, and no wait fills it.
    can_retry = fault in (Fault.RATE_LIMIT, Fault.OVERLOADED, Fault.SERVER_ERROR)
    assert (error.retry_after_seconds is not None) is can_retry
    if fault in (Fault.RATE_LIMIT, Fault.OVERLOADED):
        assert error.retry_after_seconds == 7.0
    assert error.metadata["provider"] == "openai"
    assert error.metadata["request_id"].startswith("req_")
    assert (server.api.calls.requests, server.api.calls.billed) == (1, 0)


@pytest.mark.parametrize("fault", BROKEN_OFF)
async def test_an_answer_that_breaks_off_says_what_it_has_cost(
    server: MockClaudeServer, provider: OpenAIProvider, fault: Fault
) -> None:
    server.faults.queue(fault)
    error = await refusal_of(provider)
    assert error.retry_after_seconds is not None
    usage = delivered_usage(error)
    assert usage is not None
    # The API tells the usage at the end, so it is an estimate from the request.
    assert usage.input_tokens > 0
    assert 1 <= usage.output_tokens <= server.api.calls.output_tokens
    assert (server.api.calls.requests, server.api.calls.billed) == (1, 1)


async def test_no_answer_at_all_is_taken_to_have_cost_its_input(
    server: MockClaudeServer, provider: OpenAIProvider
) -> None:
    server.faults.queue(Fault.NO_ANSWER)
    error = await refusal_of(provider)
    usage = delivered_usage(error)
    assert usage is not None
    assert (usage.input_tokens > 0, usage.output_tokens) == (True, 0)
    assert error.retry_after_seconds is not None


async def test_what_was_not_sent_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with mock_claude_server() as server:
        url = server.url
    async with openai_provider_of(url, monkeypatch) as provider:
        error = await refusal_of(provider)
    assert "was not reached" in error.message
    assert delivered_usage(error) is None
    assert error.retry_after_seconds is not None


async def test_a_refusal_is_an_answer(server: MockClaudeServer, provider: OpenAIProvider) -> None:
    server.faults.queue(Fault.REFUSAL)
    response = await provider.generate(request_of())
    assert (response.stop_reason, response.content) == ("refusal", ())
    assert response.stop_detail == "I cannot help with that."


async def test_an_answer_that_the_limit_cut(
    server: MockClaudeServer, provider: OpenAIProvider
) -> None:
    server.faults.queue(Fault.MAX_TOKENS)
    response = await provider.generate(request_of("Hello"))
    assert response.stop_reason == "max_tokens"
    assert isinstance(response.content[0], TextBlock)


async def test_a_prompt_that_does_not_fit(provider: OpenAIProvider) -> None:
    request = request_of("word " * 200_000, model="claude-haiku-4-5-20251001")
    with pytest.raises(ContextLengthExceededError) as raised:
        await provider.generate(request)
    assert raised.value.metadata["context_window_tokens"] == "200000"
    assert int(raised.value.metadata["input_tokens"]) > 200_000


async def test_a_key_that_is_not_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        mock_claude_server(api_key="another") as server,
        openai_provider_of(server.url, monkeypatch) as provider,
    ):
        error = await refusal_of(provider)
        assert (error.metadata["status_code"], error.retry_after_seconds) == ("401", None)
        own = ModelAccess("agent", b"another")
        assert (await provider.generate(request_of(), access=own)).stop_reason == "tool_use"


async def test_an_endpoint_of_ones_own_needs_no_key_but_openai_does(
    server: MockClaudeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with openai_provider_of(server.url, monkeypatch, key="") as provider:
        assert (await provider.generate(request_of())).stop_reason == "tool_use"
    monkeypatch.delenv("OPENAI_ADMIN_KEY")
    async with openai_provider_of(server.url, monkeypatch, key="") as provider:
        assert (await provider.generate(request_of())).stop_reason == "tool_use"
    async with openai_provider_of("https://api.openai.com", monkeypatch, key="") as provider:
        error = await refusal_of(provider)
    assert "OPENAI_API_KEY" in error.message
    assert error.retry_after_seconds is None


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.STALL])
async def test_cancelling_closes_the_connection_at_once(
    server: MockClaudeServer, provider: OpenAIProvider, fault: Fault
) -> None:
    told = asyncio.Event()
    server.faults.queue(fault)
    calling = asyncio.create_task(
        provider.generate(request_of("Hello"), on_delta=lambda delta: told.set())
    )
    await server.wait_until_asked()
    if fault is Fault.STALL:
        await told.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await server.wait_until_idle()
    assert server.api.calls.disconnected == 1
    # Neither a connection nor a call is left behind, and the next one is not disturbed.
    await server.wait_until_alone()
    assert (await provider.generate(request_of())).stop_reason == "tool_use"


async def test_calls_cancelled_at_any_moment_leave_nothing_open(
    server: MockClaudeServer, provider: OpenAIProvider
) -> None:
    cancelled = 0
    for number in range(100):
        calling = asyncio.create_task(provider.generate(request_of()))
        for _ in range(number):
            await asyncio.sleep(0)
        calling.cancel()
        await asyncio.wait({calling})
        cancelled += calling.cancelled()
    assert cancelled > 10
    assert (await provider.generate(request_of())).stop_reason == "tool_use"
    await provider.close()
    await server.wait_until_alone()
    assert (server.api.calls.open, server.started) == (0, server.ended)


async def test_connections_are_used_again(
    server: MockClaudeServer, provider: OpenAIProvider
) -> None:
    for number in range(10):
        access = ModelAccess("agent", AGENT_KEY.encode()) if number % 2 else ModelAccess()
        await provider.generate(request_of(), access=access)
    assert server.server.connections == 1
    await asyncio.gather(*(provider.generate(request_of()) for _ in range(20)))
    assert server.server.connections <= 20


@pytest.mark.parametrize(
    "networks",
    [
        ProviderNetworks(),
        ProviderNetworks(denied=(ipaddress.ip_network("127.0.0.1/32"),)),
        ProviderNetworks(allowed=(ipaddress.ip_network("10.0.0.0/8"),)),
    ],
)
async def test_loopback_needs_the_operators_word(
    server: MockClaudeServer, monkeypatch: pytest.MonkeyPatch, networks: ProviderNetworks
) -> None:
    for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
        async with openai_provider_of(url, monkeypatch, networks=networks) as provider:
            error = await refusal_of(provider)
        assert "EXECUTOR_EGRESS_ALLOWED_CIDRS" in error.message
        assert error.retry_after_seconds is None
    assert server.server.connections == 0


@pytest.mark.parametrize("key", [AGENT_KEY, ""])
async def test_an_agents_own_provider_gets_nothing_of_the_operators(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    head = b"HTTP/1.1 500 -\r\ncontent-length: 0\r\n\r\n"
    async with mock_claude_server() as ours, raw_server(head) as (theirs, requests):
        custom = "x-mock-fault: overloaded\nx-secret: the-operators-header"
        async with openai_provider_of(ours.url, monkeypatch, custom_headers=custom) as provider:
            await refusal_of(provider, ModelAccess("agent", key.encode(), f"{theirs}/v1"))
            # Our own gets the headers.
            assert (await refusal_of(provider)).metadata["status_code"] == "503"
            # An agent's own key comes with the headers of its own account alone.
            own = ModelAccess("agent", AGENT_KEY.encode())
            assert (await provider.generate(request_of(), access=own)).id
    (sent,) = requests
    assert sent.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"operators" not in sent
    assert f"authorization: bearer {key or 'none'}".encode() in sent.lower()


@pytest.mark.parametrize("url", ["nonsense", "ftp://example.com", "https://user@example.com"])
async def test_a_base_url_that_is_none(provider: OpenAIProvider, url: str) -> None:
    with pytest.raises(InvalidArgumentError):
        await provider.generate(request_of(), access=ModelAccess("agent", b"key", url))


async def test_no_redirect_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect would take the key and the prompt elsewhere."""
    async with mock_claude_server() as server:
        head = f"HTTP/1.1 307 -\r\nlocation: {server.url}\r\ncontent-length: 0\r\n\r\n"
        async with (
            raw_server(head.encode()) as (url, _),
            openai_provider_of(url, monkeypatch) as provider,
        ):
            error = await refusal_of(provider)
        assert error.metadata["status_code"] == "307"
        assert server.server.connections == 0


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Welcome to the hotel's network</html>",
        b"\xff\xfe" * 100,
        b"data: {\n\n",
        b"data: \xff\xfe\n\n",
        b'data: {"object": "error", "message": "x"}\n\n',
        b"data: [DONE]\n\n",
        b"data: " + b"[" * 100_000 + b"\n\n",
    ],
)
async def test_what_is_no_answer_of_the_api(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with (
        raw_server(head + body) as (url, _),
        openai_provider_of(url, monkeypatch) as provider,
    ):
        error = await refusal_of(provider)
    assert isinstance(error, ModelError)
    assert (error.metadata["error_type"], delivered_usage(error)) == ("broken_answer", None)


async def test_nothing_is_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    body = gzip.compress(bytes(10_000_000))
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with (
        raw_server(head + body) as (url, requests),
        openai_provider_of(url, monkeypatch) as provider,
    ):
        error = await refusal_of(provider)
    assert error.metadata["error_type"] == "connection_error"
    assert b"accept-encoding: identity" in requests[0].lower()


@pytest.mark.parametrize("fault", [*UNBILLED, *BROKEN_OFF, Fault.NO_ANSWER, None])
async def test_the_key_appears_nowhere(
    server: MockClaudeServer,
    provider: OpenAIProvider,
    caplog: pytest.LogCaptureFixture,
    fault: Fault | None,
) -> None:
    caplog.set_level(logging.DEBUG)
    access = ModelAccess("agent", AGENT_KEY.encode())
    server.faults.queue(fault)
    shown = [repr(access), repr(provider)]
    try:
        shown.append(repr(await provider.generate(request_of(), access=access)))
    except AgentExecutorError as error:
        # The SDK's errors, which hold the request, are not behind ours either.
        behind = error.__context__ or error.__cause__
        assert not isinstance(behind, httpx2.HTTPError | AgentExecutorError)
        assert not type(behind).__module__.startswith("openai")
        shown += [repr(error), str(error.metadata)]
        shown.append("".join(traceback.format_exception(error)))
    logged = "".join(f"{record.getMessage()}{record.args!r}" for record in caplog.records)
    for text in (*shown, caplog.text, logged):
        assert AGENT_KEY not in text
        assert OPERATOR_KEY not in text
    # Nor does the prompt appear in a log.
    assert "15 + 27" not in logged
