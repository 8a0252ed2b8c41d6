"""Claude's provider against the Messages API over a real socket, with everything that goes wrong."""

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
from agent_executor.executor.models.anthropic.provider import AnthropicProvider
from agent_executor.executor.models.mock import MockClaude
from agent_executor.executor.models.mock_http.faults import Fault
from agent_executor.executor.models.mock_script import ScriptedReply, ScriptedToolCall
from agent_executor.executor.models.model import (
    ContentBlock,
    Message,
    ModelAccess,
    ModelDelta,
    ModelRequest,
    ModelUsage,
    ProviderBlock,
    RedactedThinkingBlock,
    TextBlock,
    Thinking,
    ThinkingBlock,
    ToolResultBlock,
    ToolSpecification,
    ToolUseBlock,
    delivered_usage,
)
from agent_executor.executor.models.provider_networks import ProviderNetworks
from tests.mock_claude import (
    OPERATOR_KEY,
    MockClaudeServer,
    mock_claude_server,
    provider_of,
)
from tests.raw_server import raw_server

AGENT_KEY = "sk-ant-api03-the-agents-own-secret-key"
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
) -> AsyncIterator[AnthropicProvider]:
    async with provider_of(server.url, monkeypatch) as ready:
        yield ready


def request_of(
    text: str = "What is 15 + 27?",
    *more: Message,
    model: str = "claude-sonnet-4-6",
    max_tokens: int = 1_000,
    thinking: Thinking = "default",
) -> ModelRequest:
    messages = (Message("user", (TextBlock(text),)), *more)
    return ModelRequest(model, "Be brief.", messages, (CALCULATOR,), max_tokens, thinking)


async def refusal_of(
    provider: AnthropicProvider, access: ModelAccess | None = None
) -> AgentExecutorError:
    with pytest.raises(AgentExecutorError) as raised:
        await provider.generate(request_of(), access=access or ModelAccess())
    return raised.value


async def test_the_answer_is_the_mocks_own(provider: AnthropicProvider) -> None:
    request = request_of()
    answered = await provider.generate(request)
    direct = await MockClaude().generate(request)
    assert answered.request_id.startswith("req_")
    assert (answered.id, answered.model) == (direct.id, direct.model)
    assert (answered.content, answered.stop_reason) == (direct.content, direct.stop_reason)
    assert answered.usage == direct.usage


async def test_parallel_tool_calls_and_the_counts_of_every_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = ModelUsage(10, 20, 30, 40, 50, 6, 7)
    calls = tuple(ScriptedToolCall("calculator", {"a": number}) for number in range(12))
    model = MockClaude([ScriptedReply(text="All at once.", tool_calls=calls, usage=usage)])
    async with (
        mock_claude_server(model) as server,
        provider_of(server.url, monkeypatch) as provider,
    ):
        response = await provider.generate(request_of())
    assert response.usage == usage
    assert [block.input for block in response.content if isinstance(block, ToolUseBlock)] == [
        {"a": number} for number in range(12)
    ]
    assert response.content[0] == TextBlock("All at once.")


async def test_thinking_comes_and_goes_back_intact(provider: AnthropicProvider) -> None:
    """The server refuses a signature that does not fit, as the provider's own does."""
    first = await provider.generate(request_of(thinking="on"))
    thinking, redacted, call = first.content
    assert isinstance(thinking, ThinkingBlock)
    assert isinstance(redacted, RedactedThinkingBlock)
    assert isinstance(call, ToolUseBlock)
    result = Message("user", (ToolResultBlock(call.id, "42"),))
    second = request_of("What is 15 + 27?", Message("assistant", first.content), result)
    assert "42" in str((await provider.generate(second)).content)
    content: tuple[ContentBlock, ...] = (ThinkingBlock("Other.", thinking.signature), call)
    with pytest.raises(ModelError, match="signature"):
        await provider.generate(
            request_of("What is 15 + 27?", Message("assistant", content), result)
        )


