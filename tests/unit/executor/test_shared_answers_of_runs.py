"""Runs whose agents share answers: no model is asked, nothing is paid, and nothing else changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest

from agent_executor.errors import BudgetExceededError, ModelError
from agent_executor.executor.journal.journal import IdempotencyKey, RunRecord
from agent_executor.executor.journal.journal_memory import MemoryJournal
from agent_executor.executor.log.run_event import (
    ModelCallCompleted,
    ModelSelected,
    RunEvent,
    RunStarted,
    payload_type,
)
from agent_executor.executor.models.mock import MockClaude
from agent_executor.executor.models.mock_script import ScriptedFailure, ScriptedReply
from agent_executor.executor.models.model import (
    OPERATOR_ACCESS,
    DeltaListener,
    ModelAccess,
    ModelRequest,
    ModelResponse,
)
from agent_executor.executor.runs.run_view import RunView
from agent_executor.executor.webhooks.delivery import Webhook
from agent_executor.serving.security import SecurityContext
from tests.unit.executor.peers import answer
from tests.unit.executor.platforms import ADA, CALCULATOR, EVE, Platform

BOB = SecurityContext("acme", "bob", frozenset({"*"}))
SUM = "What is 15 + 27?"


class CountingModel(MockClaude):
    """Mock Claude, which a test can hold up."""

    def __init__(self, *script: ScriptedReply | ScriptedFailure) -> None:
        super().__init__(script)
        self.asked = 0
        self.gate: asyncio.Event | None = None

    async def generate(
        self,
        request: ModelRequest,
        *,
        access: ModelAccess = OPERATOR_ACCESS,
        on_delta: DeltaListener | None = None,
    ) -> ModelResponse:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        return await super().generate(request, access=access, on_delta=on_delta)


class CountingJournal(MemoryJournal):
    """Lets a test wait for runs to be durable."""

    def __init__(self) -> None:
        super().__init__()
        self.created = 0
        self._changed = asyncio.Condition()

    async def create(
        self,
        run: RunRecord,
        events: Sequence[RunEvent],
        key: IdempotencyKey | None = None,
        after_run_id: str = "",
        webhook: Webhook | None = None,
    ) -> str:
        run_id = await super().create(run, events, key, after_run_id, webhook)
        async with self._changed:
            self.created += 1
            self._changed.notify_all()
        return run_id

    async def wait_until_created(self, count: int) -> None:
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: self.created >= count)


class World:
    """A platform with a model that counts, and an agent that shares answers for a minute."""

    def __init__(self, *script: ScriptedReply | ScriptedFailure) -> None:
        self.model = CountingModel(*script)
        self.journal = CountingJournal()
        self.platform = Platform(model=self.model, journal=self.journal, max_active_runs=64)
        self.platform.tools.run = lambda request: answer(
            json.dumps(sum(json.loads(request.arguments_json)[name] for name in "ab"))
        )

    async def agent(self, ttl_seconds: int = 60) -> str:
        return await self.platform.agent(tools=CALCULATOR, response_cache_ttl_seconds=ttl_seconds)

    async def run(self, agent_id: str, text: str = SUM, security: SecurityContext = ADA) -> RunView:
        return await self.platform.runs.execute(agent_id, text, security)

    async def event_types(self, view: RunView) -> list[str]:
        events = await self.platform.journal.events(view.run.run_id)
        return [payload_type(event.payload) for event in events]


async def test_an_equal_run_asks_no_model_and_costs_nothing() -> None:
    world = World()
    agent_id = await world.agent()
    first = await world.run(agent_id, "Hello")
    asked, settled = world.model.asked, dict(world.platform.ledger.settled)
    second = await world.run(agent_id, "Hello", BOB)
    assert world.model.asked == asked
    assert second.state.finished == first.state.finished
    assert second.state.messages == first.state.messages
    assert (second.state.tokens_used, second.state.cost_nano_usd) == (0, 0)
    assert first.state.cost_nano_usd > 0
    # Nothing was held and nothing is settled; the log shows it all the same.
    assert world.platform.ledger.settled == settled
    assert await world.event_types(second) == [
        "run_started",
        "model_call_started",
        "model_call_completed",
        "run_finished",
    ]
    completed = (await world.platform.journal.events(second.run.run_id))[2].payload
    assert isinstance(completed, ModelCallCompleted)
    assert completed.from_cache
    # What is stored is what was answered.
    assert await world.platform.runs.get(second.run.run_id, BOB) == second


async def test_no_budget_refuses_what_costs_nothing() -> None:
    world = World()
    agent_id = await world.agent()
    await world.run(agent_id, "Hello")
    world.platform.ledger.error = BudgetExceededError("It is spent.")
    assert (await world.run(agent_id, "Hello")).state.state == "completed"
    assert (await world.run(agent_id, "Goodbye")).state.state == "budget_exceeded"


async def test_another_organization_is_given_nothing() -> None:
    world = World()
    await world.run(await world.agent(), "Hello")
    theirs = await world.platform.agents.create(
        {"name": "Agent", "tools": CALCULATOR, "response_cache_ttl_seconds": 60}, "", EVE
    )
    asked = world.model.asked
    view = await world.run(theirs.agent_id, "Hello", EVE)
    assert world.model.asked == asked + 1
    assert view.state.cost_nano_usd > 0


async def test_only_those_share_that_want_to() -> None:
    world = World()
    other = await world.agent(ttl_seconds=0)
    for _ in range(2):
        await world.run(other, "Hello")
    assert world.model.asked == 2
    await world.run(await world.agent(), "Hello")
    assert world.model.asked == 3


async def test_tools_that_only_read_are_run_again_and_paid_for() -> None:
    world = World()
    agent_id = await world.agent()
    first = await world.run(agent_id)
    assert (world.model.asked, len(world.platform.tools.requests)) == (2, 1)
    settled = set(world.platform.ledger.settled)
    second = await world.run(agent_id)
    assert (world.model.asked, len(world.platform.tools.requests)) == (2, 2)
    assert second.state.finished == first.state.finished
    assert second.state.cost_nano_usd == 0
    one, two = world.platform.tools.requests
    assert one.tool_call_id != two.tool_call_id
    # The use of the tool is told to the ledger, which may have a price for it.
    (entry_id,) = set(world.platform.ledger.settled) - settled
    settlement = world.platform.ledger.settled[entry_id]
    assert (settlement.is_held, settlement.usage.input_tokens) == (False, 0)
    assert [use.tool_call_id for use in settlement.tool_uses] == [two.tool_call_id]


@pytest.mark.parametrize("effect", ["unsafe", "idempotent", ""])
async def test_to_use_a_tool_with_an_effect_is_decided_by_each_run(effect: str) -> None:
    world = World()
    world.platform.tools.effect = effect
    agent_id = await world.agent()
    for _ in range(2):
        await world.run(agent_id)
    # The answer that follows from the same result is shared.
    assert (world.model.asked, len(world.platform.tools.requests)) == (3, 2)


async def test_a_result_that_differs_is_another_request() -> None:
    world = World()
    agent_id = await world.agent()
    await world.run(agent_id)
    world.platform.tools.run = lambda request: answer("43")
    view = await world.run(agent_id)
    assert world.model.asked == 3
    assert view.state.finished is not None
    assert "43" in view.state.finished.response


async def test_equal_runs_at_the_same_time_ask_once() -> None:
    world = World()
    world.model.gate = asyncio.Event()
    journal = world.journal
    agent_id = await world.agent()
    runs = [asyncio.create_task(world.run(agent_id, "Hello")) for _ in range(50)]
    other = asyncio.create_task(world.run(agent_id, "Goodbye"))
    # Those that wait are durable already, so that they would survive this process.
    await journal.wait_until_created(len(runs) + 1)
    world.model.gate.set()
    views = [await run for run in runs]
    await other
    assert world.model.asked == 2
    assert len({view.state.finished for view in views}) == 1
    assert sum(view.state.cost_nano_usd > 0 for view in views) == 1


async def test_a_run_that_waits_for_anothers_answer_ends_when_it_is_told_to() -> None:
    world = World()
    world.model.gate = asyncio.Event()
    agent_id = await world.agent()
    runs = world.platform.runs
    first, second = [(await runs.start(agent_id, "Hello", ADA)).run.run_id for _ in range(2)]
    async with asyncio.timeout(60):
        receipt = await runs.cancel(second, "", ADA)
        assert (receipt.was_stopped, receipt.stopped_call_ids) == (True, ())
        # Whoever asks for others and is ended leaves the asking to the next one.
        third = asyncio.create_task(world.run(agent_id, "Hello"))
        await world.journal.wait_until_created(3)
        assert (await runs.cancel(first, "", ADA)).was_stopped
        world.model.gate.set()
        assert (await third).state.state == "completed"
    assert world.model.asked == 2
    assert world.platform.ledger.open_nano_usd == 0


async def test_a_failure_is_not_shared() -> None:
    gone = ScriptedFailure(
        status_code=400, error_type="invalid_request_error", when=lambda request: True, times=1
    )
    world = World(gone)
    agent_id = await world.agent()
    assert (await world.run(agent_id, "Hello")).state.state == "failed"
    assert (await world.run(agent_id, "Hello")).state.state == "completed"
    assert world.model.asked == 2


async def test_a_refusal_is_not_shared() -> None:
    refusal = ScriptedReply(text="No.", stop_reason="refusal", when=lambda request: True, times=1)
    world = World(refusal)
    agent_id = await world.agent()
    refused = await world.run(agent_id, "Hello")
    assert (refused.run.state, refused.run.code) == ("failed", ModelError.reason)
    assert (await world.run(agent_id, "Hello")).state.state == "completed"


@pytest.mark.parametrize(
    ("text", "model"), [("Hello", "claude-haiku-5-5"), ("x" * 40_000, "claude-opus-5-5")]
)
async def test_auto_is_chosen_once_and_says_why(text: str, model: str) -> None:
    world = World()
    agent_id = await world.platform.agent(model="auto", tools=CALCULATOR)
    view = await world.run(agent_id, text)
    started, selected = (await world.platform.journal.events(view.run.run_id))[:2]
    assert isinstance(started.payload, RunStarted)
    assert isinstance(selected.payload, ModelSelected)
    assert selected.payload.reason
    assert {started.payload.model, selected.payload.model, view.run.model} == {model}
    assert {one.model for one in world.platform.ledger.settled.values()} == {model}
    # The agent of a later version does not change a run: it keeps its model.
    assert (await world.platform.runs.get(view.run.run_id, ADA)).state.model == model
