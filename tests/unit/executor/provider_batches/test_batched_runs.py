"""Runs whose model calls go through batches: parked meanwhile, paid once, whatever goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from agent_executor.errors import InvalidArgumentError, ModelError
from agent_executor.executor.context.policy import ContextPolicy
from agent_executor.executor.log.run import RunState, fold
from agent_executor.executor.log.run_event import (
    ModelCallBatched,
    ModelCallFailed,
    payload_type,
)
from agent_executor.executor.models.model import OPERATOR_ACCESS, ModelRequest, ModelUsage
from agent_executor.executor.models.model_batches import BatchOutcome, BatchRequest
from agent_executor.executor.runs.run_options import RunOptions
from agent_executor.executor.runs.run_view import RunView
from tests.unit.executor.platforms import ADA, BATCH_TIMES, CALCULATOR, Platform, until_idle
from tests.unit.executor.provider_batches.scripted import LOST_ANSWER, ScriptedBatches

BATCH = RunOptions(processing="batch")
SUM = "What is 2 + 3?"
POLL_MS = int(BATCH_TIMES.poll * 1000)
LOOKED_FOR_MS = int(BATCH_TIMES.create_timeout * 1000) + 5_000


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0.001)


class Batched:
    """A platform whose runs are batched."""

    def __init__(self, **options: object) -> None:
        self.provider = ScriptedBatches()
        self.platform = Platform(model_batches=self.provider, **options)  # type: ignore[arg-type]  # passed on

    async def start(self, text: str = SUM, agent_id: str = "", **options: object) -> str:
        agent_id = agent_id or await self.platform.agent(tools=CALCULATOR)
        asked = RunOptions(processing="batch", **options)  # type: ignore[arg-type]  # passed on
        view = await self.platform.runs.start(agent_id, text, ADA, asked)
        return view.run.run_id

    async def look(self, after_ms: int = POLL_MS) -> None:
        """Lets time pass and an executor look at what is due, until nothing is driven any more."""
        self.platform.now_ms += after_ms
        while await self.platform.poller.look():
            pass
        await until_idle(self.platform.runs)

    async def parked(self) -> None:
        await until_idle(self.platform.runs)

    async def view(self, run_id: str) -> RunView:
        return await self.platform.runs.get(run_id, ADA)

    async def state(self, run_id: str) -> RunState:
        return (await self.view(run_id)).state

    async def types(self, run_id: str) -> list[str]:
        return [payload_type(event.payload) for event in await self.platform.journal.events(run_id)]

    async def end(self, run_id: str) -> RunState:
        """Ends every batch until the run has ended."""
        for _ in range(6):
            self.provider.end_all()
            await self.look()
            state = await self.state(run_id)
            if state.finished is not None:
                return state
        raise AssertionError("the run has not ended")


async def test_a_run_with_a_tool_call_takes_two_batches_and_is_parked_for_each() -> None:
    world = Batched()
    run_id = await world.start()
    await world.parked()
    stored = await world.platform.journal.get("acme", run_id)
    assert stored is not None
    assert (stored.owner, stored.state) == ("", "waiting")
    assert stored.wake_at_ms > world.platform.now_ms + 3_600_000
    assert await world.types(run_id) == ["run_started", "model_call_started", "model_call_batched"]
    state = await world.state(run_id)
    assert (state.batch_id, state.state) == ("msgbatch_1", "waiting")
    await world.look()
    assert (await world.state(run_id)).state == "waiting"
    state = await world.end(run_id)
    assert state.state == "completed"
    assert state.finished is not None
    assert state.finished.response == "2 + 3 = 42"
    types = [name for name in await world.types(run_id) if name != "model_call_settled"]
    assert types == [
        *("run_started", "model_call_started", "model_call_batched", "run_resumed"),
        *("model_call_completed", "tool_call_started", "tool_call_completed"),
        *("model_call_started", "model_call_batched", "run_resumed"),
        *("model_call_completed", "run_finished"),
    ]
    assert len(world.provider.made) == 2
    ledger = world.platform.ledger
    assert {hold.processing for hold in ledger.holds.values()} == {"batch"}
    assert {hold.ttl_seconds for hold in ledger.holds.values()} == {86_400}
    assert {one.processing for one in ledger.settled.values()} == {"batch"}
    assert state.cost_nano_usd == ledger.spent_nano_usd > 0
    assert ledger.open_nano_usd == 0
    await world.look()
    assert await world.platform.batches.batch_ids() == set()


async def test_calls_on_one_account_share_a_batch_and_those_on_another_do_not() -> None:
    world = Batched()
    agent_id = await world.platform.agent(tools=CALCULATOR)
    own = await world.platform.agents.create({"name": "Own"}, "its own key", ADA)
    run_ids = await asyncio.gather(
        *(world.start(f"What is {n} + 1?", agent_id) for n in range(6)),
        *(world.start("hello", own.agent_id) for _ in range(2)),
    )
    await world.parked()
    assert sorted(map(len, world.provider.made.values())) == [2, 6]
    assert len(set(world.provider.accesses)) == 2
    world.provider.end_all()
    await world.look()
    for run_id in run_ids:
        assert (await world.end(run_id)).state == "completed"
    assert len(world.provider.made) == 3


async def test_the_wait_does_not_count_as_the_runs_time() -> None:
    world = Batched()
    run_id = await world.start(timeout_seconds=10)
    await world.parked()
    await world.look(23 * 3_600_000)
    world.provider.end_all()
    await world.look()
    await world.look(23 * 3_600_000)
    assert (await world.end(run_id)).state == "completed"


async def test_what_is_held_is_renewed_before_it_ends() -> None:
    world = Batched()
    run_id = await world.start(max_cost_nano_usd=10**9)
    await world.parked()
    world.platform.now_ms += 8 * 3_600_000 + 1
    await world.platform.runs.take_over()
    await world.parked()
    call_id = f"{run_id}_1_m1"
    assert {run_id, call_id} <= set(world.platform.ledger.renewed)
    assert (await world.state(run_id)).state == "waiting"
    state = await world.end(run_id)
    assert (state.state, len(world.provider.made)) == ("completed", 2)


async def test_a_provider_without_batches_is_refused_by_name() -> None:
    platform = Platform()
    agent_id = await platform.agent()
    with pytest.raises(InvalidArgumentError) as raised:
        await platform.runs.start(agent_id, "hello", ADA, BATCH)
    assert [field for field, _ in raised.value.field_violations] == ["processing"]


@pytest.mark.parametrize(
    ("outcome", "tries"),
    [
        (BatchOutcome("errored", error="Busy.", code="MODEL_ERROR", can_retry=True), 2),
        (BatchOutcome("expired"), 2),
    ],
)
async def test_what_may_succeed_later_is_tried_again(outcome: BatchOutcome, tries: int) -> None:
    world = Batched()
    run_id = await world.start("hello")
    world.provider.coming[f"{run_id}_1_m1"] = outcome
    await world.parked()
    state = await world.end(run_id)
    assert state.state == "completed"
    assert len(world.provider.made) == tries
    assert world.platform.ledger.voided == {f"{run_id}_1_m1"}


@pytest.mark.parametrize(
    ("outcome", "code", "calls"),
    [
        (BatchOutcome("errored", error="Bad.", code="MODEL_ERROR"), "MODEL_ERROR", 1),
        (BatchOutcome("canceled"), "MODEL_ERROR", 1),
        (BatchOutcome("expired"), "DEADLINE_EXCEEDED", 3),
        (
            BatchOutcome("errored", error="Busy.", code="MODEL_ERROR", can_retry=True),
            *("MODEL_ERROR", 3),
        ),
    ],
)
async def test_what_does_not_succeed_ends_the_run_and_is_not_paid(
    outcome: BatchOutcome, code: str, calls: int
) -> None:
    world = Batched()
    run_id = await world.start("hello")
    for number in range(1, 5):
        world.provider.coming[f"{run_id}_1_m{number}"] = outcome
    await world.parked()
    state = await world.end(run_id)
    assert state.finished is not None
    assert (state.state, state.finished.code) == ("failed", code)
    assert len(world.provider.made) == calls
    assert world.platform.ledger.spent_nano_usd == world.platform.ledger.open_nano_usd == 0


async def test_an_answer_that_cannot_be_read_is_paid_as_it_was_billed() -> None:
    world = Batched()
    run_id = await world.start("hello")
    world.provider.coming[f"{run_id}_1_m1"] = BatchOutcome(
        "errored",
        error="It could not be read.",
        code="MODEL_ERROR",
        error_metadata={"input_tokens": "7", "output_tokens": "5"},
    )
    await world.parked()
    state = await world.end(run_id)
    settled = world.platform.ledger.settled[f"{run_id}_1_m1"]
    assert (settled.usage, settled.estimated) == (ModelUsage(7, 5), True)
    assert state.tokens_used == 12


async def test_a_batch_that_is_refused_fails_its_calls_as_a_direct_call_would() -> None:
    world = Batched()
    world.provider.creating = [ModelError("No key.")]
    run_id = await world.start("hello")
    await world.parked()
    state = await world.state(run_id)
    assert state.state == "failed"
    assert state.finished is not None
    assert (state.finished.error, world.platform.ledger.open_nano_usd) == ("No key.", 0)
    busy = ModelError("Busy.", retry_after_seconds=0.0)
    world.provider.creating = [busy, busy]
    run_id = await world.start("hello")
    await until(lambda: bool(world.provider.made))
    await world.parked()
    assert (await world.end(run_id)).state == "completed"
    assert len(world.provider.made) == 1


async def test_one_bad_request_spoils_no_other() -> None:
    world = Batched()
    refused = ModelError("requests.1: no.", metadata={"status_code": "400"})
    world.provider.creating = [refused, refused, None, refused]
    agent_id = await world.platform.agent()
    run_ids = await asyncio.gather(*(world.start("hello", agent_id) for _ in range(4)))
    # The whole is refused, then its first half and, of that, the second one.
    await until(lambda: len(world.provider.made) == 2)
    await world.parked()
    world.provider.end_all()
    await world.look()
    states = [(await world.state(run_id)).state for run_id in run_ids]
    assert sorted(states) == ["completed", "completed", "completed", "failed"]


async def test_a_batch_whose_answer_was_lost_is_found_and_not_made_again() -> None:
    world = Batched()
    world.provider.creating = [LOST_ANSWER]
    run_id = await world.start("hello")
    await until(lambda: bool(world.provider.made))
    await world.parked()
    assert await world.types(run_id) == ["run_started", "model_call_started"]
    assert (await world.state(run_id)).state == "waiting"
    # While it goes on, nobody can tell what is in it.
    await world.look(LOOKED_FOR_MS)
    await world.look()
    assert await world.types(run_id) == ["run_started", "model_call_started"]
    state = await world.end(run_id)
    assert (state.state, len(world.provider.made)) == ("completed", 1)
    payloads = [event.payload for event in await world.platform.journal.events(run_id)]
    assert ModelCallBatched(f"{run_id}_1_m1", "msgbatch_1") in payloads


async def test_a_batch_that_never_was_made_is_made_after_the_list_says_so() -> None:
    world = Batched()
    lost = ModelError("The connection failed.", metadata={"may_be_made": "true"})
    world.provider.creating = [lost]
    run_id = await world.start("hello")
    await world.parked()
    # A batch of somebody else on the account, with as many requests.
    theirs = BatchRequest("theirs", ModelRequest("model", "", (), (), 1))
    world.provider.coming["theirs"] = BatchOutcome("expired")
    other = await world.provider.create([theirs], access=OPERATOR_ACCESS)
    await world.look(LOOKED_FOR_MS - 1)
    assert len(world.provider.made) == 1
    await world.look(1)
    assert len(world.provider.made) == 1
    world.provider.ended.add(other.id)
    await world.look()
    await until(lambda: len(world.provider.made) == 2)
    await world.parked()
    assert (await world.end(run_id)).state == "completed"
    assert len(world.provider.made) == 2
    assert f"{run_id}_1_m1" in world.platform.ledger.voided


async def test_a_provider_that_never_makes_a_batch_is_given_up() -> None:
    world = Batched()
    lost = ModelError("It failed.", metadata={"may_be_made": "true"})
    world.provider.creating = [lost] * 9
    run_id = await world.start("hello")
    for _ in range(5):
        await world.parked()
        await world.look(LOOKED_FOR_MS)
    state = await world.state(run_id)
    assert (state.state, len(world.provider.creating)) == ("failed", 6)


async def test_a_batch_that_cannot_be_read_is_read_later_and_given_up_in_the_end() -> None:
    world = Batched()
    run_id = await world.start("hello")
    await world.parked()
    world.provider.error = ModelError("It is away.")
    world.provider.end_all()
    await world.look()
    assert (await world.state(run_id)).state == "waiting"
    await world.look(2 * 86_400_000 + 1)
    await world.look()
    state = await world.state(run_id)
    assert state.finished is not None
    assert "two days" in state.finished.error
    assert len(world.provider.made) == 1


class TestCancelling:
    async def test_in_the_window_nothing_is_given_to_the_provider(self) -> None:
        world = Batched()
        world.provider.gate = asyncio.Event()
        run_id = await world.start("hello")
        await until(lambda: bool(world.platform.ledger.holds))
        receipt = await world.platform.runs.cancel(run_id, "", ADA)
        assert (receipt.state, receipt.stopped_call_ids) == ("cancelled", ())
        world.provider.gate.set()
        await world.parked()
        assert world.provider.made == {}
        assert world.platform.ledger.open_nano_usd == world.platform.ledger.spent_nano_usd == 0

    async def test_of_a_whole_batch_it_is_ended_at_the_provider_and_costs_nothing(self) -> None:
        world = Batched()
        run_id = await world.start("hello")
        await world.parked()
        receipt = await world.platform.runs.cancel(run_id, "", ADA)
        assert receipt.stopped_call_ids == (f"{run_id}_1_m1",)
        assert world.platform.ledger.open_nano_usd == 0
        await world.look(0)
        assert world.provider.cancelled == ["msgbatch_1"]
        world.provider.end_all()
        await world.look()
        corrected = world.platform.ledger.corrected[f"{run_id}_1_m1_corrected"]
        assert corrected.usage == ModelUsage(0, 0)
        assert world.platform.ledger.spent_nano_usd == 0
        assert await world.platform.batches.batch_ids() == set()
        assert world.provider.cancelled == ["msgbatch_1"]

    async def test_of_one_of_several_the_batch_ends_and_the_ledger_learns_the_cost(self) -> None:
        world = Batched()
        agent_id = await world.platform.agent()
        one, two = await asyncio.gather(*(world.start("hello", agent_id) for _ in range(2)))
        await world.parked()
        await world.platform.runs.cancel(one, "", ADA)
        await world.look()
        assert world.provider.cancelled == []
        assert (await world.state(two)).state == "waiting"
        state = await world.end(two)
        assert state.state == "completed"
        ledger = world.platform.ledger
        answer = ledger.settled[f"{two}_1_m1"].usage
        assert ledger.settled[f"{one}_1_m1"].estimated
        assert ledger.corrected[f"{one}_1_m1_corrected"].usage == answer
        await world.look()
        assert await world.platform.batches.batch_ids() == set()

    async def test_while_the_ledger_is_away_its_cost_is_told_later(self) -> None:
        world = Batched()
        run_id = await world.start("hello")
        await world.parked()
        await world.platform.runs.cancel(run_id, "", ADA)
        world.provider.end_all()
        world.platform.ledger.unavailable_times = 2
        await world.look()
        assert world.platform.ledger.corrected == {}
        for _ in range(3):
            await world.look()
        assert list(world.platform.ledger.corrected) == [f"{run_id}_1_m1_corrected"]

    async def test_during_the_making_of_the_batch_it_is_found_and_ended(self) -> None:
        world = Batched()
        run_id = await world.start("hello")
        world.provider.gate = asyncio.Event()
        stored = world.platform.batches
        while await stored.find(run_id, f"{run_id}_1_m1") is None:  # noqa: ASYNC110 -- see until
            await asyncio.sleep(0.001)
        receipt = await world.platform.runs.cancel(run_id, "", ADA)
        assert receipt.state == "cancelled"
        world.provider.gate.set()
        await until(lambda: bool(world.provider.made))
        await world.parked()
        await world.look()
        assert world.provider.cancelled == ["msgbatch_1"]

    async def test_an_answer_that_is_there_is_taken_up(self) -> None:
        world = Batched(max_active_runs=1)
        run_id = await world.start("hello")
        await world.parked()
        world.provider.end_all()
        assert world.platform.drivers.take_place("acme")
        world.platform.now_ms += POLL_MS
        await world.platform.poller.look()
        assert (await world.state(run_id)).state == "waiting"
        await world.platform.runs.cancel(run_id, "", ADA)
        state = await world.state(run_id)
        assert (state.state, state.turn) == ("cancelled", 1)
        assert world.platform.ledger.settled[f"{run_id}_1_m1"].estimated is False


class TestTakingOver:
    """What an heir does with a run whose owner died at each point."""

    async def heir(self, world: Batched) -> Batched:
        heir = Batched.__new__(Batched)
        heir.provider = world.provider
        heir.platform = Platform(
            journal=world.platform.journal,
            store=world.platform.store,
            approvals=world.platform.approvals,
            ledger=world.platform.ledger,
            batches=world.platform.batches,
            model_batches=world.provider,
            incarnation=2,
        )
        heir.platform.now_ms = world.platform.now_ms
        return heir

    async def test_before_the_batch_the_call_is_made_anew(self) -> None:
        world = Batched()
        world.provider.gate = asyncio.Event()
        run_id = await world.start("hello")
        await until(lambda: bool(world.platform.ledger.holds))
        heir = await self.heir(world)
        # The owner's window closes after the run was taken over.
        await heir.platform.runs.take_over()
        await until(lambda: len(heir.platform.ledger.holds) == 2)
        world.provider.gate.set()
        await world.parked()
        await heir.parked()
        assert [one.id for batch in world.provider.made.values() for one in batch] == [
            f"{run_id}_1_m2"
        ]
        assert (await heir.end(run_id)).state == "completed"

    async def test_between_the_creation_and_its_record_the_batch_is_found(self) -> None:
        world = Batched()
        made, stop = world.platform.batches.made, asyncio.Event()

        async def never(*_: object) -> None:
            await stop.wait()

        world.platform.batches.made = never  # type: ignore[assignment, method-assign]  # a death just then
        run_id = await world.start("hello")
        await until(lambda: bool(world.provider.made))
        await world.platform.runs.drain(0.0)
        world.platform.batches.made = made  # type: ignore[method-assign]  # as it was
        heir = await self.heir(world)
        await heir.platform.runs.take_over()
        await heir.parked()
        await heir.look(LOOKED_FOR_MS)
        state = await heir.end(run_id)
        assert (state.state, len(world.provider.made)) == ("completed", 1)

    async def test_after_the_creation_the_log_learns_the_batch_from_the_store(self) -> None:
        world = Batched()
        run_id = await world.start("hello")
        await world.parked()
        events = await world.platform.journal.events(run_id)
        world.platform.journal._events[run_id] = events[:-1]
        run = world.platform.journal._runs[run_id]
        world.platform.journal._runs[run_id] = msgspec.structs.replace(
            run, last_sequence=2, owner="dead/1", wake_at_ms=0
        )
        heir = await self.heir(world)
        await heir.platform.runs.take_over()
        await heir.parked()
        assert (await heir.state(run_id)).batch_id == "msgbatch_1"
        assert (await heir.end(run_id)).state == "completed"
        assert len(world.provider.made) == 1

    async def test_an_outcome_that_was_taken_up_and_not_forgotten_is_taken_up_once(self) -> None:
        world = Batched()
        run_id = await world.start()
        await world.parked()
        forget = world.platform.batches.forget
        forgotten: list[str] = []

        async def not_now(model_call_id: str) -> None:
            forgotten.append(model_call_id)

        world.platform.batches.forget = not_now  # type: ignore[method-assign]  # a death just then
        world.provider.end_all()
        await world.look()
        world.platform.batches.forget = forget  # type: ignore[method-assign]  # as it was
        assert forgotten
        state = await world.end(run_id)
        assert (state.state, state.turn) == ("completed", 2)
        assert state.cost_nano_usd == world.platform.ledger.spent_nano_usd
        await world.look()
        assert await world.platform.batches.batch_ids() == set()

    async def test_two_executors_look_at_a_batch_once_each_time(self) -> None:
        world = Batched()
        run_id = await world.start("hello")
        await world.parked()
        world.provider.end_all()
        heir = await self.heir(world)
        for platform in (world.platform, heir.platform):
            platform.now_ms += POLL_MS
        looks = await asyncio.gather(world.platform.poller.look(), heir.platform.poller.look())
        assert sorted(looks) == [0, 1]
        await world.parked()
        await heir.parked()
        assert (await world.state(run_id)).state == "completed"
        assert world.provider.reads == 1


async def test_a_run_that_failed_for_a_fault_of_ours_is_charged_what_its_call_costs() -> None:
    world = Batched()
    run_id = await world.start("hello")
    await world.parked()

    async def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    find = world.platform.batches.find
    world.platform.batches.find = broken  # type: ignore[assignment, method-assign]  # a bug
    await world.platform.runs.wake(run_id)
    await world.parked()
    world.platform.batches.find = find  # type: ignore[method-assign]  # as it was
    assert (await world.state(run_id)).state == "failed"
    world.provider.end_all()
    await world.look()
    assert world.platform.ledger.spent_nano_usd > 0
    assert world.platform.ledger.open_nano_usd == 0


async def test_a_conversation_that_is_summed_up_takes_a_batch_for_that_too() -> None:
    world = Batched()
    agent_id = await world.platform.agent(
        context_policy=ContextPolicy(max_history_turns=1, summarize=True)
    )
    for text in ("hello", "What is 1 + 1?"):
        run_id = await world.start(text, agent_id, conversation_id="talk")
        await world.parked()
        assert (await world.end(run_id)).state == "completed"
    made = len(world.provider.made)
    run_id = await world.start("What is 2 + 2?", agent_id, conversation_id="talk")
    await world.parked()
    state = await world.end(run_id)
    assert state.state == "completed"
    assert state.trimmed is not None
    assert state.trimmed.summary
    assert len(world.provider.made) == made + 2


async def test_a_replay_of_the_log_gives_the_same_state() -> None:
    world = Batched()
    run_id = await world.start()
    world.provider.coming[f"{run_id}_1_m1"] = BatchOutcome("expired")
    await world.parked()
    state = await world.end(run_id)
    assert fold(await world.platform.journal.events(run_id)) == state
    failed = [
        event.payload
        for event in await world.platform.journal.events(run_id)
        if isinstance(event.payload, ModelCallFailed)
    ]
    assert [one.will_retry for one in failed] == [True]
