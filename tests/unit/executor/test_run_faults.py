"""Runs whose caller, storage, ledger or executor goes away at a bad moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace

import msgspec
import pytest

from agent_executor.errors import (
    EntryConflictError,
    LimitExceededError,
    UnavailableError,
)
from agent_executor.executor.driving import drivers, leases, lost_runs
from agent_executor.executor.driving.leases import LeaseKeeper
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.log.run_event import ModelCallCompleted, RunEvent, RunFinished
from agent_executor.executor.models.model import (
    OPERATOR_ACCESS,
    DeltaListener,
    ModelAccess,
    ModelRequest,
    ModelResponse,
    ModelUsage,
    TextBlock,
    ToolUseBlock,
)
from tests.unit.executor.platforms import ADA, CALCULATOR, Platform, until_idle


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets runs ask for a storage that is away without a pause."""
    monkeypatch.setattr(drivers, "STORAGE_RETRY_SECONDS", 0.0)


async def test_a_caller_that_goes_away_while_its_run_becomes_durable_leaves_no_run_undriven() -> (
    None
):
    platform = Platform()
    create, creating, may_create = platform.journal.create, asyncio.Event(), asyncio.Event()

    async def create_slowly(*args: object) -> str:
        creating.set()
        await may_create.wait()
        return await create(*args)  # type: ignore[arg-type]  # passed on

    platform.journal.create = create_slowly  # type: ignore[assignment, method-assign]  # a test's own
    starting = asyncio.create_task(platform.runs.start(await platform.agent(), "hello", ADA))
    await creating.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    may_create.set()
    await until_idle(platform.runs)
    (run,) = await platform.runs.list_runs(ADA, 10)
    assert run.state == "completed"


async def left_behind(dead: Platform, count: int) -> list[str]:
    """Returns the ids of runs whose executor has died, oldest first."""
    dead.tools.gate = asyncio.Event()
    agent_id = await dead.agent(tools=CALCULATOR)
    ids = [
        (await dead.runs.start(agent_id, "What is 2 + 3?", ADA)).run.run_id for _ in range(count)
    ]
    await dead.tools.wait_until_asked(count)
    await dead.runs.drain(0.0)
    return ids


async def test_a_log_that_cannot_be_read_ends_its_run_and_holds_up_no_other() -> None:
    dead = Platform(worker="dead")
    damaged, sound = sorted(await left_behind(dead, 2))
    del dead.journal._events[damaged][1]
    heir = Platform(journal=dead.journal, store=dead.store, worker="heir")
    assert await heir.runs.take_over() == 2
    await heir.runs.drain(5.0)
    states = {run.run_id: run.state for run in await heir.runs.list_runs(ADA, 10)}
    assert states == {damaged: "failed", sound: "completed"}


@pytest.mark.usefixtures("impatient")
async def test_a_claimed_run_is_gone_on_with_when_the_storage_is_back() -> None:
    dead = Platform(worker="dead")
    (run_id,) = await left_behind(dead, 1)
    heir = Platform(journal=dead.journal, store=dead.store, worker="heir")
    read, failures = heir.journal.events, [UnavailableError("busy"), UnavailableError("busy")]

    async def read_or_fail(run_id: str, after_sequence: int = 0, limit: int = 0) -> list[RunEvent]:
        if failures:
            raise failures.pop()
        return await read(run_id, after_sequence, limit)

    heir.journal.events = read_or_fail  # type: ignore[method-assign]  # a test's own
    await heir.runs.take_over()
    await heir.runs.drain(5.0)
    assert (await heir.runs.get(run_id, ADA)).state.state == "completed"