async def test_text_is_told_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "The quick brown fox jumps over the lazy dog. 🦊"
    model = MockClaude([ScriptedReply(text=text)])
    deltas: list[ModelDelta] = []
    async with (
        mock_claude_server(model) as server,
        provider_of(server.url, monkeypatch) as provider,
    ):
        await provider.generate(request_of(), on_delta=deltas.append)
    assert len(deltas) > 3
    assert "".join(delta.text for delta in deltas) == text


@pytest.mark.parametrize("fault", UNBILLED)
async def test_an_error_status_costs_nothing_and_is_not_tried_again(
    server: MockClaudeServer, provider: AnthropicProvider, fault: Fault
) -> None:
    server.faults.queue(fault)
    error = await refusal_of(provider)
    assert isinstance(error, ModelError)
    assert delivered_usage(error) is None
    can_retry = fault in (Fault.RATE_LIMIT, Fault.OVERLOADED, Fault.SERVER_ERROR)
    assert (error.retry_after_seconds is not None) is can_retry
    if fault in (Fault.RATE_LIMIT, Fault.OVERLOADED):
        assert error.retry_after_seconds == 7.0
    assert error.metadata["request_id"].startswith("req_")
    assert (server.api.calls.requests, server.api.calls.billed) == (1, 0)


@pytest.mark.parametrize("fault", BROKEN_OFF)
async def test_an_answer_that_breaks_off_says_what_it_has_cost(
    server: MockClaudeServer, provider: AnthropicProvider, fault: Fault
) -> None:
    server.faults.queue(fault)
    error = await refusal_of(provider)
    assert error.retry_after_seconds is not None
    usage = delivered_usage(error)
    assert usage is not None
    assert usage.input_tokens == server.api.calls.input_tokens
    assert 1 <= usage.output_tokens <= server.api.calls.output_tokens
    assert (server.api.calls.requests, server.api.calls.billed) == (1, 1)


async def test_no_answer_at_all_is_taken_to_have_cost_its_input(
    server: MockClaudeServer, provider: AnthropicProvider
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
    async with provider_of(url, monkeypatch) as provider:
        error = await refusal_of(provider)
    assert "was not reached" in error.message
    assert delivered_usage(error) is None
    assert error.retry_after_seconds is not None


async def test_a_refusal_is_an_answer(
    server: MockClaudeServer, provider: AnthropicProvider
) -> None:
    server.faults.queue(Fault.REFUSAL)
    response = await provider.generate(request_of())
    assert (response.stop_reason, response.content) == ("refusal", ())
    assert response.stop_detail.startswith("general_harms")


async def test_a_paused_turn_can_be_gone_on_with(
    server: MockClaudeServer, provider: AnthropicProvider
) -> None:
    server.faults.queue(Fault.PAUSE_TURN)
    response = await provider.generate(request_of("Hello"))
    assert response.stop_reason == "pause_turn"
    assert isinstance(response.content[1], ProviderBlock)
    assert response.usage.web_search_requests == 1
    paused = Message("assistant", response.content)
    # The API takes the answer back as it is, at the end of the conversation.
    assert (await provider.generate(request_of("Hello", paused))).stop_reason == "end_turn"


async def test_an_answer_that_the_limit_cut(
    server: MockClaudeServer, provider: AnthropicProvider
) -> None:
    server.faults.queue(Fault.MAX_TOKENS)
    response = await provider.generate(request_of("Hello"))
    assert response.stop_reason == "max_tokens"
    assert isinstance(response.content[0], TextBlock)


async def test_a_prompt_that_does_not_fit(provider: AnthropicProvider) -> None:
    request = request_of("word " * 200_000, model="claude-haiku-4-5-20251001")
    with pytest.raises(ContextLengthExceededError) as raised:
        await provider.generate(request)
    assert raised.value.metadata["context_window_tokens"] == "200000"
    assert int(raised.value.metadata["input_tokens"]) > 200_000


async def test_a_key_that_is_not_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        mock_claude_server(api_key="another") as server,
        provider_of(server.url, monkeypatch) as provider,
    ):
        error = await refusal_of(provider)
        assert (error.metadata["status_code"], error.retry_after_seconds) == ("401", None)
        own = ModelAccess("agent", b"another")
        assert (await provider.generate(request_of(), access=own)).stop_reason == "tool_use"


