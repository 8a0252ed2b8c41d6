"""A script decides what mock Claude answers, run by run."""

from __future__ import annotations

import asyncio
import time

import pytest

from agent_executor.errors import ModelError
from agent_executor.executor.models.mock import MockClaude
from agent_executor.executor.models.mock_script import (
    ScriptedFailure,
    ScriptedReply,
    ScriptedToolCall,
)
from agent_executor.executor.models.model import Message, ModelRequest, ModelUsage, TextBlock
from tests.unit.executor.models.dialogue import converse, request_of, text_of, tool_uses, user

ADD = ScriptedToolCall("calculator", {"operation": "add", "a": 1, "b": 2})
TWO_STEPS = [
    ScriptedReply(text="Let me see.", tool_calls=(ADD, ADD)),
    ScriptedReply(text="It is 3."),
]


async def generate_after_failures(mock: MockClaude, request: ModelRequest) -> list[str]:
    """The errors in their order, then the text."""
    seen: list[str] = []
    while True:
        try:
            return [*seen, text_of(await mock.generate(request))]
        except ModelError as error:
            seen.append(error.metadata["error_type"])


async def test_replies_answer_turn_by_turn() -> None:
    dialogue = await converse("anything", provider=MockClaude(TWO_STEPS))
    first, last = dialogue.responses
    assert first.stop_reason == "tool_use"
    assert text_of(first) == "Let me see."
    assert [block.input for block in tool_uses(first)] == [ADD.arguments, ADD.arguments]
    assert len({block.id for block in tool_uses(first)}) == 2
    assert last.stop_reason == "end_turn"
    assert dialogue.answer == "It is 3."


async def test_every_run_goes_through_the_script_from_its_start() -> None:
    mock = MockClaude(TWO_STEPS)
    dialogues = await asyncio.gather(
        *(converse(text, provider=mock) for text in ["same", "same", "other"] * 10)
    )
    assert [dialogue.answer for dialogue in dialogues] == ["It is 3."] * 30
    assert all(len(dialogue.responses) == 2 for dialogue in dialogues)
    next_run = await converse("again", provider=mock, history=dialogues[0].messages)
    assert len(next_run.responses) == 2


async def test_after_its_end_the_text_is_understood_again() -> None:
    mock = MockClaude([ScriptedReply(tool_calls=(ADD,))])
    dialogue = await converse("What is 15 + 27?", provider=mock)
    assert [calls[0][1]["a"] for calls in dialogue.calls] == [1, 15]
    assert dialogue.answer == "15 + 27 = 42"


async def test_failures_come_once_before_their_reply() -> None:
    mock = MockClaude(
        [
            ScriptedFailure.overloaded(retry_after_seconds=0.25),
            ScriptedFailure.rate_limited(retry_after_seconds=2),
            ScriptedReply(text="at last"),
        ]
    )
    with pytest.raises(ModelError) as caught:
        await mock.generate(request_of(user("a")))
    assert caught.value.retry_after_seconds == 0.25
    assert caught.value.metadata == {
        "provider": "mock",
        "error_type": "overloaded_error",
        "status_code": "529",
    }
    request = request_of(user("b"))
    expected = ["overloaded_error", "rate_limit_error", "at last"]
    assert await generate_after_failures(mock, request) == expected
    # The next run with the very same input meets them again.
    assert await generate_after_failures(mock, request) == expected
    assert await generate_after_failures(mock, request_of(user("a"))) == expected[1:]


async def test_a_script_of_failures_ends_with_the_mock_s_own_answer() -> None:
    mock = MockClaude([ScriptedFailure.overloaded()])
    seen = await generate_after_failures(mock, request_of(user("What is 2 + 2?"), tools=[]))
    assert seen == ["overloaded_error", "The answer is 4"]


async def test_a_failure_can_say_that_repeating_is_no_use() -> None:
    mock = MockClaude([ScriptedFailure(error_type="permission_error", status_code=403)])
    with pytest.raises(ModelError) as caught:
        await mock.generate(request_of(user("a")))
    assert caught.value.retry_after_seconds is None


def says(word: str, request: ModelRequest) -> bool:
    block = request.messages[-1].content[0]
    return isinstance(block, TextBlock) and word in block.text


async def test_rules_answer_what_their_condition_holds_for() -> None:
    mock = MockClaude(
        [
            ScriptedReply(text="sequence"),
            ScriptedFailure.overloaded(when=lambda request: says("busy", request), times=2),
            ScriptedReply(text="rule", when=lambda request: says("rule", request)),
        ]
    )
    busy = request_of(user("busy"))
    assert await generate_after_failures(mock, busy) == ["overloaded_error"] * 2 + ["sequence"]
    assert await generate_after_failures(mock, busy) == ["sequence"]
    for _ in range(3):
        assert (await converse("a rule", provider=mock)).answer == "rule"


async def test_concurrent_runs_use_up_a_rule_exactly() -> None:
    mock = MockClaude([ScriptedFailure.overloaded(when=lambda _: True, times=5)])
    seen = await asyncio.gather(
        *(generate_after_failures(mock, request_of(user(f"{number}"))) for number in range(50))
    )
    assert sum(len(answers) - 1 for answers in seen) == 5


async def test_usage_and_stop_reason_can_be_given() -> None:
    usage = ModelUsage(10, 20, 30, 40, 50)
    mock = MockClaude([ScriptedReply(text="no", usage=usage, stop_reason="refusal")])
    response = await mock.generate(request_of(user("a")))
    assert response.usage == usage
    assert response.stop_reason == "refusal"


async def test_latency_is_waited_for_and_can_be_cancelled() -> None:
    mock = MockClaude([ScriptedReply(text="slow", latency_seconds=0.02)])
    start = time.perf_counter()
    await mock.generate(request_of(user("a")))
    assert time.perf_counter() - start >= 0.02
    endless = MockClaude([ScriptedReply(text="never", latency_seconds=3_600)])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(endless.generate(request_of(user("a"))), 0.02)


async def test_a_scripted_reply_may_be_empty() -> None:
    response = await MockClaude([ScriptedReply()]).generate(request_of(user("a")))
    assert response.content == ()
    assert response.stop_reason == "end_turn"
    assert response.usage.output_tokens == 1


async def test_a_scripted_reply_still_obeys_the_api_s_rules() -> None:
    mock = MockClaude([ScriptedReply(text="long " * 100)])
    cut = await mock.generate(request_of(user("a"), max_tokens=2))
    assert cut.stop_reason == "max_tokens"
    with pytest.raises(ModelError, match="first message"):
        await mock.generate(request_of(Message("assistant", (TextBlock("x"),))))