@pytest.mark.usefixtures("impatient")
async def test_a_run_whose_storage_fails_is_settled_and_ended_when_it_is_back() -> None:
    platform = Platform()
    append, failures = platform.journal.append, [UnavailableError("disk full")] * 3

    async def append_or_fail(*args: object) -> None:
        if failures:
            raise failures.pop()
        await append(*args)  # type: ignore[arg-type]  # passed on

    platform.journal.append = append_or_fail  # type: ignore[assignment, method-assign]  # a test's own
    view = await platform.runs.execute(await platform.agent(), "hello", ADA)
    assert (view.state.state, view.run.code) == ("failed", "UNAVAILABLE")
    assert view.state.unsettled == ()
    assert len(platform.ledger.settled) == 1
    assert (await platform.runs.get(view.run.run_id, ADA)) == view


@pytest.mark.usefixtures("impatient")
async def test_a_run_whose_very_end_could_not_be_written_at_first_ends_as_it_had() -> None:
    platform = Platform()
    append, failures = platform.journal.append, [UnavailableError("disk full")]

    async def append_or_fail(run: RunRecord, *args: object) -> None:
        if run.ended_at_ms and failures:
            raise failures.pop()
        await append(run, *args)  # type: ignore[arg-type]  # passed on

    platform.journal.append = append_or_fail  # type: ignore[assignment, method-assign]  # a test's own
    view = await platform.runs.execute(await platform.agent(), "hello", ADA)
    assert view.state.state == "completed"
    events = await platform.journal.events(view.run.run_id)
    assert [isinstance(event.payload, RunFinished) for event in events].count(True) == 1


async def test_a_run_whose_events_cannot_be_written_is_ended_without_them() -> None:
    platform = Platform()
    append = platform.journal.append

    async def append_no_answer(run: RunRecord, events: Sequence[RunEvent], *args: object) -> None:
        if any(isinstance(event.payload, ModelCallCompleted) for event in events):
            raise ValueError("this cannot be encoded")
        await append(run, events, *args)  # type: ignore[arg-type]  # passed on

    platform.journal.append = append_no_answer  # type: ignore[assignment, method-assign]  # a test's own
    view = await platform.runs.execute(await platform.agent(), "hello", ADA)
    assert (view.state.state, view.run.code) == ("failed", "INTERNAL")
    assert await platform.runs.get(view.run.run_id, ADA) == view


@pytest.mark.usefixtures("impatient")
async def test_a_run_whose_commit_got_no_answer_is_not_left_without_a_driver() -> None:
    platform = Platform()
    append, failures = platform.journal.append, [UnavailableError("the connection is lost")]

    async def append_and_break(*args: object) -> None:
        await append(*args)  # type: ignore[arg-type]  # passed on
        if failures:
            raise failures.pop()

    platform.journal.append = append_and_break  # type: ignore[assignment, method-assign]  # a test's own
    view = await platform.runs.execute(await platform.agent(), "hello", ADA)
    assert view.state.finished is not None
    assert await platform.runs.get(view.run.run_id, ADA) == view


@pytest.mark.usefixtures("impatient")
async def test_a_claimed_run_that_waited_for_a_place_is_read_when_the_storage_is_back() -> None:
    dead = Platform(worker="dead")
    left = await left_behind(dead, 2)
    heir = Platform(journal=dead.journal, store=dead.store, worker="heir", max_active_runs=1)
    get, failures = heir.journal.get, [UnavailableError("busy"), UnavailableError("busy")]

    async def get_or_fail(organization_id: str, run_id: str) -> RunRecord | None:
        if failures:
            raise failures.pop()
        return await get(organization_id, run_id)

    heir.journal.get = get_or_fail  # type: ignore[method-assign]  # a test's own
    for run_id in left:
        await heir.runs.wake(run_id)
    await until_idle(heir.runs)
    assert {run.state for run in await heir.runs.list_runs(ADA, 10)} == {"completed"}
    # The only place is free again.
    assert (await heir.runs.execute(await heir.agent(), "hello", ADA)).state.state == "completed"


