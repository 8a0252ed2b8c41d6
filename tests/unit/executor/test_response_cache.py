"""Answers are kept for a time, within bounds, and only those that may be given again."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from agent_executor.executor.model_calls.response_cache import CachedAnswer, MemoryResponseCache
from agent_executor.executor.model_calls.shared_answers import (
    Flight,
    SharedAnswers,
    is_kept,
    key_of,
)
from agent_executor.executor.models.model import (
    Message,
    ModelRequest,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolSpecification,
    ToolUseBlock,
)
from agent_executor.serving.cancellation import StopSignal

REQUEST = ModelRequest(
    "model",
    "system",
    (Message("user", (TextBlock("hello"),)),),
    (ToolSpecification("look", "It looks.", {"type": "object"}),),
    100,
    "on",
    2_000,
)
HI = CachedAnswer((ThinkingBlock("hm", "sig"), TextBlock("hi ü")), "end_turn")
LOOK = ToolUseBlock("toolu_1", "look", {"at": [1, {"b": None}]})
TOOLS = (
    ToolSpecification("look", "", {}, effect="read_only"),
    ToolSpecification("put", "", {}, effect="idempotent"),
    ToolSpecification("send", "", {}, effect="unsafe"),
    ToolSpecification("unknown", "", {}),
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def nothing() -> None:
    """Is awaited before a wait."""


async def test_an_answer_is_kept_for_its_time() -> None:
    clock = Clock()
    cache = MemoryResponseCache(clock)
    answer = CachedAnswer((TextBlock("a"), LOOK), "tool_use")
    await cache.put(b"a", answer, 10)
    assert await cache.get(b"a", 10) == answer
    assert await cache.get(b"b", 10) is None
    clock.now += 5
    # Who wants it fresher does not get it; who asks for more gets what the writer allowed.
    assert await cache.get(b"a", 5) is None
    assert await cache.get(b"a", 100) == answer
    clock.now += 5
    assert await cache.get(b"a", 100) is None
    assert (len(cache), cache.size_bytes) == (0, 0)


async def test_it_is_bounded_and_forgets_what_was_not_used() -> None:
    cache = MemoryResponseCache(Clock(), max_bytes=40_000)
    for number in range(100):
        await cache.put(b"%d" % number, HI, 10)
        assert await cache.get(b"0", 10) == HI
        assert cache.size_bytes <= 40_000
    assert 10 < len(cache) < 100
    assert await cache.get(b"99", 10) == HI
    assert await cache.get(b"1", 10) is None
    before = cache.size_bytes
    await cache.put(b"99", HI, 10)
    assert cache.size_bytes == before
    # What is too large for it drives nothing out, and takes what was there under its key along.
    large = CachedAnswer((TextBlock("x" * 4_000),), "end_turn")
    await cache.put(b"99", large, 10)
    assert await cache.get(b"99", 10) is None
    assert len(cache) > 10


async def test_it_can_be_switched_off() -> None:
    cache = MemoryResponseCache(Clock(), max_bytes=0)
    await cache.put(b"a", HI, 10)
    assert await cache.get(b"a", 10) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "other"},
        {"system": "other"},
        {"messages": (Message("user", (TextBlock("Hello"),)),)},
        {"messages": (*REQUEST.messages, *REQUEST.messages)},
        {"tools": ()},
        {"tools": (ToolSpecification("look", "It looks.", {"type": "array"}),)},
        {"max_tokens": 99},
        {"thinking": "off"},
        {"thinking_budget_tokens": 2_001},
    ],
)
def test_all_that_an_answer_depends_on_is_in_its_key(changes: dict[str, Any]) -> None:
    other = msgspec.structs.replace(REQUEST, **changes)
    assert key_of("acme", "p", "", other) != key_of("acme", "p", "", REQUEST)


def test_organizations_and_providers_are_kept_apart() -> None:
    """BerriAI/litellm#29955: a key without the tenant gives one's answers to another."""
    parts = [("acme", "p", ""), ("other", "p", ""), ("acme", "q", ""), ("acme", "p", "https://u")]
    parts += [("acmep", "", ""), ("ac", "mep", "")]
    assert len({key_of(*part, REQUEST) for part in parts}) == len(parts)


