"""An answer is what its stream says, whoever sent it; and what it cost is never lost."""

from __future__ import annotations

from typing import Any

import pytest

from agent_executor.errors import ModelError
from agent_executor.executor.models.model import (
    ModelDelta,
    ModelResponse,
    ModelUsage,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    delivered_usage,
)
from agent_executor.executor.models.openai.stream import AnswerAssembly
from tests.unit.executor.models.openai import recorded

ESTIMATED_INPUT = 77


def assemble(chunks: list[Any], deltas: list[ModelDelta] | None = None) -> ModelResponse:
    assembly = AnswerAssembly(ESTIMATED_INPUT, "req_1", None if deltas is None else deltas.append)
    for chunk in chunks:
        assembly.feed(chunk)
    return assembly.response()


def broken(chunks: list[Any]) -> ModelError:
    with pytest.raises(ModelError) as raised:
        assemble(chunks)
    return raised.value


def test_text_with_what_it_used_told_apart() -> None:
    response = assemble(recorded.OPENAI_TEXT)
    assert response.content == (TextBlock("Hello there 🦊"),)
    assert (response.id, response.model) == ("chatcmpl-1", "gpt-5.5-mini")
    assert (response.stop_reason, response.request_id) == ("end_turn", "req_1")
    # The prompt's count holds the cache's, ours does not; reasoning is within the completion.
    assert response.usage == ModelUsage(
        input_tokens=80,
        output_tokens=300,
        cache_read_input_tokens=1_920,
        cache_creation_input_tokens_5m=6,
    )


def test_parallel_tool_calls() -> None:
    response = assemble(recorded.OPENAI_PARALLEL_TOOLS)
    assert response.stop_reason == "tool_use"
    assert response.content == (
        ToolUseBlock("call_a", "get_weather", {"city": "Zürich"}),
        ToolUseBlock("call_b", "get_weather", {"city": "Bern"}),
    )


@pytest.mark.parametrize(
    ("chunks", "detail", "content"),
    [
        (recorded.OPENAI_REFUSAL, "I cannot help with that.", ()),
        (
            recorded.FILTERED,
            "The provider's content filter stopped the answer.",
            (TextBlock("Well"),),
        ),
    ],
)
def test_a_refusal_says_why(chunks: list[Any], detail: str, content: tuple[TextBlock, ...]) -> None:
    response = assemble(chunks)
    assert (response.stop_reason, response.stop_detail) == ("refusal", detail)
    assert response.content == content


@pytest.mark.parametrize(
    ("chunks", "thinking", "text"),
    [
        (recorded.VLLM_REASONING, "Let me think.", "42"),
        (recorded.DEEPSEEK_REASONING, "Hm. Yes.", "Yes."),
    ],
)
def test_reasoning_is_thinking(chunks: list[Any], thinking: str, text: str) -> None:
    deltas: list[ModelDelta] = []
    response = assemble(chunks, deltas)
    assert response.content == (ThinkingBlock(thinking, ""), TextBlock(text))
    assert response.stop_reason == "end_turn"
    for block, (kind, whole) in enumerate((("thinking", thinking), ("text", text))):
        pieces = [delta.text for delta in deltas if (delta.block, delta.kind) == (block, kind)]
        assert "".join(pieces) == whole


def test_calls_without_ids_and_with_the_wrong_reason_are_calls() -> None:
    response = assemble(recorded.OLLAMA_TOOLS)
    assert response.stop_reason == "tool_use"
    first, second = response.content
    assert isinstance(first, ToolUseBlock)
    assert isinstance(second, ToolUseBlock)
    assert (first.name, first.input, second.input) == ("now", {}, {})
    assert "" != first.id != second.id != ""


def test_the_limit_cut() -> None:
    assert assemble(recorded.CUT).stop_reason == "max_tokens"
    response = assemble(recorded.CUT_CALL)
    assert (response.stop_reason, response.content) == ("max_tokens", (TextBlock("I call."),))


def test_reasoning_that_only_the_total_counts() -> None:
    chunks = [*recorded.OPENAI_TEXT[:-1], recorded.usage(10, 5, total_tokens=40)]
    assert assemble(chunks).usage == ModelUsage(10, 30)


@pytest.mark.parametrize(
    "counts",
    [
        {"prompt_tokens": -1, "completion_tokens": "many"},
        {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9}},
        {"total_tokens": 3},
        {"prompt_tokens": 10**30, "completion_tokens": 10**30},
        {"prompt_tokens": 3, "prompt_tokens_details": 1},
    ],
)
def test_counts_are_never_negative_nor_without_end(counts: dict[str, Any]) -> None:
    used = assemble([*recorded.OPENAI_TEXT[:-1], {**recorded.usage(0, 0), "usage": counts}]).usage
    assert min(used.input_tokens, used.output_tokens, used.cache_read_input_tokens) >= 0
    assert max(used.input_tokens, used.output_tokens) <= 10**9


