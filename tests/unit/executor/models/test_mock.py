"""Mock Claude behaves as the Messages API does, and always in the same way."""

from __future__ import annotations

import asyncio
import re
import time

import msgspec
import pytest

from agent_executor.errors import ContextLengthExceededError, ModelError
from agent_executor.executor.models.mock import MockClaude
from agent_executor.executor.models.model import (
    Message,
    ModelProvider,
    ModelUsage,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from tests.unit.executor.models.dialogue import (
    CALCULATOR,
    HTTP_REQUEST,
    converse,
    request_of,
    run_tool,
    text_of,
    tool_uses,
    user,
)


@pytest.fixture
def mock() -> MockClaude:
    return MockClaude()


def total(usage: ModelUsage) -> int:
    return sum(msgspec.structs.astuple(usage))


def test_it_is_a_model_provider(mock: MockClaude) -> None:
    provider: ModelProvider = mock
    assert provider.name == "mock"


async def test_the_first_documented_example() -> None:
    dialogue = await converse("What is 15 + 27?")
    assert dialogue.calls == [[("calculator", {"operation": "add", "a": 15, "b": 27})]]
    assert dialogue.answer == "15 + 27 = 42"
    assert [response.stop_reason for response in dialogue.responses] == ["tool_use", "end_turn"]


async def test_without_a_calculator_it_answers_from_its_head() -> None:
    assert (await converse("What is 2 + 2?", [])).answer == "The answer is 4"
    several = await converse("What is 2 + 2 and 10/4?", [])
    assert several.answer == "2 + 2 = 4\n10 / 4 = 2.5"
    assert several.calls == []


async def test_it_does_not_hang_on_a_tower_of_powers() -> None:
    start = time.process_time()
    in_the_head = await converse("What is 9^9^9?", [])
    assert in_the_head.answer == "9^9^9 has no answer: the result is too large."
    with_tool = await converse("What is 9^9^9?")
    assert with_tool.answer.startswith("9^387420489 failed: ")
    assert time.process_time() - start < 1.0


async def test_questions_become_parallel_tool_calls() -> None:
    dialogue = await converse("What is 2+2 and 3*4?")
    assert dialogue.calls == [
        [
            ("calculator", {"operation": "add", "a": 2, "b": 2}),
            ("calculator", {"operation": "multiply", "a": 3, "b": 4}),
        ]
    ]
    ids = [block.id for block in tool_uses(dialogue.responses[0])]
    assert len(set(ids)) == 2
    assert dialogue.answer == "2 + 2 = 4\n3 * 4 = 12"


async def test_a_nested_expression_feeds_results_on() -> None:
    dialogue = await converse("what is (3+4)*5 - 2^3")
    assert dialogue.calls == [
        [
            ("calculator", {"operation": "add", "a": 3, "b": 4}),
            ("calculator", {"operation": "power", "a": 2, "b": 3}),
        ],
        [("calculator", {"operation": "multiply", "a": 7, "b": 5})],
        [("calculator", {"operation": "subtract", "a": 35, "b": 8})],
    ]
    assert dialogue.answer == "(3 + 4) * 5 - 2^3 = 27"


async def test_one_and_the_same_call_is_made_once() -> None:
    dialogue = await converse("What is 2+2 and (2+2)*3 and 2+2?")
    assert [len(calls) for calls in dialogue.calls] == [1, 1]
    assert dialogue.answer == "2 + 2 = 4\n(2 + 2) * 3 = 12\n2 + 2 = 4"


async def test_a_failed_step_is_reported_and_the_rest_answered() -> None:
    dialogue = await converse("What is (10/0)+1 and 1+1?")
    assert len(dialogue.calls) == 1
    failed, answered = dialogue.answer.split("\n")
    assert failed.startswith("10 / 0 failed: ")
    assert answered == "1 + 1 = 2"


async def test_a_result_that_is_no_number_is_reported(mock: MockClaude) -> None:
    question = user("What is 1 + 1?")
    asked = await mock.generate(request_of(question))
    (call,) = tool_uses(asked)
    for content in ("null", '{"result": "many"}', "not json", '{"result": true}', "[" * 5_000):
        result = Message("user", (ToolResultBlock(call.id, content),))
        answer = await mock.generate(
            request_of(question, Message("assistant", asked.content), result)
        )
        assert text_of(answer).startswith("1 + 1 gave no number but ")


async def test_only_the_last_text_is_the_task(mock: MockClaude) -> None:
    first = await converse("What is 15 + 27?")
    second = await converse("What is 1 + 1?", history=first.messages)
    assert second.calls == [[("calculator", {"operation": "add", "a": 1, "b": 1})]]
    assert second.answer == "1 + 1 = 2"
    again = await converse("What is 15 + 27?", history=first.messages)
    assert len(again.calls) == 1
    follow_up = await converse("Now multiply that by 2", history=second.messages)
    assert follow_up.answer == "2 * 2 = 4"


async def test_that_means_nothing_when_no_number_came_before() -> None:
    greeting = await converse("Hello")
    assert (await converse("multiply that by 2", history=greeting.messages)).calls == []
    silence = [user("Hello"), Message("assistant", ())]
    assert (await converse("multiply that by 2", history=silence)).calls == []


async def test_the_same_request_gets_the_same_answer() -> None:
    request = request_of(user("What is 2+2 and 3*4?"))
    one, other = await MockClaude().generate(request), await MockClaude().generate(request)
    assert one == other
    changed = await MockClaude().generate(request_of(user("What is 2+2 and 3*4!")))
    assert changed.id != one.id
    assert {block.id for block in tool_uses(changed)}.isdisjoint(b.id for b in tool_uses(one))


async def test_ids_look_like_the_provider_s(mock: MockClaude) -> None:
    response = await mock.generate(request_of(user("What is 2+2?")))
    assert re.fullmatch(r"msg_01[0-9a-f]{22}", response.id)
    assert re.fullmatch(r"toolu_01[0-9a-f]{22}", tool_uses(response)[0].id)
    assert response.model == "claude-sonnet-4-20250514"


async def test_tokens_grow_with_the_texts(mock: MockClaude) -> None:
    short = (await mock.generate(request_of(user("Hi")))).usage
    long = (await mock.generate(request_of(user("Hi " + "there " * 100)))).usage
    assert 0 < short.input_tokens < long.input_tokens
    assert short.output_tokens > 0
    assert long.input_tokens - short.input_tokens == pytest.approx(150, abs=2)


async def test_a_long_conversation_is_read_from_the_cache(mock: MockClaude) -> None:
    system = "You are Ada. " + "Be precise. " * 500
    question = user("What is 1 + 1?")
    first_request = request_of(question, system=system)
    asked = await mock.generate(first_request)
    assert asked.usage.cache_read_input_tokens == 0
    assert asked.usage.cache_creation_input_tokens_5m > 1_024
    result = Message("user", (run_tool(tool_uses(asked)[0], {}),))
    request = request_of(question, Message("assistant", asked.content), result, system=system)
    answered = await mock.generate(request)
    # The first request is read, what was added since is written; no token counts twice.
    first_tokens = asked.usage.input_tokens + asked.usage.cache_creation_input_tokens_5m
    assert answered.usage.cache_read_input_tokens == first_tokens
    assert 0 < answered.usage.cache_creation_input_tokens_5m < 200
    assert total(answered.usage) == -(-len(msgspec.json.encode(request)) // 4) + (
        answered.usage.output_tokens
    )


async def test_a_text_is_cut_at_max_tokens(mock: MockClaude) -> None:
    request = request_of(user("Why is the sky blue?"))
    whole = await mock.generate(request)
    cut = await mock.generate(msgspec.structs.replace(request, max_tokens=5))
    assert cut.stop_reason == "max_tokens"
    assert cut.usage.output_tokens == 5
    assert text_of(cut) == text_of(whole)[:20]
    exact = await mock.generate(
        msgspec.structs.replace(request, max_tokens=whole.usage.output_tokens)
    )
    assert exact.stop_reason == "end_turn"


async def test_tool_calls_are_cut_as_a_whole(mock: MockClaude) -> None:
    request = request_of(user("What is 2+2 and 3*4?"))
    whole = await mock.generate(request)
    assert whole.stop_reason == "tool_use"
    cut = await mock.generate(
        msgspec.structs.replace(request, max_tokens=whole.usage.output_tokens - 1)
    )
    assert cut.stop_reason == "max_tokens"
    assert [block.input for block in tool_uses(cut)] == [whole.content[0].input]  # type: ignore[union-attr]  # a tool call, as the stop reason says
    nothing = await mock.generate(msgspec.structs.replace(request, max_tokens=1))
    assert nothing.content == ()


CALL = ToolUseBlock("toolu_1", "calculator", {})
RESULT = ToolResultBlock("toolu_1", "1")


@pytest.mark.parametrize(
    "messages",
    [
        (),
        (Message("assistant", (TextBlock("hi"),)),),
        (user("hi"), Message("assistant", (CALL,))),
        (user("hi"), Message("assistant", (CALL,)), user("and now?")),
        (user("hi"), Message("assistant", (CALL,)), Message("assistant", (TextBlock("x"),))),
        (user("hi"), Message("user", (RESULT,))),
        (user("hi"), Message("user", (CALL,))),
        (user("hi"), Message("assistant", (CALL, RESULT))),
        (user("hi"), Message("assistant", (CALL,)), Message("user", (RESULT, RESULT))),
    ],
)
async def test_what_the_api_refuses_is_refused(
    mock: MockClaude, messages: tuple[Message, ...]
) -> None:
    with pytest.raises(ModelError) as caught:
        await mock.generate(request_of(*messages))
    assert caught.value.retry_after_seconds is None
    assert caught.value.metadata["error_type"] == "invalid_request_error"
    assert caught.value.metadata["status_code"] == "400"


async def test_no_output_tokens_is_refused(mock: MockClaude) -> None:
    with pytest.raises(ModelError, match="max_tokens"):
        await mock.generate(request_of(user("hi"), max_tokens=0))


async def test_a_request_larger_than_the_context_window_is_refused(mock: MockClaude) -> None:
    request = request_of(user("word " * 200_000))
    with pytest.raises(ContextLengthExceededError) as caught:
        await mock.generate(request)
    assert caught.value.metadata["context_window_tokens"] == "200000"
    assert int(caught.value.metadata["input_tokens"]) > 200_000
    larger = msgspec.structs.replace(request, model="claude-sonnet-5")
    assert (await mock.generate(larger)).stop_reason == "end_turn"
    unknown = msgspec.structs.replace(request, model="a-model-of-my-own")
    assert (await mock.generate(unknown)).stop_reason == "end_turn"


async def test_half_a_surrogate_pair_is_not_echoed(mock: MockClaude) -> None:
    response = await mock.generate(request_of(user("Why \ud800?")))
    assert "Why ??" in text_of(response)
    msgspec.json.encode(response)
    call = ToolUseBlock("toolu_1", "calculator", {"a": "\ud800"})
    messages = (user("What is 1 + 1?"), Message("assistant", (call,)), Message("user", (RESULT,)))
    assert tool_uses(await mock.generate(request_of(*messages)))


async def test_a_call_with_latency_can_be_cancelled() -> None:
    task = asyncio.create_task(
        MockClaude(latency_seconds=3_600).generate(request_of(user("hi"), tools=[HTTP_REQUEST]))
    )
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_latency_does_not_change_the_answer() -> None:
    request = request_of(user("hi"), tools=[CALCULATOR])
    slow = MockClaude(latency_seconds=0.01)
    start = time.perf_counter()
    assert await slow.generate(request) == await MockClaude().generate(request)
    assert time.perf_counter() - start >= 0.01