def test_the_random_ids_of_tool_calls_make_no_difference_but_their_order_does() -> None:
    def key(first: str, second: str, results: tuple[str, str]) -> bytes:
        asked = (ToolUseBlock(first, "look", {}), ToolUseBlock(second, "look", {}))
        answers = tuple(
            ToolResultBlock(call_id, text) for call_id, text in zip(results, "12", strict=True)
        )
        more = (Message("assistant", asked), Message("user", answers))
        request = msgspec.structs.replace(REQUEST, messages=(*REQUEST.messages, *more))
        return key_of("acme", "p", "", request)

    assert key("a", "b", ("a", "b")) == key("x", "y", ("x", "y"))
    assert key("a", "b", ("a", "b")) != key("a", "b", ("b", "a"))


@pytest.mark.parametrize(
    ("names", "stop_reason", "kept"),
    [
        ((), "end_turn", True),
        ((), "stop_sequence", True),
        (("look",), "tool_use", True),
        (("look", "look"), "tool_use", True),
        (("look", "send"), "tool_use", False),
        (("put",), "tool_use", False),
        (("unknown",), "tool_use", False),
        (("hallucinated",), "tool_use", False),
        ((), "refusal", False),
        ((), "max_tokens", False),
        ((), "pause_turn", False),
        ((), "model_context_window_exceeded", False),
    ],
)
def test_what_may_be_given_again(names: tuple[str, ...], stop_reason: str, kept: bool) -> None:
    content = tuple(ToolUseBlock(f"t{index}", name, {}) for index, name in enumerate(names))
    assert is_kept(CachedAnswer((TextBlock("x"), *content), stop_reason), TOOLS) is kept


class TestFlights:
    async def test_equal_requests_wait_for_the_first(self) -> None:
        answers = SharedAnswers(MemoryResponseCache(Clock()))
        flight = await answers.find(b"k", 10, 5, nothing, StopSignal())
        assert isinstance(flight, Flight)
        waits = asyncio.Event()

        async def told() -> None:
            waits.set()

        waiting = asyncio.create_task(answers.find(b"k", 10, 5, told, StopSignal()))
        other = await answers.find(b"other", 10, 5, nothing, StopSignal())
        assert isinstance(other, Flight)
        await waits.wait()
        with flight:
            await answers.keep(b"k", HI, 10)
        assert await waiting == HI

    async def test_if_the_first_fails_one_of_the_others_asks(self) -> None:
        answers = SharedAnswers(MemoryResponseCache(Clock()))
        flight = await answers.find(b"k", 10, 5, nothing, StopSignal())
        assert isinstance(flight, Flight)
        waiting = [
            asyncio.create_task(answers.find(b"k", 10, 5, nothing, StopSignal())) for _ in range(3)
        ]
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError), flight:
            raise RuntimeError
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        (heir,) = [task.result() for task in done]
        assert isinstance(heir, Flight)
        assert len(pending) == 2
        with heir:
            heir.turn_out_unique()
        # They do not wait for each other for an answer that is not theirs.
        assert [await task for task in pending] == [None, None]
        assert isinstance(await answers.find(b"k", 10, 5, nothing, StopSignal()), Flight)

    async def test_a_wait_ends_with_the_time_and_with_its_caller(self) -> None:
        answers = SharedAnswers(MemoryResponseCache(Clock()))
        flight = await answers.find(b"k", 10, 5, nothing, StopSignal())
        assert isinstance(flight, Flight)
        with pytest.raises(TimeoutError):
            await answers.find(b"k", 10, 0.001, nothing, StopSignal())
        waiting = asyncio.create_task(answers.find(b"k", 10, 5, nothing, StopSignal()))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with flight:
            await answers.keep(b"k", HI, 10)
        assert await answers.find(b"k", 10, 5, nothing, StopSignal()) == HI
