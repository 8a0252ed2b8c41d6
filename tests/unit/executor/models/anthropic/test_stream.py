"""An answer is what its stream says, whatever the shape; and what it cost is never lost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent_executor.errors import ModelError
from agent_executor.executor.models.anthropic.stream import AnswerAssembly, whole_answer
from agent_executor.executor.models.model import (
    ModelDelta,
    ModelResponse,
    ModelUsage,
    ProviderBlock,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    delivered_usage,
)
from tests.unit.executor.models.anthropic import recorded


def assemble(events: list[Any], deltas: list[ModelDelta] | None = None) -> ModelResponse:
    assembly = AnswerAssembly("req_1", None if deltas is None else deltas.append)
    for event in events:
        assembly.feed(json.dumps(event))
    return assembly.response()


def broken(events: list[Any]) -> ModelError:
    with pytest.raises(ModelError) as raised:
        assemble(events)
    return raised.value


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_thinking_is_kept_with_its_signature_and_in_its_order() -> None:
    response = assemble(recorded.THINKING)
    assert response.content == (
        ThinkingBlock("Let me solve this: 27 × 453 = 12 231.", "EqQBCgIYAhIM1gbcDa9GJwZA2b3h"),
        RedactedThinkingBlock("EmwKAhgBEgy3va3pzix/LafPsn4a"),
        TextBlock("27 × 453 = 12 231 ✓"),
    )
    assert (response.id, response.model) == ("msg_01", "claude-opus-5-5")
    assert (response.stop_reason, response.request_id) == ("end_turn", "req_1")
    assert response.usage == ModelUsage(25, 40)


def test_thinking_that_is_not_shown_keeps_its_signature() -> None:
    assert assemble(recorded.HIDDEN_THINKING).content[0] == ThinkingBlock("", "EqQBCgIYAhIM")


def test_parallel_tool_calls() -> None:
    response = assemble(recorded.PARALLEL_TOOLS)
    assert response.stop_reason == "tool_use"
    assert response.content == (
        TextBlock("I look both up."),
        ToolUseBlock("toolu_01", "get_weather", {"location": "San Francisco", "days": 2}),
        ToolUseBlock("toolu_02", "get_weather", {"location": "Zürich 🏔"}),
        ToolUseBlock("toolu_03", "get_weather", {}),
    )


def test_cache_writes_are_told_apart_by_lifetime() -> None:
    assert assemble(recorded.CACHED).usage == ModelUsage(
        input_tokens=21,
        output_tokens=393,
        cache_read_input_tokens=188_086,
        cache_creation_input_tokens_5m=456,
        cache_creation_input_tokens_1h=144,
    )


def test_a_refusal_says_why() -> None:
    response = assemble(recorded.REFUSED)
    assert (response.stop_reason, response.stop_detail) == ("refusal", "cyber: Not this.")
    assert response.content == (TextBlock("I can"),)


def test_a_server_tools_blocks_are_kept_and_its_later_sums_count() -> None:
    """BerriAI/litellm#42663: the cache writes of the stream's start alone are too few."""
    response = assemble(recorded.SERVER_TOOL)
    assert response.stop_reason == "pause_turn"
    call, result = response.content[1:]
    assert call == ProviderBlock(
        {
            "type": "server_tool_use",
            "id": "srvtoolu_01",
            "name": "get_weather",
            "input": {"query": "weather NYC"},
        }
    )
    assert isinstance(result, ProviderBlock)
    assert result.block["content"][0]["url"] == "https://w.example"
    assert response.usage == ModelUsage(
        input_tokens=10_682,
        output_tokens=510,
        cache_creation_input_tokens_5m=900,
        web_search_requests=1,
        web_fetch_requests=2,
    )


def test_a_call_that_the_limit_cut_is_no_call() -> None:
    response = assemble(recorded.CUT_CALL)
    assert (response.stop_reason, response.content) == ("max_tokens", (TextBlock("I call."),))


@pytest.mark.parametrize(
    "usage", [{"cache_creation": 1}, {"server_tool_use": "x"}, {"output_tokens": 10**18}]
)
def test_counts_that_are_none(usage: dict[str, Any]) -> None:
    used = assemble([recorded.start(**usage), *recorded.end("end_turn", **usage)]).usage
    assert used.cache_creation_input_tokens_5m == used.web_search_requests == 0
    assert used.output_tokens <= 10**9


def test_an_answer_may_be_empty() -> None:
    assert assemble(recorded.EMPTY).content == ()


def test_the_pieces_of_a_block_are_its_text() -> None:
    deltas: list[ModelDelta] = []
    response = assemble(recorded.THINKING, deltas)
    for index, kind in ((0, "thinking"), (2, "text")):
        pieces = [delta.text for delta in deltas if (delta.block, delta.kind) == (index, kind)]
        assert len(pieces) == 2
        assert "".join(pieces) == getattr(response.content[index], kind)


@pytest.mark.parametrize("name", recorded.RECORDED)
def test_a_stream_that_ends_anywhere_too_early_is_an_error_that_can_be_tried_again(
    name: str,
) -> None:
    events = recorded.RECORDED[name]
    # Without its very last event an answer is complete all the same.
    for length in range(len(events) - 1):
        error = broken(events[:length])
        assert error.retry_after_seconds is not None
        usage = delivered_usage(error)
        assert (usage is None) is (length == 0)
        if usage is not None:
            assert usage.input_tokens > 0
            assert usage.output_tokens >= 1
    assert assemble(events[:-1]) == assemble(events)


def test_what_was_delivered_counts_at_least_what_can_be_seen() -> None:
    events = [recorded.start(), *recorded.text(0, "x" * 400)]
    usage = delivered_usage(broken(events))
    assert usage == ModelUsage(25, 100)


