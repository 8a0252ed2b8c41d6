"""Streams of runs: told at once, whole, bounded, and not at the run's expense."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from agent_executor.errors import AgentInactiveError, UnavailableError
from agent_executor.executor.driving.stopping import DeliveredText
from agent_executor.executor.journal.journal import IdempotencyKey
from agent_executor.executor.log.run import RunState
from agent_executor.executor.log.run_event import (
    RunFinished,
    RunStarted,
    ToolCallCompleted,
    ToolCallStarted,
)
from agent_executor.executor.log.run_log import RunLog
from agent_executor.executor.models.model import (
    OPERATOR_ACCESS,
    DeltaListener,
    ModelAccess,
    ModelDelta,
    ModelRequest,
    ModelResponse,
    ModelUsage,
    TextBlock,
)
from agent_executor.executor.runs.run_options import RunOptions
from agent_executor.executor.runs.run_view import RunView
from agent_executor.executor.streams import run_stream
from agent_executor.executor.streams.feed import RunFeed
from agent_executor.executor.streams.run_updates import (
    RunUpdate,
    Silence,
    StreamBroken,
    TextWritten,
)
from tests.unit.executor.platforms import ADA, CALCULATOR, Platform
from tests.unit.executor.worlds import ScriptedModel, World


class WritingModel:
    """A provider that writes what a test lets it."""

    name = "writing"

    def __init__(self) -> None:
        self.listeners: list[DeltaListener | None] = []
        self.asked = asyncio.Event()
        self.may_end = asyncio.Event()
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text
        (listener,) = self.listeners
        assert listener is not None
        listener(ModelDelta("text", 0, text))

    async def generate(
        self,
        request: ModelRequest,
        *,
        access: ModelAccess = OPERATOR_ACCESS,
        on_delta: DeltaListener | None = None,
    ) -> ModelResponse:
        del access
        self.listeners.append(on_delta)
        self.asked.set()
        await self.may_end.wait()
        return ModelResponse(
            "msg", request.model, (TextBlock(self.text),), "end_turn", ModelUsage(1, 1)
        )


def writing_platform(**options: object) -> tuple[Platform, WritingModel]:
    platform, model = Platform(**options), WritingModel()  # type: ignore[arg-type]  # passed on
    platform.runs._drivers._engine._model_turn._default_provider = model
    return platform, model


async def read(updates: AsyncIterator[RunUpdate]) -> list[RunUpdate]:
    return [update async for update in updates]


def text_of(updates: list[RunUpdate]) -> str:
    return "".join(
        update.change.text for update in updates if isinstance(update.change, TextWritten)
    )


async def until(
    updates: AsyncIterator[RunUpdate], holds: Callable[[RunUpdate], bool]
) -> list[RunUpdate]:
    read_so_far: list[RunUpdate] = []
    async for update in updates:
        read_so_far.append(update)
        if holds(update):
            break
    return read_so_far


async def test_a_run_with_a_tool_is_told_in_order() -> None:
    platform = Platform()
    agent_id = await platform.agent(tools=CALCULATOR)
    updates = await read(platform.runs.stream(agent_id, "What is 2 + 3?", ADA))
    done = updates[-1].change
    assert isinstance(done, RunView)
    assert await platform.runs.get(done.run.run_id, ADA) == done
    assert done.state.finished is not None
    assert text_of(updates) == done.state.finished.response
    kinds = [type(update.change) for update in updates]
    assert kinds.index(ToolCallStarted) < kinds.index(ToolCallCompleted) < kinds.index(TextWritten)
    sequences = [update.sequence for update in updates]
    assert sequences == sorted(sequences)
    assert sequences[-1] == done.run.last_sequence


async def test_text_is_told_while_the_model_writes() -> None:
    platform, model = writing_platform()
    updates = platform.runs.stream(await platform.agent(), "hi", ADA)
    reading = asyncio.create_task(until(updates, lambda update: text_of([update]) != ""))
    await model.asked.wait()
    model.write("Hel")
    assert text_of(await reading) == "Hel"
    model.write("lo")
    model.may_end.set()
    rest = await read(updates)
    assert text_of(rest) == "lo"


async def test_nobody_is_told_text_that_nobody_reads() -> None:
    platform, model = writing_platform()
    agent_id = await platform.agent()
    model.may_end.set()
    view = await platform.runs.execute(agent_id, "hi", ADA)
    assert [event async for event in platform.runs.follow(view.run.run_id, 0, ADA)]
    (delivered,) = model.listeners
    assert isinstance(delivered, DeliveredText)
    assert delivered._reader is None
    assert platform.runs.feed._channels == {}


async def test_text_that_comes_while_the_caller_is_busy_goes_out_together() -> None:
    platform, model = writing_platform()
    updates = platform.runs.stream(await platform.agent(), "hi", ADA)
    reading = asyncio.create_task(until(updates, lambda update: text_of([update]) != ""))
    await model.asked.wait()
    model.write("a")
    await reading
    # The caller does not ask for more meanwhile: the run goes on to its end all the same.
    for _ in range(10_000):
        model.write("b")
    model.may_end.set()
    await platform.runs.drain(5.0)
    rest = await read(updates)
    assert text_of(rest) == "b" * 10_000
    assert sum(isinstance(update.change, TextWritten) for update in rest) == 1
    assert isinstance(rest[-1].change, RunView)


async def test_text_is_told_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_stream, "TEXT_INTERVAL_SECONDS", 3_600.0)
    platform, model = writing_platform()
    updates = platform.runs.stream(await platform.agent(), "hi", ADA)
    reading = asyncio.create_task(read(updates))
    await model.asked.wait()
    model.write("a")
    for _ in range(20):
        await asyncio.sleep(0)
        model.write("b")
    # The end does not wait for the interval.
    model.may_end.set()
    told = await reading
    texts = [update.change.text for update in told if isinstance(update.change, TextWritten)]
    assert texts[0].startswith("a")
    assert len(texts) == 2
    assert "".join(texts) == "a" + "b" * 20


async def test_a_refusal_is_an_error_and_no_update() -> None:
    platform = Platform()
    agent_id = await platform.agent(is_active=False)
    with pytest.raises(AgentInactiveError):
        await read(platform.runs.stream(agent_id, "hi", ADA))


async def test_a_run_that_cannot_be_recorded_is_an_error() -> None:
    platform = Platform()
    agent_id = await platform.agent()

    async def fail(*_: object) -> str:
        raise UnavailableError("The disk is full.")

    platform.journal.create = fail  # type: ignore[method-assign, assignment]  # a test's own
    with pytest.raises(UnavailableError):
        await read(platform.runs.stream(agent_id, "hi", ADA))


async def test_a_caller_that_goes_away_does_not_stop_the_run() -> None:
    platform, model = writing_platform()
    updates = platform.runs.stream(await platform.agent(), "hi", ADA)
    first = await anext(updates)
    await updates.aclose()
    model.may_end.set()
    await platform.runs.drain(5.0)
    assert (await platform.runs.get(first.run_id, ADA)).state.state == "completed"


@pytest.mark.parametrize("way", ["stream", "execute"])
@pytest.mark.parametrize("on_disconnect", ["", "continue", "cancel"])
async def test_a_run_that_is_bound_to_its_caller_ends_with_it(way: str, on_disconnect: str) -> None:
    platform, model = writing_platform()
    agent_id = await platform.agent()
    if way == "stream":
        updates = platform.runs.stream(agent_id, "hi", ADA, RunOptions(on_disconnect=on_disconnect))
        calling: asyncio.Task[object] = asyncio.create_task(read(updates))
    else:
        executing = platform.runs.execute(
            agent_id, "hi", ADA, RunOptions(on_disconnect=on_disconnect)
        )
        calling = asyncio.create_task(executing)
    await model.asked.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    if on_disconnect != "cancel":
        model.may_end.set()
    await platform.runs.drain(5.0)
    (run,) = await platform.runs.list_runs(ADA, 10)
    assert run.state == ("cancelled" if on_disconnect == "cancel" else "completed")
    # It was nobody's decision.
    assert run.cancel_user_id == ""


async def test_an_executor_that_stops_ends_no_run_with_its_callers() -> None:
    platform, model = writing_platform()
    agent_id = await platform.agent()
    executing = platform.runs.execute(agent_id, "hi", ADA, RunOptions(on_disconnect="cancel"))
    calling = asyncio.create_task(executing)
    await model.asked.wait()
    platform.runs.begin_drain()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    model.may_end.set()
    await platform.runs.drain(5.0)
    assert [run.state for run in await platform.runs.list_runs(ADA, 10)] == ["completed"]


async def test_a_silent_stream_gives_signs_of_life() -> None:
    platform, model = writing_platform()
    updates = platform.runs.stream(await platform.agent(), "hi", ADA, silence_seconds=0.001)
    seen = await until(updates, lambda update: isinstance(update.change, Silence))
    assert seen[-1].sequence >= 0
    model.may_end.set()
    assert isinstance((await read(updates))[-1].change, RunView)


async def test_an_executor_that_stops_says_so_in_its_streams() -> None:
    platform, model = writing_platform()
    updates = platform.runs.stream(await platform.agent(), "hi", ADA)
    seen = await until(updates, lambda update: update.sequence >= 1)
    reading = asyncio.create_task(read(updates))
    await model.asked.wait()
    platform.runs.feed.close()
    broken = (await reading)[-1]
    assert isinstance(broken.change, StreamBroken)
    assert broken.change.code == "UNAVAILABLE"
    assert seen[0].run_id in broken.change.error
    with pytest.raises(UnavailableError):
        async for _ in platform.runs.follow(seen[0].run_id, 0, ADA):
            pass
    model.may_end.set()
    await platform.runs.drain(5.0)


async def test_a_stream_goes_on_when_another_executor_has_taken_the_run_over() -> None:
    dead, _ = writing_platform(worker="dead")
    dead.runs.feed._poll_interval_seconds = 0.001
    updates = dead.runs.stream(await dead.agent(), "hi", ADA)
    seen = await until(updates, lambda update: update.sequence >= 1)
    for driving in list(dead.runs._drivers._driving):
        driving.cancel()
    heir = Platform(journal=dead.journal, store=dead.store, worker="heir")
    assert await heir.runs.take_over() == 1
    rest = await read(updates)
    done = rest[-1].change
    assert isinstance(done, RunView)
    assert done.state.state == "completed"
    assert (await heir.runs.get(seen[0].run_id, ADA)).state == done.state
    assert done.state.finished is not None
    assert text_of(rest) == done.state.finished.response
    await heir.runs.drain(5.0)


async def test_a_reader_that_is_far_behind_reads_the_journal() -> None:
    platform = Platform()
    agent_id = await platform.agent(tools=CALCULATOR)
    feed = RunFeed(platform.journal, poll_interval_seconds=0.001)
    view = await platform.runs.execute(agent_id, "What is 2 + 3?", ADA)
    events = await platform.journal.events(view.run.run_id)
    with feed.reading(view.run.run_id) as reader:
        # Only the latest are at hand: what is before them is read.
        feed.committed(view.run, events[-2:])
        assert await reader.wait()
        assert await reader.events(0) == events
        assert await reader.events(len(events) - 1) == events[-1:]
        assert not await reader.wait(0.0)


async def test_one_look_finds_the_news_of_all_runs() -> None:
    here, there = Platform(), Platform()
    there.journal = here.journal
    feed = RunFeed(here.journal, poll_interval_seconds=0.001)
    agent_id = await here.agent()
    views = [await here.runs.start(agent_id, "hi", ADA) for _ in range(5)]

    async def follow(run_id: str) -> int:
        return len([event async for event in feed.follow(run_id)])

    counts = await asyncio.gather(*(follow(view.run.run_id) for view in views))
    await here.runs.drain(5.0)
    assert len(set(counts)) == 1
    assert feed._polling is None


async def test_events_of_another_executor_are_not_skipped() -> None:
    platform = Platform()
    agent_id = await platform.agent(tools=CALCULATOR)
    feed = RunFeed(platform.journal, poll_interval_seconds=3_600.0)
    view = await platform.runs.execute(agent_id, "What is 2 + 3?", ADA)
    events = await platform.journal.events(view.run.run_id)
    with feed.reading(view.run.run_id) as reader:
        feed.committed(view.run, events[:2])
        assert await reader.events(0) == events[:2]
        # The run went away and came back: what is between is only in the journal.
        feed.committed(view.run, events[4:6])
        assert await reader.events(2) == events[2:]


async def test_a_run_that_is_given_up_without_news_is_so_before_readers_too() -> None:
    world = World(ScriptedModel([]))
    feed = RunFeed(world.journal, poll_interval_seconds=3_600.0)
    log = RunLog(world.journal, world.log.run, RunState(), lambda: 1_000, feed)
    log.add(RunStarted("agent", 1, "model", "hello"))
    with feed.reading("run") as reader:
        await log.commit()
        assert [event.sequence for event in await reader.events(0)] == [1]
        assert not await reader.wait(0.0)
        await log.park(5_000)
        assert not await reader.wait(0.0)
    assert log.is_parked


async def test_a_run_that_waits_for_its_turn_is_streamed_once_it_has_come() -> None:
    platform, model = writing_platform(max_active_runs=1)
    agent_id = await platform.agent()
    first = asyncio.create_task(platform.runs.execute(agent_id, "first", ADA))
    await model.asked.wait()
    updates = platform.runs.stream(agent_id, "second", ADA)
    started = await anext(updates)
    run_id = started.run_id
    assert (await platform.runs.get(run_id, ADA)).run.state == "pending"
    model.may_end.set()
    rest = await read(updates)
    assert isinstance(rest[-1].change, RunView)
    assert rest[-1].change.state.state == "completed"
    assert (await first).state.state == "completed"


async def test_the_repeat_of_a_call_is_told_of_the_same_run() -> None:
    platform = Platform()
    agent_id = await platform.agent(tools=CALCULATOR)
    options = RunOptions(key=IdempotencyKey("key", "digest"))
    first = await read(platform.runs.stream(agent_id, "What is 2 + 3?", ADA, options))
    again = await read(platform.runs.stream(agent_id, "What is 2 + 3?", ADA, options))
    assert text_of(again) == text_of(first)
    assert [update for update in again if not text_of([update])] == [
        update for update in first if not text_of([update])
    ]
    assert {update.run_id for update in again} == {first[0].run_id}
    assert len(await platform.runs.list_runs(ADA, 10)) == 1


async def test_a_caller_that_goes_away_from_the_queue_ends_its_run() -> None:
    platform, model = writing_platform(max_active_runs=1)
    agent_id = await platform.agent()
    first = asyncio.create_task(platform.runs.execute(agent_id, "first", ADA))
    await model.asked.wait()
    updates = platform.runs.stream(agent_id, "second", ADA, RunOptions(on_disconnect="cancel"))
    run_id = (await anext(updates)).run_id
    await updates.aclose()
    # It needs no place for that.
    followed = [event async for event in platform.runs.follow(run_id, 0, ADA)]
    assert isinstance(followed[-1].payload, RunFinished)
    assert followed[-1].payload.state == "cancelled"
    model.may_end.set()
    assert (await first).state.state == "completed"