def test_an_endpoint_that_does_not_count_is_estimated() -> None:
    chunks = [recorded.chunk({"content": "x" * 400}), recorded.chunk({}, finish_reason="stop")]
    response = assemble(chunks)
    assert (response.usage, response.is_usage_estimated) == (ModelUsage(ESTIMATED_INPUT, 100), True)
    assert not assemble(recorded.OPENAI_TEXT).is_usage_estimated


@pytest.mark.parametrize("name", recorded.RECORDED)
def test_a_stream_that_ends_too_early_is_an_error_that_can_be_tried_again(name: str) -> None:
    chunks = recorded.RECORDED[name]
    end = next(
        index
        for index, chunk in enumerate(chunks)
        if chunk["choices"] and chunk["choices"][0]["finish_reason"]
    )
    for length in range(end + 1):
        error = broken(chunks[:length])
        assert error.retry_after_seconds is not None
        used = delivered_usage(error)
        assert (used is None) is (length == 0)
        if used is not None:
            assert used.input_tokens == ESTIMATED_INPUT
    assert assemble(chunks[: end + 1]).content == assemble(chunks).content


@pytest.mark.parametrize(
    "arguments", ['{"a": ', "[1]", "null", "7", "{'a': 1}", '{"a": 1}}', "[" * 5_000]
)
def test_arguments_that_are_no_object_are_an_error_with_its_cost(arguments: str) -> None:
    chunks = [
        recorded.chunk(recorded.call(0, "call_a", "add", arguments)),
        recorded.chunk({}, finish_reason="tool_calls"),
        recorded.usage(25, 30),
    ]
    error = broken(chunks)
    assert error.retry_after_seconds is not None
    assert delivered_usage(error) == ModelUsage(25, 30)


@pytest.mark.parametrize("reason", ["abort", "error", "tool_calls"])
def test_an_end_that_makes_no_sense(reason: str) -> None:
    error = broken([recorded.chunk({"content": "Hi"}), recorded.chunk({}, finish_reason=reason)])
    assert error.metadata["error_type"] == "broken_answer"


@pytest.mark.parametrize(
    "chunk",
    [
        None,
        7,
        [],
        {},
        {"choices": None},
        {"choices": [None]},
        {"choices": [{"delta": []}]},
        {"choices": [{"delta": {"content": 5}}]},
        {"choices": [{"delta": {"content": [{"type": "text"}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": {}, "function": {}}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": {}}}]}}]},
        {"choices": [{"delta": {"tool_calls": 1}}]},
        {"choices": [], "usage": 5},
    ],
)
def test_a_chunk_that_cannot_be_read_is_an_error_or_nothing(chunk: Any) -> None:
    with pytest.raises(ModelError):
        assemble([chunk, recorded.chunk({}, finish_reason="abort")])


@pytest.mark.parametrize(
    "delta",
    [
        {"content": 5},
        {"content": [{"type": "text", "text": "a"}]},
        recorded.call(0, "\ud800", "calculator", "{}"),
        recorded.call(0, "call_1", "\ud800", "{}"),
        recorded.call(0, "call_1", "calculator", '{"a":' * 101 + "1" + "}" * 101),
        {"tool_calls": [{"index": index, "function": {"name": "a"}} for index in (0, "1")]},
    ],
)
def test_what_no_log_takes_is_an_error_with_its_cost(delta: dict[str, Any]) -> None:
    reason = "tool_calls" if "tool_calls" in delta else "stop"
    error = broken([recorded.chunk(delta, finish_reason=reason), recorded.usage(3, 4)])
    assert delivered_usage(error) is not None
    assert error.retry_after_seconds is not None


def test_an_answer_of_more_calls_than_any_model_makes_is_broken_off() -> None:
    calls = [recorded.chunk(recorded.call(n, f"call_{n}", "add", "{}")) for n in range(1_001)]
    end = recorded.chunk(finish_reason="tool_calls")
    assert len(assemble([*calls[:1_000], end]).content) == 1_000
    assert broken([*calls, end]).message == "The model's answer has more than 1,000 blocks."


def test_an_answer_that_is_longer_than_any_models_is_broken_off() -> None:
    chunks = [recorded.chunk({"content": "a" * 1_048_576})] * 3
    assert len(assemble([*chunks, recorded.chunk(finish_reason="stop")]).content) == 1
    error = broken([*chunks, recorded.chunk({"content": "a"})])
    assert error.message == "The model's answer is longer than 3,145,728 bytes."


def test_only_the_first_choice_is_the_answer() -> None:
    second = {"index": 1, "delta": {"content": "No."}, "finish_reason": "stop"}
    chunks = [{**chunk, "choices": [*chunk["choices"], second]} for chunk in recorded.CUT[:2]]
    assert assemble(chunks).content == (TextBlock("Once upon"),)


def test_halves_of_a_character_are_joined_or_replaced() -> None:
    pieces = [{"content": half} for half in ("a \ud83e", "\udd8a", " b \ud800")]
    chunks: list[Any] = [{"id": "1", "choices": [{"delta": piece}]} for piece in pieces]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    deltas: list[ModelDelta] = []
    assert assemble(chunks, deltas).content == (TextBlock("a 🦊 b \ufffd"),)
    for delta in deltas:
        delta.text.encode()
