"""People decide about tool calls: each once, whoever comes first, and the run goes on."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from functools import partial

import msgspec
import pytest

from agent_executor.errors import (
    ApprovalNotFoundError,
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
    RunFinishedError,
    RunNotFoundError,
    UnavailableError,
)
from agent_executor.executor.approvals.approval import Approval
from agent_executor.executor.approvals.approvals import Answer
from agent_executor.serving.security import SecurityContext
from tests.unit.executor.approvals.platform import (
    APPROVE,
    BOB,
    DENY,
    TIMEOUT_SECONDS,
    Office,
)
from tests.unit.executor.platforms import ADA, EVE

CAROL = SecurityContext("acme", "carol", frozenset({"run:approve"}))


def beside(office: Office) -> Office:
    """Returns another executor on the same storage."""
    return Office(
        journal=office.journal,
        store=office.store,
        approvals=office.approvals,
        worker="other",
    )


async def test_another_person_of_the_organization_lets_a_call_pass() -> None:
    office = Office()
    run_id = await office.parked_run()
    [asked] = await office.pending()
    assert (asked.run_id, asked.tool_name, asked.state) == (run_id, "email", "pending")
    approval = await office.resolve(run_id, Answer("approve", "fine"))
    assert (approval.state, approval.decided_by, approval.decision_reason) == (
        "approved",
        "bob",
        "fine",
    )
    await office.until_idle()
    assert await office.state(run_id) == "completed"
    [request] = office.tools.requests
    assert request.arguments_json == '{"n":0}'
    assert await office.pending() == []


async def test_the_caller_of_a_run_waits_for_the_decision_too() -> None:
    office = Office()
    agent_id = await office.agent_that_asks()
    executing = asyncio.create_task(office.runs.execute(agent_id, "1", ADA))
    run_id = await office.until_asked()
    await office.until_idle()
    assert not executing.done()
    await office.resolve(run_id)
    view = await executing
    assert (view.run.state, view.state.state) == ("completed", "completed")
    assert view.run.response == "42"


async def test_a_caller_that_goes_away_leaves_the_run_waiting() -> None:
    office = Office()
    executing = asyncio.create_task(office.runs.execute(await office.agent_that_asks(), "1", ADA))
    run_id = await office.until_asked()
    await office.until_idle()
    executing.cancel()
    await asyncio.gather(executing, return_exceptions=True)
    assert await office.state(run_id) == "waiting"
    await office.resolve(run_id)
    await office.until_idle()
    assert await office.state(run_id) == "completed"


async def test_without_leases_a_call_expires_by_itself() -> None:
    office = Office(keeps_leases=False)
    executing = asyncio.create_task(office.runs.execute(await office.agent_that_asks(), "1", ADA))
    await office.until_asked()
    # The clock of the run is at its expiry once it is parked.
    office.now_ms += TIMEOUT_SECONDS * 1000
    async with asyncio.timeout(60):
        view = await executing
    assert view.run.state == "completed"
    assert "Nobody decided" in view.run.response


async def test_the_sweep_denies_what_nobody_decided() -> None:
    office = Office()
    run_id = await office.parked_run()
    office.now_ms += TIMEOUT_SECONDS * 1000 - 1
    assert await office.runs.take_over() == 0
    office.now_ms += 1
    assert await office.runs.take_over() == 1
    await office.until_idle()
    assert await office.state(run_id) == "completed"
    assert office.tools.requests == []
    with pytest.raises(FailedPreconditionError, match="in time"):
        await office.resolve(run_id)


async def test_the_same_decision_again_gets_the_same_answer() -> None:
    office = Office()
    run_id = await office.parked_run()
    first = await office.resolve(run_id, Answer("approve", "fine"))
    assert await office.resolve(run_id, Answer("approve"), by=CAROL) == first
    await office.until_idle()
    assert await office.resolve(run_id, Answer("approve")) == first, "also after the run's end"
    assert len(office.tools.requests) == 1


async def test_another_decision_is_refused() -> None:
    office = Office()
    run_id = await office.parked_run()
    await office.resolve(run_id, DENY)
    for other in (APPROVE, Answer("approve", arguments_json='{"n":5}')):
        with pytest.raises(FailedPreconditionError, match="denied by bob"):
            await office.resolve(run_id, other, by=CAROL)
    await office.until_idle()
    assert office.tools.requests == []


async def test_other_arguments_are_another_decision() -> None:
    office = Office()
    run_id = await office.parked_run()
    edit = Answer("approve", arguments_json='{"n":5}')
    first = await office.resolve(run_id, edit)
    assert await office.resolve(run_id, edit, by=CAROL) == first
    with pytest.raises(FailedPreconditionError, match="with other arguments"):
        await office.resolve(run_id, APPROVE, by=CAROL)
    await office.until_idle()
    assert [request.arguments_json for request in office.tools.requests] == ['{"n":5}']


async def test_the_models_own_arguments_are_no_edit() -> None:
    office = Office()
    run_id = await office.parked_run()
    approval = await office.resolve(run_id, Answer("approve", arguments_json='{"n":0}'))
    assert approval.edited_arguments_json == ""


@pytest.mark.parametrize(
    "arguments_json",
    ["no JSON", "[]", "1", '{"n":"many"}', '{"n":' + "[" * 3_000 + "]" * 3_000 + "}"],
    ids=["none", "list", "number", "wrong", "deep"],
)
async def test_arguments_that_the_tool_does_not_take_are_refused(arguments_json: str) -> None:
    office = Office()
    office.tools.schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    run_id = await office.parked_run()
    with pytest.raises(InvalidArgumentError):
        await office.resolve(run_id, Answer("approve", arguments_json=arguments_json))
    assert len(await office.pending()) == 1, "nothing is decided"


async def test_a_denial_takes_no_arguments() -> None:
    office = Office()
    run_id = await office.parked_run()
    with pytest.raises(InvalidArgumentError):
        await office.resolve(run_id, Answer("deny", arguments_json="{}"))


async def test_arguments_are_taken_while_the_tool_runner_is_away() -> None:
    office = Office()
    office.tools.schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    run_id = await office.parked_run()
    office.tools.is_away = True
    edited = Answer("approve", arguments_json='{"n":"many"}')
    assert (await office.resolve(run_id, edited)).state == "approved"
    office.tools.is_away = False
    await office.until_idle()


async def test_who_may_not_decide_does_not() -> None:
    office = Office()
    run_id = await office.parked_run()
    reader = SecurityContext("acme", "dan", frozenset({"run:read", "run:execute"}))
    with pytest.raises(PermissionDeniedError):
        await office.resolve(run_id, by=reader)
    with pytest.raises(PermissionDeniedError):
        await office.people.list_pending(CAROL, 9)
    assert await office.people.list_pending(reader, 9) == await office.pending()


async def test_another_organization_finds_nothing() -> None:
    office = Office()
    run_id = await office.parked_run()
    with pytest.raises(RunNotFoundError):
        await office.resolve(run_id, by=EVE)
    assert await office.people.list_pending(EVE, 9) == []


async def test_there_is_nothing_to_decide_about_other_calls() -> None:
    office = Office()
    run_id = await office.parked_run()
    with pytest.raises(ApprovalNotFoundError):
        await office.resolve(run_id, number=1)
    with pytest.raises(RunNotFoundError):
        await office.people.resolve("none", f"{run_id}_1_0", APPROVE, BOB)


async def test_a_decision_may_come_before_the_call_is_announced() -> None:
    office = Office()
    run_id = await office.parked_run()
    office.approvals._open.clear()
    assert await office.pending() == []
    await office.resolve(run_id)
    await office.until_idle()
    assert (await office.state(run_id), len(office.tools.requests)) == ("completed", 1)


async def test_a_run_that_is_to_end_waits_for_nobody() -> None:
    office = Office()
    run_id = await office.parked_run()
    run = await office.journal.get("acme", run_id)
    assert run is not None
    await office.journal.request_cancel(msgspec.structs.replace(run, cancel_requested_at_ms=1))
    assert await office.pending() == []
    with pytest.raises(RunFinishedError):
        await office.resolve(run_id)


async def test_a_cancelled_run_leaves_nothing_to_decide() -> None:
    office = Office()
    run_id = await office.parked_run(calls=2)
    receipt = await office.runs.cancel(run_id, "enough", ADA)
    assert receipt.was_stopped
    assert receipt.never_begun_call_ids == (f"{run_id}_1_0", f"{run_id}_1_1")
    assert await office.pending() == []
    with pytest.raises(RunFinishedError):
        await office.resolve(run_id)
    state = (await office.runs.get(run_id, ADA)).state
    assert (state.state, state.approvals) == ("cancelled", ())
    assert state.messages[-1].role == "user", "each call of the turn has a result"
    assert office.tools.requests == []


@pytest.mark.parametrize("moment", range(0, 60, 3))
async def test_a_run_that_is_cancelled_while_it_is_parked_ends(moment: int) -> None:
    office = Office()
    view = await office.runs.start(await office.agent_that_asks(), "1", ADA)
    for _ in range(moment):
        await asyncio.sleep(0)
    receipt = await office.runs.cancel(view.run.run_id, "enough", ADA)
    assert receipt.state == "cancelled"
    await office.until_idle()
    assert await office.pending() == []


@pytest.mark.parametrize("moment", range(0, 60, 3))
async def test_of_a_decision_and_a_cancellation_both_hold(moment: int) -> None:
    office = Office()
    run_id = await office.parked_run()
    cancelling = asyncio.create_task(office.runs.cancel(run_id, "enough", ADA))
    for _ in range(moment):
        await asyncio.sleep(0)
    try:
        await office.resolve(run_id)
        is_decided = True
    except RunFinishedError:
        is_decided = False
    receipt = await cancelling
    await office.until_idle()
    # The run may have gone on to its end before the other had a word.
    assert receipt.state == "cancelled" or (is_decided and receipt.state == "completed")
    assert is_decided or office.tools.requests == []
    assert (await office.types(run_id)).count("run_finished") == 1


async def test_of_two_people_at_once_one_decides() -> None:
    for _ in range(20):
        office = Office()
        run_id = await office.parked_run()
        answers = await asyncio.gather(
            office.resolve(run_id, APPROVE),
            office.resolve(run_id, DENY, by=CAROL),
            office.resolve(run_id, Answer("approve", arguments_json='{"n":9}'), by=ADA),
            return_exceptions=True,
        )
        won = [answer for answer in answers if isinstance(answer, Approval)]
        lost = [answer for answer in answers if isinstance(answer, FailedPreconditionError)]
        assert (len(won), len(lost)) == (1, 2)
        await office.until_idle()
        assert await office.state(run_id) == "completed"
        assert len(office.tools.requests) == (won[0].state == "approved")
        types = await office.types(run_id)
        assert types.count("approval_resolved") == 1
        assert types.count("run_resumed") == 1


async def test_decisions_of_one_turn_are_each_taken_up_once() -> None:
    office = Office()
    run_id = await office.parked_run(calls=20)
    answers = [DENY if number % 3 == 0 else APPROVE for number in range(20)]
    await asyncio.gather(
        *(office.resolve(run_id, answer, number) for number, answer in enumerate(answers))
    )
    await office.until_idle()
    assert await office.state(run_id) == "completed"
    types = await office.types(run_id)
    assert types.count("approval_resolved") == 20
    assert types.count("tool_call_completed") == 20
    made = sorted(request.tool_call_id for request in office.tools.requests)
    passed = [f"{run_id}_1_{n}" for n, answer in enumerate(answers) if answer is APPROVE]
    assert made == sorted(passed)


@pytest.mark.parametrize("moment", range(60))
async def test_a_decision_at_any_moment_of_parking_is_not_lost(moment: int) -> None:
    office = Office()
    agent_id = await office.agent_that_asks()
    view = await office.runs.start(agent_id, "1", ADA)
    for _ in range(moment):
        await asyncio.sleep(0)
    run_id = view.run.run_id
    while True:
        try:
            await office.resolve(run_id)
            break
        except ApprovalNotFoundError:
            await asyncio.sleep(0)
    await office.until_idle()
    assert await office.state(run_id) == "completed"
    assert len(office.tools.requests) == 1


async def test_a_decision_at_the_instant_of_expiry_is_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcomes = set()
    for moment in range(30):
        office = Office()
        run_id = await office.parked_run()
        office.now_ms += TIMEOUT_SECONDS * 1000
        sweeping = asyncio.create_task(office.runs.take_over())
        for _ in range(moment):
            await asyncio.sleep(0)
        # A clock that is a little behind still sees the call as open.
        before_ms = office.now_ms - 1
        monkeypatch.setattr(office.people, "_now_ms", partial(int, before_ms))
        try:
            decided = (await office.resolve(run_id)).state
        except FailedPreconditionError:
            decided = "expired"
        await sweeping
        await office.until_idle()
        assert await office.state(run_id) == "completed"
        assert len(office.tools.requests) == (decided == "approved")
        assert (await office.types(run_id)).count("approval_resolved") == 1
        outcomes.add(decided)
    assert outcomes == {"approved", "expired"}


async def test_a_decision_at_another_executor_is_gone_on_with_there() -> None:
    office = Office()
    other = beside(office)
    run_id = await office.parked_run()
    await other.resolve(run_id)
    await other.until_idle()
    assert await office.state(run_id) == "completed"
    assert (len(office.tools.requests), len(other.tools.requests)) == (0, 1)


async def test_a_decision_whose_executor_died_is_found_by_another() -> None:
    office = Office()
    run_id = await office.parked_run()

    async def dies(run_id: str) -> None:
        raise UnavailableError(f"{run_id} is not gone on with.")

    office.people._wake = dies
    assert (await office.resolve(run_id)).state == "approved"
    assert await office.state(run_id) == "waiting"
    other = beside(office)
    await other.runs.take_over()
    await other.until_idle()
    assert await office.state(run_id) == "completed"
    assert len(other.tools.requests) == 1
    await other.runs.take_over()
    assert other.runs.active_count == 0, "it is found once"


async def test_an_executor_that_drains_leaves_the_run_to_others() -> None:
    office = Office()
    run_id = await office.parked_run()
    await office.runs.drain(0.0)
    await office.resolve(run_id)
    assert await office.state(run_id) == "waiting"
    other = beside(office)
    await other.runs.take_over()
    await other.until_idle()
    assert await office.state(run_id) == "completed"


async def test_without_room_the_run_goes_on_later() -> None:
    office = Office(max_active_runs=1, max_waiting_runs=0)
    run_id = await office.parked_run()
    office.tools.gate = asyncio.Event()
    view = await office.runs.start(await office.agent(tools={"email": True}), "1", ADA)
    blocking = view.run.run_id
    await office.tools.wait_until_asked()
    await office.resolve(run_id)
    assert await office.state(run_id) == "waiting"
    office.tools.gate.set()
    await office.until_idle()
    await office.runs.take_over()
    await office.until_idle()
    assert await office.state(run_id) == "completed"
    assert await office.state(blocking) == "completed"


async def test_parked_runs_hold_no_task_and_little_memory() -> None:
    count = 200
    office = Office(max_active_runs=64, max_waiting_runs=2_000)
    agent_id = await office.agent_that_asks()
    await office.runs.start(agent_id, "1", ADA)
    await office.until_idle()
    gc.collect()
    tasks_before = len(asyncio.all_tasks())
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(count):
        await office.runs.start(agent_id, "1", ADA)
    await office.until_idle()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(await office.people.list_pending(BOB, 2_000)) == count + 1
    assert len(asyncio.all_tasks()) == tasks_before
    assert office.runs.active_count == 0
    # In memory the journal itself is what there is: a few times its JSON, and nothing beside it.
    assert (after - before) / count < 12_000, after - before