@pytest.mark.parametrize(
    "arguments", ['{"a": ', "[1]", "null", "7", '{"a": NaN}', "{'a': 1}", '{"a": 1}}', "[" * 5_000]
)
def test_arguments_that_are_no_object_are_an_error_with_its_cost(arguments: str) -> None:
    events = [recorded.start(), *recorded.tool_use(0, "toolu_1", arguments)]
    error = broken([*events, *recorded.end("tool_use", 30)])
    assert error.retry_after_seconds is not None
    assert delivered_usage(error) == ModelUsage(25, 30)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "tool_use", "id": 5, "name": "calculator", "input": {}},
        {"type": "tool_use", "id": None, "name": "calculator", "input": {}},
        {"type": "tool_use", "name": "calculator", "input": {}},
        {"type": "tool_use", "id": "toolu_1", "name": ["calculator"], "input": {}},
        {"type": "tool_use", "id": "toolu_1", "name": "calculator", "input": deep(101)},
        {"type": "server_tool_use", "id": "1", "name": "web_search", "input": deep(101)},
        {"type": "redacted_thinking"},
        {"type": "redacted_thinking", "data": 5},
    ],
)
def test_a_block_that_could_not_be_read_from_the_log_again_is_an_error(
    block: dict[str, Any],
) -> None:
    start = {"type": "content_block_start", "index": 0, "content_block": block}
    stop = {"type": "content_block_stop", "index": 0}
    error = broken([recorded.start(), start, stop, *recorded.end("tool_use", 30)])
    assert delivered_usage(error) == ModelUsage(25, 30)


def test_arguments_as_deep_as_any_tool_takes_them_are_arguments() -> None:
    start = recorded.tool_use(0, "toolu_1", json.dumps(deep(100)))
    response = assemble([recorded.start(), *start, *recorded.end("tool_use", 30)])
    assert response.content[0] == ToolUseBlock("toolu_1", "get_weather", deep(100))


def test_an_answer_of_more_blocks_than_any_model_writes_is_broken_off() -> None:
    blocks = [event for index in range(1_000) for event in recorded.text(index, "a")]
    assert len(assemble([recorded.start(), *blocks, *recorded.end("end_turn")]).content) == 1_000
    error = broken([recorded.start(), *blocks, *recorded.text(1_000, "a")])
    assert error.message == "The model's answer has more than 1,000 blocks."


def test_an_answer_that_is_longer_than_any_models_is_broken_off() -> None:
    piece = "a" * 1_048_576
    events = [recorded.start(), *recorded.text(0, *[piece] * 3)]
    assert len(assemble([*events, *recorded.end("end_turn")]).content) == 1
    error = broken([*events, *recorded.tool_use(1, "toolu_1", "{}")])
    assert error.message == "The model's answer is longer than 3,145,728 bytes."


@pytest.mark.parametrize("index", ["0", None, 0.5])
def test_an_index_that_is_none_is_an_error(index: object) -> None:
    block = {"type": "text", "text": "a"}
    start = {"type": "content_block_start", "index": index, "content_block": block}
    stop = {"type": "content_block_stop", "index": index}
    broken([recorded.start(), *recorded.text(0, "a"), start, stop, *recorded.end("end_turn")])


@pytest.mark.parametrize(
    "data",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"type": "message_start"}',
        '{"type": "content_block_delta", "index": 9, "delta": {"type": "text_delta", "text": ""}}',
        '{"type": "content_block_stop", "index": 9}',
        '{"type": "message_delta", "delta": null}',
        '{"type": "error", "error": null}',
    ],
)
def test_an_event_that_cannot_be_read_is_an_error(data: str) -> None:
    assembly = AnswerAssembly()
    with pytest.raises(ModelError):
        assembly.feed(data)


@pytest.mark.parametrize("data", ['{"type": "ping"}', '{"type": "news", "of": "tomorrow"}'])
def test_an_event_of_another_kind_is_skipped(data: str) -> None:
    assembly = AnswerAssembly()
    assembly.feed(data)
    assert assembly.delivered_usage() is None


@pytest.mark.parametrize(
    ("error_type", "is_retried"),
    [
        ("overloaded_error", True),
        ("api_error", True),
        ("rate_limit_error", True),
        ("timeout_error", True),
        ("invalid_request_error", False),
        ("authentication_error", False),
        ("Something <else>", False),
    ],
)
def test_an_error_within_a_stream(error_type: str, is_retried: bool) -> None:
    reported = {"type": "error", "error": {"type": error_type, "message": "sk-ant-secret"}}
    error = broken([recorded.start(), *recorded.text(0, "Hal"), reported])
    assert (error.retry_after_seconds is not None) is is_retried
    assert delivered_usage(error) == ModelUsage(25, 1)
    assert "secret" not in f"{error!r}{error.metadata}"
    assert "<" not in error.message


def whole(*blocks: dict[str, Any]) -> dict[str, Any]:
    usage = {"input_tokens": 25, "output_tokens": 5}
    return {"content": list(blocks), "stop_reason": "end_turn", "usage": usage}


def test_half_of_a_character_in_an_answer_of_a_batch_is_replaced() -> None:
    assert whole_answer(whole({"type": "text", "text": "a \ud800"})).content == (
        TextBlock("a \ufffd"),
    )


def test_half_of_a_character_in_arguments_makes_them_none() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "t", "input": {"a": "\ud800"}}
    with pytest.raises(ModelError) as raised:
        whole_answer(whole(call))
    assert delivered_usage(raised.value) == ModelUsage(25, 5)
