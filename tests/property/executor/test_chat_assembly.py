"""Answers of Chat Completions: however they are cut, and whatever nonsense comes."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from agent_executor.errors import ModelError
from agent_executor.executor.models.model import ModelDelta, TextBlock, ToolUseBlock
from agent_executor.executor.models.openai.stream import AnswerAssembly

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ARGUMENTS = st.dictionaries(TEXTS, st.one_of(TEXTS, st.integers(-9, 9), st.none()), max_size=4)
WORDS = st.sampled_from(
    [
        *("choices", "delta", "content", "tool_calls", "index", "function", "arguments", "name"),
        *("finish_reason", "stop", "tool_calls", "usage", "prompt_tokens", "id", "reasoning"),
        *("refusal", "total_tokens", "prompt_tokens_details", "cached_tokens"),
    ]
)
NONSENSE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), TEXTS, WORDS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(WORDS, TEXTS), inner, max_size=4)
    ),
    max_leaves=12,
)


def cut(data: st.DataObject, text: str) -> list[str]:
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    bounds = [0, *places, len(text)]
    return [text[begin:end] for begin, end in itertools.pairwise(bounds)]


@given(st.data(), TEXTS, st.lists(ARGUMENTS, max_size=3))
def test_an_answer_is_the_same_however_it_is_cut(
    data: st.DataObject, text: str, calls: list[dict[str, Any]]
) -> None:
    deltas: list[ModelDelta] = []
    assembly = AnswerAssembly(1, "", deltas.append)
    chunks = [{"content": piece} for piece in cut(data, text)]
    for index, arguments in enumerate(calls):
        chunks.append({"tool_calls": [{"index": index, "id": f"c{index}"}]})  # type: ignore[dict-item]  # mixed
        for piece in cut(data, msgspec.json.encode(arguments).decode()):
            function = {"name": "tool", "arguments": piece}
            chunks.append({"tool_calls": [{"index": index, "function": function}]})  # type: ignore[dict-item]  # mixed
    for delta in chunks:
        assembly.feed({"choices": [{"delta": delta, "finish_reason": None}]})
        assert assembly.delivered_usage() is not None
    assembly.feed({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    response = assembly.response()
    said = (TextBlock(text),) if text else ()
    assert response.content == (
        *said,
        *(ToolUseBlock(f"c{index}", "tool", arguments) for index, arguments in enumerate(calls)),
    )
    assert "".join(delta.text for delta in deltas) == text


@given(st.lists(NONSENSE, max_size=4))
def test_nonsense_is_an_error_of_the_model_and_nothing_else(chunks: list[Any]) -> None:
    assembly = AnswerAssembly(1)
    with contextlib.suppress(ModelError):
        for chunk in chunks:
            assembly.feed(chunk)
        assembly.response()
    usage = assembly.delivered_usage()
    if usage is not None:
        assert min(msgspec.structs.astuple(usage)) >= 0


@given(NONSENSE)
@example({"finish_reason": [None]})
def test_a_nonsensical_choice_is_no_worse(choice: Any) -> None:
    test = test_nonsense_is_an_error_of_the_model_and_nothing_else.hypothesis.inner_test  # type: ignore[attr-defined]  # hypothesis adds it
    test([{"choices": [choice], "usage": choice}, {"choices": [{"delta": choice}]}])