async def test_there_is_no_key_at_all(
    server: MockClaudeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with provider_of(server.url, monkeypatch, key="") as provider:
        error = await refusal_of(provider)
        assert "ANTHROPIC_API_KEY" in error.message
        assert error.retry_after_seconds is None
        assert server.api.calls.requests == 0
        own = ModelAccess("agent", AGENT_KEY.encode())
        await provider.generate(request_of(), access=own)


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.STALL])
async def test_cancelling_closes_the_connection_at_once(
    server: MockClaudeServer, provider: AnthropicProvider, fault: Fault
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
    server: MockClaudeServer, provider: AnthropicProvider
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
    server: MockClaudeServer, provider: AnthropicProvider
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
        async with provider_of(url, monkeypatch, networks=networks) as provider:
            error = await refusal_of(provider)
        assert "EXECUTOR_EGRESS_ALLOWED_CIDRS" in error.message
        assert error.retry_after_seconds is None
    assert server.server.connections == 0


async def test_an_agents_own_provider_gets_neither_the_operators_key_nor_its_headers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with mock_claude_server() as ours, mock_claude_server(api_key=AGENT_KEY) as theirs:
        async with provider_of(ours.url, monkeypatch) as provider:
            with pytest.raises(ModelError, match="key of its own"):
                await provider.generate(request_of(), access=ModelAccess("agent", b"", theirs.url))
        access = ModelAccess("agent", AGENT_KEY.encode(), theirs.url)
        custom = "x-mock-fault: overloaded"
        async with provider_of(ours.url, monkeypatch, custom_headers=custom) as provider:
            assert (await provider.generate(request_of(), access=access)).id
            # Our own gets it.
            assert (await refusal_of(provider)).metadata["status_code"] == "529"
        assert (theirs.api.calls.billed, ours.api.calls.billed) == (1, 0)


@pytest.mark.parametrize("url", ["nonsense", "ftp://example.com", "https://user@example.com"])
async def test_a_base_url_that_is_none(provider: AnthropicProvider, url: str) -> None:
    with pytest.raises(InvalidArgumentError):
        await provider.generate(request_of(), access=ModelAccess("agent", b"key", url))


async def test_no_redirect_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect would take the key and the prompt elsewhere."""
    async with mock_claude_server() as server:
        head = f"HTTP/1.1 307 -\r\nlocation: {server.url}\r\ncontent-length: 0\r\n\r\n"
        async with raw_server(head.encode()) as (url, _), provider_of(url, monkeypatch) as provider:
            error = await refusal_of(provider)
        assert error.metadata["status_code"] == "307"
        assert server.server.connections == 0


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Welcome to the hotel's network</html>",
        b"\xff\xfe" * 100,
        b"data: {\n\n",
        b"event: message_start\ndata: {}\n\n",
        b"data: " + b"[" * 100_000 + b"\n\n",
    ],
)
async def test_what_is_no_answer_of_the_api(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with raw_server(head + body) as (url, _), provider_of(url, monkeypatch) as provider:
        error = await refusal_of(provider)
    assert isinstance(error, ModelError)
    assert (error.metadata["error_type"], delivered_usage(error)) == ("broken_answer", None)


async def test_nothing_is_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    body = gzip.compress(bytes(10_000_000))
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with (
        raw_server(head + body) as (url, requests),
        provider_of(url, monkeypatch) as provider,
    ):
        error = await refusal_of(provider)
    assert error.metadata["error_type"] == "connection_error"
    assert b"accept-encoding: identity" in requests[0].lower()


@pytest.mark.parametrize("fault", [*UNBILLED, *BROKEN_OFF, Fault.NO_ANSWER, None])
async def test_the_key_appears_nowhere(
    server: MockClaudeServer,
    provider: AnthropicProvider,
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
        assert "anthropic" not in type(behind).__module__
        shown += [repr(error), str(error.metadata)]
        shown.append("".join(traceback.format_exception(error)))
    logged = "".join(f"{record.getMessage()}{record.args!r}" for record in caplog.records)
    for text in (*shown, caplog.text, logged):
        assert AGENT_KEY not in text
        assert OPERATOR_KEY not in text
    # Nor does the prompt appear in a log.
    assert "15 + 27" not in logged
