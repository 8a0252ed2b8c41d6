"""Runs that continue one another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from agent_executor.errors import (
    AgentExecutorError,
    ConflictError,
    ConversationNotFoundError,
    FailedPreconditionError,
    InvalidArgumentError,
    ModelError,
    PermissionDeniedError,
)
from agent_executor.executor.context.policy import ContextPolicy
from agent_executor.executor.conversations import conversations as module
from agent_executor.executor.conversations.conversation import check_conversation_id
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.log.run import RunState
from agent_executor.executor.log.run_event import HistoryTrimmed, RunStarted
from agent_executor.executor.models.model import (
    Message,
    ModelRequest,
    ProviderBlock,
    ResponseBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
)
from agent_executor.executor.runs.run_options import RunOptions
from agent_executor.executor.runs.run_view import RunView
from agent_executor.serving.security import SecurityContext
from tests.unit.executor.platforms import ADA, CALCULATOR, EVE, Platform
from tests.unit.executor.worlds import ScriptedModel, use

TALK = RunOptions(conversation_id="talk")


def texts(messages: Sequence[Message]) -> list[str]:
    return [
        block.text
        for message in messages
        for block in message.content
        if isinstance(block, TextBlock)
    ]


def said(text: str) -> list[ResponseBlock]:
    return [TextBlock(text)]


class Talk:
    """A platform whose model says what it is told to, and an agent that talks."""

    def __init__(
        self, *answers: Sequence[ResponseBlock] | AgentExecutorError, **platform: object
    ) -> None:
        self.model = ScriptedModel(answers)
        self.platform = Platform(model=self.model, **platform)  # type: ignore[arg-type]  # passed on
        self.agent_id = ""

    async def say(
        self,
        text: str,
        options: RunOptions = TALK,
        security: SecurityContext = ADA,
        **agent: object,
    ) -> RunView:
        if not self.agent_id:
            self.agent_id = await self.platform.agent(tools=CALCULATOR, **agent)
        return await self.platform.runs.execute(self.agent_id, text, security, options)

    async def messages(self) -> list[str]:
        return texts((await self.platform.conversations.get("talk", ADA)).messages)

    def given(self, number: int = -1) -> ModelRequest:
        return self.model.requests[number]


async def test_a_run_is_given_what_was_said_before() -> None:
    platform = Platform()
    agent_id = await platform.agent(tools=CALCULATOR)
    first = await platform.runs.execute(agent_id, "What is 15 + 27?", ADA, TALK)
    second = await platform.runs.execute(agent_id, "Hello", ADA, TALK)
    assert second.run.conversation_id == "talk"
    view = await platform.conversations.get("talk", ADA)
    assert view.messages == (*first.state.messages, *second.state.messages)
    assert view.conversation.run_count == 2
    assert view.conversation.last_run_id == second.run.run_id
    # Each log holds what its own run has said, and no more.
    assert [message.role for message in second.state.messages] == ["user", "assistant"]


async def test_three_runs_see_each_other_in_order() -> None:
    talk = Talk(said("b"), said("d"), said("f"))
    for text in ("a", "c", "e"):
        await talk.say(text)
    assert [texts(request.messages) for request in talk.model.requests] == [
        ["a"],
        ["a", "b", "c"],
        ["a", "b", "c", "d", "e"],
    ]
    assert await talk.messages() == ["a", "b", "c", "d", "e", "f"]


async def test_a_second_run_at_the_same_time_is_a_conflict_that_names_the_first() -> None:
    talk = Talk([use()], said("done"))
    talk.platform.tools.gate = asyncio.Event()
    first = asyncio.create_task(talk.say("a"))
    async with talk.platform.tools.asked:
        await talk.platform.tools.asked.wait_for(lambda: talk.platform.tools.running == 1)
    for start in (talk.platform.runs.execute, talk.platform.runs.start):
        with pytest.raises(ConflictError) as refused:
            await start(talk.agent_id, "b", ADA, TALK)
        (run,) = await talk.platform.runs.list_runs(ADA, 10)
        assert refused.value.metadata == {"runId": run.run_id, "conversationId": "talk"}
    with pytest.raises(FailedPreconditionError):
        await talk.platform.conversations.delete("talk", ADA)
    talk.platform.tools.gate.set()
    assert (await first).state.state == "completed"
    # A place that was taken for a refused run is free again.
    assert talk.platform.runs.active_count == 0


async def test_of_many_that_begin_at_once_one_runs() -> None:
    talk = Talk(*[said("yes")] * 10)
    talk.agent_id = await talk.platform.agent(tools=CALCULATOR)
    outcomes = await asyncio.gather(*(talk.say(str(n)) for n in range(10)), return_exceptions=True)
    assert sum(isinstance(outcome, RunView) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, ConflictError) for outcome in outcomes) == 9
    assert len(talk.model.requests) == 1


async def test_a_run_whose_conversation_was_read_before_the_last_one_ended_is_refused() -> None:
    talk = Talk([use()], said("b"), said("d"))
    talk.platform.tools.gate = asyncio.Event()
    first = asyncio.create_task(talk.say("a"))
    async with talk.platform.tools.asked:
        await talk.platform.tools.asked.wait_for(lambda: talk.platform.tools.running == 1)
    # It knows nothing yet of what the first one will have said.
    plan = await talk.platform.runs.plan(talk.agent_id, ADA, TALK)
    talk.platform.tools.gate.set()
    await first
    with pytest.raises(ConflictError):
        await talk.platform.runs.begin(plan, "c")
    assert (await talk.say("c")).state.state == "completed"
    assert await talk.messages() == ["a", "b", "c", "d"]


async def test_a_conversation_whose_last_run_ends_while_it_is_read_is_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talk = Talk([use()], said("b"), said("d"))
    talk.platform.tools.gate = asyncio.Event()
    first = asyncio.create_task(talk.say("a"))
    async with talk.platform.tools.asked:
        await talk.platform.tools.asked.wait_for(lambda: talk.platform.tools.running == 1)
    get = talk.platform.journal.get

    async def get_once_it_has_ended(organization_id: str, run_id: str) -> RunRecord | None:
        talk.platform.tools.gate.set()  # type: ignore[union-attr]  # set above
        await first
        return await get(organization_id, run_id)

    with monkeypatch.context() as patch:
        patch.setattr(talk.platform.journal, "get", get_once_it_has_ended)
        plan = await talk.platform.runs.plan(talk.agent_id, ADA, TALK)
    begun = await talk.platform.runs.begin(plan, "c")
    assert (await talk.platform.runs.end_of(begun, ADA)).state.state == "completed"
    assert await talk.messages() == ["a", "b", "c", "d"]


async def test_an_heir_gives_the_same_messages_and_frees_the_conversation() -> None:
    talk = Talk(said("b"), worker="dead")
    await talk.say("a")
    talk.model.answers = [[use()]]
    talk.platform.tools.gate = asyncio.Event()
    dying = asyncio.create_task(talk.say("c"))
    async with talk.platform.tools.asked:
        await talk.platform.tools.asked.wait_for(lambda: talk.platform.tools.running == 1)
    await talk.platform.runs.drain(0.0)
    await asyncio.gather(dying, return_exceptions=True)

    model = ScriptedModel([said("d"), said("f")])
    heir = Platform(
        journal=talk.platform.journal, store=talk.platform.store, worker="heir", model=model
    )
    with pytest.raises(ConflictError):
        await heir.runs.execute(talk.agent_id, "e", ADA, TALK)
    heir.now_ms += 60_000
    assert await heir.runs.take_over() == 1
    # Not the newest by its id: ids of the same millisecond have no order.
    last_run_id = (await heir.conversations.get("talk", ADA)).conversation.last_run_id
    await asyncio.wait_for(heir.drivers.ends.wait(last_run_id), 5)
    assert texts(model.requests[0].messages) == ["a", "b", "c"]
    assert isinstance(model.requests[0].messages[-1].content[0], ToolResultBlock)
    await heir.runs.execute(talk.agent_id, "e", ADA, TALK)
    assert texts(model.requests[1].messages) == ["a", "b", "c", "d", "e"]


async def talk_run(platform: Platform):  # type: ignore[no-untyped-def]  # a RunRecord
    return (await platform.runs.list_runs(ADA, 1))[0]


async def test_an_input_that_was_never_answered_is_not_kept() -> None:
    talk = Talk(ModelError("gone"), said("b"))
    assert (await talk.say("a")).state.state == "failed"
    assert await talk.messages() == []
    await talk.say("a")
    assert await talk.messages() == ["a", "b"]
    assert (await talk.platform.conversations.get("talk", ADA)).conversation.run_count == 2


async def test_what_a_run_did_before_it_failed_is_kept() -> None:
    talk = Talk([use(1)], ModelError("gone"), said("d"))
    assert (await talk.say("a")).state.state == "failed"
    await talk.say("c")
    request = talk.given()
    assert [message.role for message in request.messages] == ["user", "assistant", "user", "user"]
    result = request.messages[2].content[0]
    assert isinstance(result, ToolResultBlock)
    assert result.tool_use_id == "toolu_1"


async def test_a_call_that_was_stopped_has_a_result_that_says_so() -> None:
    talk = Talk([use(1), use(2)], said("d"))
    talk.platform.tools.gate = asyncio.Event()
    running = asyncio.create_task(talk.say("a"))
    async with talk.platform.tools.asked:
        await talk.platform.tools.asked.wait_for(lambda: talk.platform.tools.running == 2)
    run = await talk_run(talk.platform)
    await talk.platform.runs.cancel(run.run_id, "enough", ADA)
    assert (await running).state.state == "cancelled"
    talk.platform.tools.gate = None
    await talk.say("c")
    results = talk.given().messages[2].content
    assert [block.tool_use_id for block in results if isinstance(block, ToolResultBlock)] == [
        "toolu_1",
        "toolu_2",
    ]
    assert all(block.is_error for block in results if isinstance(block, ToolResultBlock))


async def test_an_answer_that_was_cut_leaves_no_call_without_a_result() -> None:
    talk = Talk([TextBlock("I will"), use(1)], said("d"))
    generate = talk.model.generate

    async def cut(request: ModelRequest, **more: object) -> object:
        answer = await generate(request, **more)  # type: ignore[arg-type]  # passed on
        return msgspec.structs.replace(answer, stop_reason="max_tokens")

    talk.model.generate = cut  # type: ignore[method-assign, assignment]  # a test's own
    assert (await talk.say("a")).run.code == "LIMIT_EXCEEDED"
    talk.model.generate = generate  # type: ignore[method-assign]  # as it was
    await talk.say("c")
    result = talk.given().messages[2].content[0]
    assert isinstance(result, ToolResultBlock)
    assert "before this call was made" in result.content


async def test_another_model_is_not_given_what_it_cannot_read() -> None:
    thought = ThinkingBlock("hm", "signature")
    talk = Talk([thought, ProviderBlock({"type": "search"}), TextBlock("b")], said("d"), said("f"))
    await talk.say("a")
    await talk.say("c")
    assert thought in talk.given().messages[1].content
    other = await talk.platform.agent(model="claude-haiku-4-5-20251001")
    await talk.platform.runs.execute(other, "e", ADA, TALK)
    assert talk.given().messages[1].content == (TextBlock("b"),)


async def test_organizations_do_not_meet_in_a_conversation() -> None:
    talk = Talk(said("b"), said("d"))
    await talk.say("a")
    hers = await talk.platform.agents.create({"name": "Eve's"}, "", EVE)
    await talk.platform.runs.execute(hers.agent_id, "c", EVE, TALK)
    assert texts(talk.given().messages) == ["c"]
    assert await talk.messages() == ["a", "b"]
    await talk.platform.conversations.delete("talk", EVE)
    assert await talk.messages() == ["a", "b"]
    assert await talk.platform.conversations.list_conversations(EVE, 10) == []
    with pytest.raises(ConversationNotFoundError) as missing:
        await talk.platform.conversations.get("talk", EVE)
    assert missing.value.metadata == {"conversationId": "talk"}


async def test_permissions_are_those_of_runs() -> None:
    talk = Talk(said("b"))
    await talk.say("a")
    reader = SecurityContext("acme", "rita", frozenset({"run:read"}))
    writer = SecurityContext("acme", "walt", frozenset({"run:execute"}))
    assert (await talk.platform.conversations.get("talk", reader)).messages
    with pytest.raises(PermissionDeniedError):
        await talk.platform.conversations.delete("talk", reader)
    with pytest.raises(PermissionDeniedError):
        await talk.platform.conversations.get("talk", writer)
    with pytest.raises(PermissionDeniedError):
        await talk.platform.conversations.list_conversations(writer, 10)
    await talk.platform.conversations.delete("talk", writer)


async def test_a_deleted_conversation_begins_anew_and_its_runs_are_kept() -> None:
    talk = Talk(said("b"), said("d"))
    first = await talk.say("a")
    await talk.platform.conversations.delete("talk", ADA)
    with pytest.raises(ConversationNotFoundError):
        await talk.platform.conversations.get("talk", ADA)
    await talk.say("c")
    assert texts(talk.given().messages) == ["c"]
    assert texts((await talk.platform.runs.get(first.run.run_id, ADA)).state.messages) == ["a", "b"]


@pytest.mark.parametrize(
    "conversation_id", ["x", "é" * 64, "a b/c%2F?", "会話", "\U0001f600" * 32, " ", "İ"]
)
async def test_any_text_of_up_to_128_bytes_is_an_id(conversation_id: str) -> None:
    talk = Talk(said("b"), said("d"))
    options = RunOptions(conversation_id=conversation_id)
    await talk.say("a", options)
    await talk.say("c", options)
    assert texts(talk.given().messages) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "conversation_id", ["é" * 64 + "x", "x" * 129, "a\0b", "a\nb", "\x7f", "\ud800", ".", ".."]
)
async def test_what_is_no_id_is_refused_by_name_before_anything_is_stored(
    conversation_id: str,
) -> None:
    talk = Talk()
    with pytest.raises(InvalidArgumentError) as refused:
        await talk.say("a", RunOptions(conversation_id=conversation_id))
    assert refused.value.field_violations[0][0] == "conversation_id"
    assert await talk.platform.runs.list_runs(ADA, 10) == []
    with pytest.raises(ConversationNotFoundError):
        await talk.platform.conversations.get(conversation_id, ADA)


def test_ids_that_look_alike_are_not_the_same() -> None:
    check_conversation_id("é")
    check_conversation_id("e\u0301")


class TestLongConversations:
    """What is left out in one run is left out in the next, and paid for once."""

    async def test_the_next_run_goes_on_with_the_summary(self) -> None:
        answers = [said(answer) for answer in ("a0", "a1", "a2", "SUM", "a3", "a4")]
        talk = Talk(*answers)
        policy = ContextPolicy(max_history_turns=2, summarize=True)
        for number in range(4):
            await talk.say(f"q{number}", context_policy=policy)
        summarized = texts(talk.given().messages)
        assert summarized[0] == "q0"
        assert "SUM" in summarized[1]
        assert summarized[2:] == ["q1", "a1", "q2", "a2", "q3"]

        read: list[int] = []
        parts = talk.platform.journal.conversations.parts

        async def count(*key: str, **asked: Any) -> object:
            found = await parts(*key, **asked)
            read.extend(part.number for part in found)
            return found

        talk.platform.journal.conversations.parts = count  # type: ignore[method-assign, assignment]  # a test's own
        talk.model.answers = [said("SUM again"), said("a4")]
        view = await talk.say("q4")
        assert len(talk.model.requests) == 7
        assert read == [1, 2, 3, 4]
        assert texts(talk.given().messages)[2:] == ["q2", "a2", "q3", "a3", "q4"]
        events = await talk.platform.journal.events(view.run.run_id)
        trims = [event.payload for event in events if isinstance(event.payload, HistoryTrimmed)]
        # What the run began with, and what it left out itself.
        assert [trim.message_count for trim in trims] == [1, 3]
        assert [trim.summary for trim in trims] == ["SUM", "SUM again"]

    async def test_a_changed_agent_decides_anew(self) -> None:
        talk = Talk(*(said(f"a{number}") for number in range(6)))
        for number in range(4):
            await talk.say(f"q{number}", context_policy=ContextPolicy(max_history_turns=1))
        assert texts(talk.given().messages) == ["q0", "q2", "a2", "q3"]
        await talk.platform.agents.update(
            talk.agent_id, {"context_policy": ContextPolicy()}, None, ADA
        )
        await talk.say("q4")
        assert len(texts(talk.given().messages)) == 9

    async def test_what_no_model_could_take_is_not_even_read(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        talk = Talk(*(said(f"a{number}" + "x" * 100) for number in range(6)))
        for number in range(5):
            await talk.say(f"q{number}")
        monkeypatch.setattr(module, "HISTORY_BYTES_MAX", 500)
        view = await talk.say("q5")
        given = [text[:2] for text in texts(talk.given().messages)]
        assert given == ["q0", "q3", "a3", "q4", "a4", "q5"]
        started = (await talk.platform.journal.events(view.run.run_id))[0].payload
        assert isinstance(started, RunStarted)
        assert started.history is not None
        assert started.history.trimmed is not None
        assert started.history.trimmed.message_count == 5
        assert started.history.trimmed.estimated_tokens > 0


async def test_the_second_run_of_two_agents_that_share_answers_is_not_given_a_summary() -> None:
    """With the cache on, a summary is asked for again, and answers are shared all the same."""
    policy = ContextPolicy(max_history_turns=1, summarize=True)
    answers = [said(answer) for answer in ("a0", "a1", "SUM", "a2")]
    talk = Talk(*answers, said("SUM"))
    states: list[RunState] = []
    for conversation_id in ("one", "two"):
        options = RunOptions(conversation_id=conversation_id)
        for number in range(3):
            view = await talk.say(
                f"q{number}", options, context_policy=policy, response_cache_ttl_seconds=60
            )
            states.append(view.state)
        assert texts(states[-1].messages) == ["q2", "a2"]
        assert (trimmed := states[-1].trimmed) is not None
        assert trimmed.summary == "SUM"
    # Three answers and one summary; then only the summary again.
    assert len(talk.model.requests) == 5
