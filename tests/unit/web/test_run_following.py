from __future__ import annotations

import asyncio

import pytest

from agent_executor.api.executor.v1 import run_pb2
from agent_executor.errors import (
    AgentExecutorError,
    AgentInactiveError,
    DeadlineExceededError,
    LimitExceededError,
    RunNotFoundError,
    UnavailableError,
)
from agent_executor.web import run_following_grpc
from agent_executor.web.run_following_grpc import FollowedRun, RunFollower, RunUpdate
from tests.unit.web.runs import (
    RUN_ID,
    FakeExecutor,
    asks,
    decided,
    done,
    paused,
    started,
    text,
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_following_grpc, "_QUIET_SECONDS", 0.01)
    monkeypatch.setattr(run_following_grpc, "_POLL_SECONDS", 0.001)


def follower_of(executor: FakeExecutor, stopping: asyncio.Event | None = None) -> RunFollower:
    return RunFollower(
        executor.as_executor(), stopping or asyncio.Event(), "agent", "What?", "talk"
    )


async def followed(executor: FakeExecutor, stopping: asyncio.Event | None = None) -> FollowedRun:
    async def tell(update: RunUpdate) -> None:
        """Nobody listens."""

    return await follower_of(executor, stopping).follow(tell)


def never() -> asyncio.Event:
    return asyncio.Event()


async def test_a_run_that_ends_is_told_to_its_end() -> None:
    told: list[str] = []

    async def tell(update: RunUpdate) -> None:
        told.append(update.type)

    executor = FakeExecutor([started(), text("4"), text("2"), done()])
    run = (await follower_of(executor).follow(tell)).run
    assert told == ["run_started", "text_delta", "text_delta", "done"]
    assert (run.id, run.state, run.output.response) == (RUN_ID, "completed", "42")
    assert (run.tokens_used, run.cost_usd, run.conversation_id) == (7, 0.5, "talk")
    assert executor.keys[0], "a run without a key gets one"


async def test_a_run_that_is_refused_is_an_error() -> None:
    with pytest.raises(AgentInactiveError):
        await followed(FakeExecutor([AgentInactiveError("No.")]))


async def test_a_run_that_waits_is_left() -> None:
    result = await followed(FakeExecutor([started(), asks("one"), asks("two"), never()]))
    assert result.run.state == "waiting"
    sentence = "A person is to decide about a call of the tool send_email: It is outside."
    assert result.waits_for == f"{sentence} {sentence}"
    paid = await followed(FakeExecutor([started(), paused(), never()]))
    assert (paid.run.state, paid.waits_for) == (
        "paused",
        "The run waits for money: There is no money.",
    )


async def test_a_wait_of_the_past_is_passed_over() -> None:
    result = await followed(FakeExecutor([started(), asks(), decided(), done()]))
    assert (result.run.state, result.waits_for) == ("completed", "")
    executor = FakeExecutor([started(), asks(), decided(), never()], execution_timeout_seconds=0.1)
    assert (await followed(executor)).run.state == "running"


@pytest.mark.parametrize(
    "end", [[UnavailableError("Gone.")], [], [LimitExceededError("It cannot be told on.")]]
)
async def test_a_run_whose_stream_is_cut_is_asked_for(
    end: list[RunUpdate | AgentExecutorError],
) -> None:
    runs: list[run_pb2.Run | AgentExecutorError] = [
        UnavailableError("Away."),
        run_pb2.Run(id=RUN_ID, state="running"),
        run_pb2.Run(id=RUN_ID, state="completed"),
    ]
    result = await followed(FakeExecutor([started(), *end], runs))
    assert result.run.state == "completed"


async def test_a_cut_before_the_run_was_heard_of_is_an_error() -> None:
    with pytest.raises(UnavailableError):
        await followed(FakeExecutor([UnavailableError("Away.")]))
    with pytest.raises(UnavailableError):
        await followed(FakeExecutor([]))
    with pytest.raises(RunNotFoundError):
        await followed(FakeExecutor([started()], [RunNotFoundError("None.")]))


async def test_at_its_deadline_a_call_leaves_the_run() -> None:
    late = await followed(FakeExecutor([started(), never()], execution_timeout_seconds=0.01))
    assert (late.run.id, late.run.state) == (RUN_ID, "running")
    with pytest.raises(DeadlineExceededError):
        await followed(FakeExecutor([never()], execution_timeout_seconds=0.01))


async def test_a_process_that_stops_leaves_the_run() -> None:
    stopping = asyncio.Event()
    stopping.set()
    result = await followed(FakeExecutor([started(), never()]), stopping)
    assert result.run.state == "running"
    with pytest.raises(UnavailableError, match="stops"):
        await followed(FakeExecutor([never()]), stopping)


async def test_a_run_of_which_nothing_was_heard_is_cancelled_under_its_key() -> None:
    executor = FakeExecutor([started(), done()])
    await follower_of(executor).cancel("Enough.")
    assert executor.cancelled == [RUN_ID]
    assert executor.keys[0]


async def test_a_run_that_cannot_be_found_to_be_cancelled_is_given_up() -> None:
    executor = FakeExecutor([never()], request_timeout_seconds=0.01)
    with pytest.raises(DeadlineExceededError):
        await follower_of(executor).cancel("Enough.")


async def test_somebody_else_cancels_a_run_with_his_own_right() -> None:
    follower = follower_of(FakeExecutor([started(), done()]))
    other = FakeExecutor([])
    asking = asyncio.create_task(follower.cancel_for(other.as_executor(), "Enough."))

    async def tell(update: RunUpdate) -> None:
        """Nobody listens."""

    await follower.follow(tell)
    await asking
    assert other.cancelled == [RUN_ID]
    impatient_one = FakeExecutor([], request_timeout_seconds=0.01)
    with pytest.raises(DeadlineExceededError):
        await follower_of(FakeExecutor([])).cancel_for(impatient_one.as_executor(), "Enough.")