async def test_a_run_whose_claim_got_no_answer_is_gone_on_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lost_runs, "LOOK_SECONDS", 0.0)
    dead = Platform(worker="dead")
    (run_id,) = await left_behind(dead, 1)
    heir = Platform(journal=dead.journal, store=dead.store, worker="heir")
    claim, failures = heir.journal.claim, [UnavailableError("the connection is lost")]

    async def claim_and_break(*args: object, **options: object) -> list[RunRecord]:
        claimed = await claim(*args, **options)  # type: ignore[arg-type]  # passed on
        if failures:
            raise failures.pop()
        return claimed

    heir.journal.claim = claim_and_break  # type: ignore[method-assign]  # a test's own
    with pytest.raises(UnavailableError):
        await heir.runs.take_over()
    # Seen once it may be about to be driven, seen twice it is not.
    assert [await heir.runs.take_over() for _ in range(2)] == [0, 1]
    await heir.runs.drain(5.0)
    assert (await heir.runs.get(run_id, ADA)).state.state == "completed"


async def test_a_run_that_is_driven_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_runs, "LOOK_SECONDS", 0.0)
    platform = Platform()
    platform.tools.gate = asyncio.Event()
    view = await platform.runs.start(await platform.agent(tools=CALCULATOR), "What is 2 + 3?", ADA)
    await platform.tools.wait_until_asked()
    for _ in range(3):
        await platform.runs.take_over()
    platform.tools.gate.set()
    await until_idle(platform.runs)
    (run,) = await platform.runs.list_runs(ADA, 10)
    assert (run.run_id, run.state, run.attempt) == (view.run.run_id, "completed", 1)


async def test_a_settlement_that_is_refused_for_good_does_not_keep_the_run_from_ending() -> None:
    platform = Platform()

    async def refuse(*_: object) -> int:
        raise EntryConflictError("another call")

    platform.ledger.settle = refuse  # type: ignore[assignment, method-assign]  # a test's own
    view = await platform.runs.execute(await platform.agent(), "hello", ADA)
    assert (view.state.state, view.run.code) == ("failed", "ENTRY_CONFLICT")


async def test_a_run_that_cannot_be_recorded_at_all_is_refused() -> None:
    platform = Platform()

    async def fail(*_: object) -> None:
        raise UnavailableError("disk full")

    platform.journal.create = fail  # type: ignore[assignment, method-assign]  # a test's own
    with pytest.raises(UnavailableError, match="not begun"):
        await platform.runs.execute(await platform.agent(), "hello", ADA)


async def test_callers_that_wait_for_the_tools_together_do_not_pass_the_limit_together() -> None:
    platform = Platform(max_active_runs=1, max_waiting_runs=0)
    agent_id = await platform.agent(tools=CALCULATOR)
    describe, may_describe = platform.tools.describe, asyncio.Event()

    async def describe_late(*args: object) -> object:
        await may_describe.wait()
        return await describe(*args)  # type: ignore[arg-type]  # passed on

    platform.tools.describe = describe_late  # type: ignore[assignment, method-assign]  # a test's own
    callers = [
        asyncio.create_task(platform.runs.start(agent_id, "What is 2 + 3?", ADA)) for _ in range(3)
    ]
    await asyncio.sleep(0)
    may_describe.set()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(answer) for answer in answers].count(LimitExceededError) == 2
    await until_idle(platform.runs)


async def test_an_executor_that_drains_takes_nothing_over() -> None:
    dead = Platform(worker="dead")
    await left_behind(dead, 1)
    heir = Platform(journal=dead.journal, store=dead.store, worker="heir")
    await heir.runs.drain(0.0)
    assert await heir.runs.take_over() == 0


async def test_a_run_is_answered_as_of_one_moment() -> None:
    platform = Platform()
    view = await platform.runs.execute(await platform.agent(), "hello", ADA)
    run_id = view.run.run_id
    stale = msgspec.structs.replace(view.run, state="running", last_sequence=1, ended_at_ms=0)

    async def get_stale(*_: object) -> object:
        return stale

    platform.journal.get = get_stale  # type: ignore[assignment, method-assign]  # read before the end
    assert await platform.runs.get(run_id, ADA) == view


