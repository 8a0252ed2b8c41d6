"""Claude's Message Batches by the SDK, against the mock over HTTP."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from agent_executor.errors import ModelError
from agent_executor.executor.models.mock_http.faults import Fault
from agent_executor.executor.models.model import (
    OPERATOR_ACCESS,
    Message,
    ModelAccess,
    ModelRequest,
    TextBlock,
    ToolSpecification,
    ToolUseBlock,
)
from agent_executor.executor.models.model_batches import (
    BatchOutcome,
    BatchRequest,
    ModelBatches,
    ProviderBatch,
    may_be_made,
)
from tests.mock_claude import MockClaudeServer, mock_claude_server, provider_of

CALCULATOR = ToolSpecification(
    "calculator",
    "Calculates.",
    {
        "type": "object",
        "properties": {
            "operation": {"type": "string"},
            "a": {"type": "number"},
            "b": {"type": "number"},
        },
    },
)


def asked(text: str, number: int = 0, *, uses_tools: bool = False) -> BatchRequest:
    request = ModelRequest(
        model="claude-haiku-4-5-20251001",
        system="You help.",
        messages=(Message("user", (TextBlock(text),)),),
        tools=(CALCULATOR,) if uses_tools else (),
        max_tokens=100,
    )
    return BatchRequest(f"run_{number}_m1", request)


@pytest.fixture
async def server() -> AsyncIterator[MockClaudeServer]:
    async with mock_claude_server() as running:
        yield running


@pytest.fixture
async def batches(
    server: MockClaudeServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ModelBatches]:
    async with provider_of(server.url, monkeypatch) as provider:
        yield await provider.batches()


async def outcomes(batches: ModelBatches, batch: ProviderBatch) -> dict[str, BatchOutcome]:
    found = batches.outcomes(batch.id, access=OPERATOR_ACCESS)
    return {request_id: outcome async for request_id, outcome in found}


async def test_a_batch_is_made_waited_for_and_read(
    server: MockClaudeServer, batches: ModelBatches
) -> None:
    server.api.batches.batch_seconds = 3_600
    before_ms = int(time.time() * 1000) - 1
    requests = [asked("What is 1 + 2?", 1, uses_tools=True), asked("Hi", 2)]
    made = await batches.create(requests, access=OPERATOR_ACCESS)
    assert (made.has_ended, made.request_count) == (False, 2)
    assert made.created_at_ms >= before_ms
    assert await batches.get(made.id, access=OPERATOR_ACCESS) == made
    with pytest.raises(ModelError):
        await outcomes(batches, made)
    server.api.batches.batch_seconds = 0
    now = await batches.create([asked("Hi", 3)], access=OPERATOR_ACCESS)
    listed = await batches.made_since(before_ms, access=OPERATOR_ACCESS)
    assert [batch.id for batch in listed] == [now.id, made.id]
    assert await batches.made_since(now.created_at_ms + 60_000, access=OPERATOR_ACCESS) == []
    answered = await outcomes(batches, now)
    assert answered["run_3_m1"].kind == "succeeded"
    response = answered["run_3_m1"].response
    assert response is not None
    assert isinstance(response.content[0], TextBlock)
    assert response.stop_reason == "end_turn"
    assert server.api.calls.billed == 1
    assert server.api.calls.output_tokens == response.usage.output_tokens


async def test_the_answers_are_those_of_direct_calls(
    server: MockClaudeServer, batches: ModelBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = asked("What is 1 + 2?", 1, uses_tools=True)
    made = await batches.create([one], access=OPERATOR_ACCESS)
    batched = (await outcomes(batches, made))[one.id].response
    async with provider_of(server.url, monkeypatch) as provider:
        direct = await provider.generate(one.request)
    assert batched is not None
    assert isinstance(batched.content[-1], ToolUseBlock)
    assert (batched.content, batched.stop_reason, batched.usage) == (
        *(direct.content, direct.stop_reason),
        direct.usage,
    )


async def test_each_request_has_its_own_outcome(
    server: MockClaudeServer, batches: ModelBatches
) -> None:
    faults = (None, None, Fault.OVERLOADED, Fault.TOO_LARGE, Fault.HANG, Fault.REFUSAL)
    server.faults.queue(*faults)
    made = await batches.create([asked("Hi", n) for n in range(5)], access=OPERATOR_ACCESS)
    found = await outcomes(batches, made)
    kinds = [found[f"run_{n}_m1"].kind for n in range(5)]
    assert kinds == ["succeeded", "errored", "errored", "expired", "succeeded"]
    assert [found[f"run_{n}_m1"].can_retry for n in (1, 2)] == [True, False]
    assert "Request exceeds the maximum size" in found["run_2_m1"].error
    assert found["run_1_m1"].code == "MODEL_ERROR"
    refused = found["run_4_m1"].response
    assert refused is not None
    assert refused.stop_reason == "refusal"
    assert server.api.calls.billed == 2


async def test_a_request_that_is_too_long_says_so(
    server: MockClaudeServer, batches: ModelBatches
) -> None:
    made = await batches.create([asked("x " * 900_000)], access=OPERATOR_ACCESS)
    (outcome,) = (await outcomes(batches, made)).values()
    assert (outcome.kind, outcome.code) == ("errored", "CONTEXT_LENGTH_EXCEEDED")
    assert outcome.error_metadata["context_window_tokens"]
    assert server.api.calls.billed == 0


async def test_a_cancelled_batch_answers_nothing(
    server: MockClaudeServer, batches: ModelBatches
) -> None:
    server.api.batches.batch_seconds = 3_600
    made = await batches.create([asked("Hi")], access=OPERATOR_ACCESS)
    await batches.cancel(made.id, access=OPERATOR_ACCESS)
    assert (await batches.get(made.id, access=OPERATOR_ACCESS)).has_ended
    (outcome,) = (await outcomes(batches, made)).values()
    assert outcome.kind == "canceled"
    assert server.api.calls.billed == 0


@pytest.mark.parametrize(
    ("fault", "is_open", "made"),
    [
        (Fault.RATE_LIMIT, False, 0),
        (Fault.OVERLOADED, False, 0),
        (Fault.NO_PERMISSION, False, 0),
        (Fault.SERVER_ERROR, True, 0),
        (Fault.NO_ANSWER, True, 0),
        (Fault.CUT, True, 1),
    ],
)
async def test_whether_a_batch_was_made_is_told_as_far_as_it_is_known(
    server: MockClaudeServer, batches: ModelBatches, fault: Fault, is_open: bool, made: int
) -> None:
    server.faults.queue(fault)
    with pytest.raises(ModelError) as raised:
        await batches.create([asked("Hi")], access=OPERATOR_ACCESS)
    assert may_be_made(raised.value) is is_open
    assert server.api.calls.batches == made
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None


async def test_who_is_not_there_has_made_nothing(
    batches: ModelBatches, server: MockClaudeServer
) -> None:
    await server.server.close()
    with pytest.raises(ModelError) as raised:
        await batches.create([asked("Hi")], access=OPERATOR_ACCESS)
    assert not may_be_made(raised.value)
    assert raised.value.retry_after_seconds is not None


async def test_an_agents_own_account_is_asked_with_its_own_key(batches: ModelBatches) -> None:
    async with mock_claude_server(api_key="its-own") as own:
        access = ModelAccess("agent", b"its-own", own.url)
        made = await batches.create([asked("Hi")], access=access)
        assert (await batches.get(made.id, access=access)).has_ended
        found = {key: one async for key, one in batches.outcomes(made.id, access=access)}
        assert [one.kind for one in found.values()] == ["succeeded"]
    with pytest.raises(ModelError):
        await batches.get(made.id, access=OPERATOR_ACCESS)
