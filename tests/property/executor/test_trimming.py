"""Whatever is said and however tight the limits are, what a model is given is a conversation."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from agent_executor.executor.context.history import History
from agent_executor.executor.context.run_context import RunContext, is_turn_start
from agent_executor.executor.context.trimming import Limits
from agent_executor.executor.log.run_event import HistoryTrimmed
from agent_executor.executor.models.model import (
    Message,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)

TEXTS = st.text(max_size=60)


@st.composite
def turns(draw: st.DrawFn) -> list[Message]:
    """Returns one turn: what was asked, steps of tools, and mostly an answer."""
    messages = [Message("user", (TextBlock(draw(TEXTS)),))]
    for step in range(draw(st.integers(0, 4))):
        ids = [f"t{step}_{number}" for number in range(draw(st.integers(1, 3)))]
        uses = tuple(ToolUseBlock(use_id, "fetch", {"a": draw(TEXTS)}) for use_id in ids)
        results = tuple(
            ToolResultBlock(use_id, draw(st.text(max_size=400)), draw(st.booleans()))
            for use_id in ids
        )
        messages += [Message("assistant", uses), Message("user", results)]
    if len(messages) == 1 or draw(st.booleans()):
        messages.append(Message("assistant", (TextBlock(draw(TEXTS)),)))
    return messages


HISTORIES = st.lists(turns(), max_size=6)
LIMITS = st.builds(
    Limits,
    st.one_of(st.none(), st.integers(1, 5)),
    st.one_of(st.none(), st.integers(0, 4_000)),
)


def require_valid(messages: tuple[Message, ...]) -> None:
    """Checks what the Messages API checks: each call has its result right after it."""
    assert messages[0].role == "user"
    for before, message in zip((None, *messages), (*messages, None), strict=True):
        asked = {block.id for block in _blocks(before, ToolUseBlock)}
        answered = {block.tool_use_id for block in _blocks(message, ToolResultBlock)}
        if message is not None:
            assert asked == answered, "a tool call was parted from its result"


def _blocks(message: Message | None, kind: type) -> list:  # type: ignore[type-arg]  # of that kind
    return [block for block in message.content if isinstance(block, kind)] if message else []


def size_of(messages: tuple[Message, ...]) -> int:
    return len(msgspec.json.encode(messages))


def with_results_emptied(message: Message) -> list[object]:
    return [
        block.tool_use_id if isinstance(block, ToolResultBlock) else block
        for block in message.content
    ]


def is_subsequence(given: tuple[Message, ...], whole: list[Message]) -> bool:
    left = iter([with_results_emptied(message) for message in whole])
    return all(with_results_emptied(message) in left for message in given)


@given(HISTORIES, turns(), LIMITS)
def test_what_is_given_is_a_valid_part_of_what_was_said(
    history: list[list[Message]], newest: list[Message], limits: Limits
) -> None:
    said = [message for turn in history for message in turn]
    context = RunContext(History(said[0], tuple(said[1:])) if said else History())
    trimmed: HistoryTrimmed | None = None
    # As in a run: the newest turn grows by steps.
    for length in range(1, len(newest) + 1, 2):
        whole = said + newest[:length]
        context.update(newest[:length], trimmed)
        trimmed = context.planned(limits) or trimmed
        context.update(newest[:length], trimmed)
        shown = context.given()

        require_valid(shown.messages)
        assert is_subsequence(shown.messages, whole)
        assert shown.messages[0] == whole[0], "the first message is not given"
        assert len(shown.messages) >= length, "a message of the newest turn is missing"
        assert [with_results_emptied(message) for message in shown.messages[-length:]] == [
            with_results_emptied(message) for message in newest[:length]
        ]
        assert shown.messages[-1] == whole[-1], "what is to be answered was changed"
        assert shown.size_bytes == size_of(shown.messages)
        assert shown.last_bytes == len(msgspec.json.encode(shown.messages[-1])) + 1

        earlier = shown.messages[:-length]
        whole_turns = sum(map(is_turn_start, earlier)) - (
            trimmed is not None and trimmed.first_index > 1
        )
        if limits.max_turns is not None:
            assert whole_turns <= limits.max_turns
        if limits.max_bytes is not None and shown.size_bytes > limits.max_bytes + 2:
            # Nothing more could have been left out.
            assert len(earlier) <= 1
        if trimmed is not None:
            assert trimmed.message_count == len(whole) - len(shown.messages)
        assert context.planned(limits) is None or limits.max_bytes is not None


@given(HISTORIES, turns(), LIMITS)
def test_whoever_reads_the_log_later_gives_the_same(
    history: list[list[Message]], newest: list[Message], limits: Limits
) -> None:
    said = [message for turn in history for message in turn]
    live = RunContext(History(said[0], tuple(said[1:])) if said else History())
    live.update(newest[:1], None)
    trimmed = live.planned(limits)
    if trimmed is not None:
        trimmed = msgspec.structs.replace(trimmed, summary="In sum.")
    live.update(newest, trimmed)

    # An heir reads of the history only what is not left out.
    first_index = trimmed.first_index if trimmed is not None else 1
    heirs = History(said[0], tuple(said[first_index:]), first_index) if said else History()
    heir = RunContext(heirs)
    heir.update(newest, trimmed)
    assert heir.given() == live.given()
    assert heir.planned(limits) == live.planned(limits)


@given(st.integers(4, 60), st.integers(1_500, 4_000))
def test_trimming_moves_in_steps_so_that_the_prompt_cache_goes_on_to_serve(
    turn_count: int, max_bytes: int
) -> None:
    """The given messages begin as they did at the call before, at most calls."""
    context, trimmed, moves = RunContext(), None, 0
    said: list[Message] = []
    for number in range(turn_count):
        said = [*said, Message("user", (TextBlock(f"{number:03}" * 20),))]
        history = History(said[0], tuple(said[1:-1])) if number else History()
        context = RunContext(history)
        context.update(said[-1:], trimmed)
        changed = context.planned(Limits(max_bytes=max_bytes))
        if changed is not None:
            moves += 1
            trimmed = changed
        said.append(Message("assistant", (TextBlock("yes"),)))
    turn_bytes = context.given().size_bytes / len(context.given().messages) * 2
    turns_per_step = max_bytes / 4 / turn_bytes
    assert moves <= 1 + turn_count / max(1.0, turns_per_step - 1)