async def test_the_lease_is_kept_whatever_goes_wrong() -> None:
    platform = Platform(worker="w")
    claim, claimed, failures = platform.journal.claim, asyncio.Event(), [ValueError("a bug")]

    async def claim_or_fail(*args: object, **options: object) -> object:
        if failures:
            raise failures.pop()
        claimed.set()
        return await claim(*args, **options)  # type: ignore[arg-type]  # passed on

    keeper = LeaseKeeper(
        journal=platform.journal,
        agents=platform.agents,
        runs=platform.runs,
        owner=platform.owner,
        now_ms=lambda: platform.now_ms,
        renewal_seconds=0.001,
    )
    await keeper.start()
    platform.journal.claim = claim_or_fail  # type: ignore[assignment, method-assign]  # a test's own
    async with asyncio.timeout(60):
        await claimed.wait()
    await keeper.stop()


async def test_who_was_late_lets_the_others_renew_before_it_takes_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    platform, seconds, looks = Platform(worker="w"), [1_000.0], [0]
    monkeypatch.setattr(leases, "time", SimpleNamespace(monotonic=lambda: seconds[0]))

    async def take_over() -> int:
        looks[0] += 1
        return 0

    monkeypatch.setattr(platform.runs, "take_over", take_over)
    keeper = LeaseKeeper(
        journal=platform.journal,
        agents=platform.agents,
        runs=platform.runs,
        owner=platform.owner,
        now_ms=lambda: platform.now_ms,
    )
    for at_seconds, renews, takes_over in (
        (1_000.0, True, True),
        # The journal is away: no renewal comes through for longer than two seconds.
        (1_002.5, False, False),
        (1_005.0, True, False),
        (1_007.0, True, False),
        (1_008.1, True, True),
        # And not twice in a row.
        (1_011.0, True, False),
        (1_014.0, True, True),
    ):
        seconds[0], before = at_seconds, looks[0]
        if renews:
            await keeper._renew()
        await keeper._take_over()
        assert (looks[0] > before) == takes_over, at_seconds


class OneAnswerPerLife:
    """A model that asks for a tool in most turns, and does not answer an executor twice."""

    name = "mock"

    def __init__(self, turns: int) -> None:
        self.turns = turns
        self.asked_again = asyncio.Event()
        self._asked = 0

    async def generate(
        self,
        request: ModelRequest,
        *,
        access: ModelAccess = OPERATOR_ACCESS,
        on_delta: DeltaListener | None = None,
    ) -> ModelResponse:
        self._asked += 1
        if self._asked > 1:
            self.asked_again.set()
            await asyncio.Event().wait()
        turn = sum(message.role == "assistant" for message in request.messages)
        if turn == self.turns:
            return ModelResponse("m", "m", (TextBlock("done"),), "end_turn", ModelUsage(1, 1))
        use = ToolUseBlock(f"toolu_{turn}", "calculator", {})
        return ModelResponse("m", "m", (use,), "tool_use", ModelUsage(1, 1))


async def test_a_run_that_gets_on_outlives_any_number_of_executors() -> None:
    lives = drivers.MAX_FRUITLESS_ATTEMPTS + 5
    model = OneAnswerPerLife(lives)
    platform = Platform(model=model)
    agent_id = await platform.agent(tools=CALCULATOR, max_model_turns=lives + 1)
    view = await platform.runs.start(agent_id, "hello", ADA)
    for incarnation in range(lives):
        async with asyncio.timeout(60):
            await model.asked_again.wait()
        await platform.runs.drain(0.0)
        model = OneAnswerPerLife(lives)
        platform = Platform(
            journal=platform.journal,
            store=platform.store,
            model=model,
            worker="heir",
            incarnation=incarnation,
            ledger=platform.ledger,
        )
        assert await platform.runs.take_over() == 1
    await platform.runs.drain(5.0)
    stored = await platform.runs.get(view.run.run_id, ADA)
    assert (stored.state.state, stored.run.attempt) == ("completed", lives + 1)
