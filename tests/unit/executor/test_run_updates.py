"""What a streamed run's caller is told: every text once and whole, whatever of it was seen live."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.log.open_answer import OpenAnswer
from agent_executor.executor.log.run_event import (
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallSettled,
    ModelCallStarted,
    Payload,
    RunEvent,
    RunFinished,
    RunPaused,
    RunStarted,
    payload_type,
)
from agent_executor.executor.models.model import (
    ModelDelta,
    ModelUsage,
    RedactedThinkingBlock,
    ResponseBlock,
    TextBlock,
    ThinkingBlock,
)
from agent_executor.executor.runs.run_view import RunView
from agent_executor.executor.streams.run_updates import RunTelling, RunUpdate, TextWritten

RUN = RunRecord("run", "acme", "ada", ("*",), "agent", 1, "model", "hi", False, "", 1_000, "me/1")
USAGE = ModelUsage(10, 5)
TEXTS = st.text(alphabet="abé\n", max_size=12)


class Told:
    """A telling that is given a log, event by event."""

    def __init__(self) -> None:
        self.telling = RunTelling(RUN)
        self.updates: list[RunUpdate] = []

    def log(self, *payloads: Payload) -> None:
        for payload in payloads:
            event = RunEvent(self.telling.state.last_sequence + 1, 1_000, payload)
            self.updates += self.telling.of_event(event)

    def look(self, answer: OpenAnswer | None) -> None:
        self.updates += self.telling.of_answer(answer)

    def texts(self) -> list[TextWritten]:
        changes = [update.change for update in self.updates]
        return [change for change in changes if isinstance(change, TextWritten)]

    def types(self) -> list[str]:
        return [
            type(update.change).__name__
            if isinstance(update.change, TextWritten | RunView)
            else payload_type(update.change)  # type: ignore[arg-type]  # the only others here
            for update in self.updates
        ]


def started() -> Told:
    told = Told()
    told.log(RunStarted("agent", 1, "model", "hi"), ModelCallStarted("call", 1))
    return told


def test_a_run_is_told_from_its_beginning_to_its_end() -> None:
    told = started()
    told.log(
        ModelCallCompleted("call", (TextBlock("hello"),), "end_turn", USAGE),
        ModelCallSettled("call", "entry", 7),
        RunFinished("completed", "hello"),
    )
    assert told.types() == ["run_started", "TextWritten", "model_call_settled", "RunView"]
    assert [update.sequence for update in told.updates] == [1, 2, 4, 5]
    view = told.updates[-1].change
    assert isinstance(view, RunView)
    assert (view.run.state, view.run.cost_nano_usd, view.run.ended_at_ms) == (
        "completed",
        7,
        1_000,
    )


def test_events_that_concern_no_caller_are_not_told() -> None:
    told = started()
    assert told.types() == ["run_started"]
    told.log(RunPaused(1, "no money", "BUDGET_EXCEEDED", "budget"))
    assert told.types() == ["run_started", "run_paused"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["text", "thinking", "redacted"]), st.lists(TEXTS)), max_size=4
    ),
    st.data(),
)
def test_pieces_and_rest_are_the_recorded_text(
    blocks: list[tuple[str, list[str]]], data: st.DataObject
) -> None:
    told, answer = started(), OpenAnswer("call", lambda: None)
    content: list[ResponseBlock] = []
    for index, (kind, pieces) in enumerate(blocks):
        whole = "".join(pieces)
        match kind:
            case "text":
                content.append(TextBlock(whole))
            case "thinking":
                content.append(ThinkingBlock(whole, "signature"))
            case _:
                content.append(RedactedThinkingBlock("data"))
                continue
        for piece in pieces[: data.draw(st.integers(0, len(pieces)))]:
            answer.add(ModelDelta("text" if kind == "text" else "thinking", index, piece))
            if data.draw(st.booleans()):
                told.look(answer)
    told.log(ModelCallCompleted("call", tuple(content), "end_turn", USAGE))
    for is_thinking, block_type in ((False, TextBlock), (True, ThinkingBlock)):
        recorded = "".join(
            block.text if isinstance(block, TextBlock) else block.thinking
            for block in content
            if isinstance(block, block_type)
        )
        pieces = [text.text for text in told.texts() if text.is_thinking is is_thinking]
        assert all(pieces)
        if sum(isinstance(block, block_type) for block in content) == 1:
            assert "".join(pieces) == recorded
        assert sorted("".join(pieces)) == sorted(recorded)


def test_the_text_of_a_failed_call_is_void_and_that_of_the_next_is_told_whole() -> None:
    told, first = started(), OpenAnswer("call", lambda: None)
    first.add(ModelDelta("text", 0, "hel"))
    told.look(first)
    first.add(ModelDelta("text", 0, "lo"))
    told.log(ModelCallFailed("call", "broken", "MODEL_ERROR", will_retry=True))
    told.look(first)
    told.log(ModelCallStarted("again", 1))
    told.look(first)
    told.log(ModelCallCompleted("again", (TextBlock("hello"),), "end_turn", USAGE))
    assert [(text.model_call_id, text.text) for text in told.texts()] == [
        ("call", "hel"),
        ("again", "hello"),
    ]
    assert told.types()[2] == "model_call_failed"


def test_text_has_the_sequence_of_the_event_before_it() -> None:
    told, answer = started(), OpenAnswer("call", lambda: None)
    answer.add(ModelDelta("text", 0, "hel"))
    told.look(answer)
    told.log(ModelCallCompleted("call", (TextBlock("hello"),), "end_turn", USAGE))
    assert [update.sequence for update in told.updates] == [1, 2, 2]
