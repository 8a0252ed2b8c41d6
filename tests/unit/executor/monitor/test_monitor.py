"""Watching an organization's runs: who is told what, and how it ends."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from agent_executor.errors import (
    AgentExecutorError,
    InvalidArgumentError,
    LimitExceededError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from agent_executor.executor.api_keys.api_key import ApiKey
from agent_executor.executor.journal.journal_memory import MemoryJournal
from agent_executor.executor.log.run_event import ModelCallStarted, RunEvent
from agent_executor.executor.monitor import monitor as monitor_module
from agent_executor.executor.monitor import organization_feed, watcher
from agent_executor.executor.monitor.activity import ActivityFilter
from agent_executor.executor.monitor.monitor import MAX_SINCE_MS
from agent_executor.executor.monitor.run_news_memory import MemoryRunNews
from agent_executor.serving.security import SecurityContext
from tests.unit.executor.monitor.watching import (
    ADA,
    ALL,
    EVE,
    WatchedExecutor,
    finish,
    model_call,
    sequences,
)


async def refusal_of(
    executor: WatchedExecutor,
    security: SecurityContext = ADA,
    activity_filter: ActivityFilter = ALL,
    since_ms: int | None = None,
) -> AgentExecutorError:
    """Returns why a caller may not watch."""
    with pytest.raises(AgentExecutorError) as raised:
        await anext(executor.monitor.watch(security, activity_filter, since_ms))
    return raised.value


async def test_each_event_is_told_with_what_the_run_has_used_by_it() -> None:
    executor = WatchedExecutor()
    async with executor.watching() as caller:
        log = await executor.start()
        await model_call(log)
        await model_call(log, 2)
        await finish(log)
        told = [await caller.hear() for _ in range(8)]
    happened = [activity.happened for activity in told]
    assert [each.event.sequence for each in happened if each] == list(range(1, 9))
    assert [tuple(each.sums) for each in happened if each] == [
        (0, 0),
        (0, 0),
        (30, 0),
        (30, 5),
        (30, 5),
        (60, 5),
        (60, 10),
        (60, 10),
    ]


async def test_what_was_before_is_not_told_and_its_sums_count() -> None:
    executor = WatchedExecutor()
    log = await executor.start()
    await model_call(log)
    async with executor.watching() as caller:
        await model_call(log, 2)
        first = await caller.hear()
    assert first.happened is not None
    assert first.happened.event.sequence == 5
    assert first.happened.sums == (30, 5)


async def test_what_another_executor_commits_is_told_without_a_gap() -> None:
    here = WatchedExecutor()
    there = WatchedExecutor(here.journal, clock=here.clock, name="w/2")
    log = await there.start()
    async with here.watching() as caller:
        await model_call(log)
        await caller.hear_until(log, 4)
        heir = await here.take_over(log.run.run_id)
        await finish(heir)
        await caller.hear_until(heir, 6)
    assert sequences(caller.told[log.run.run_id]) == [2, 3, 4, 5, 6]


async def test_a_run_that_begins_and_ends_elsewhere_between_two_looks_is_told() -> None:
    here = WatchedExecutor()
    there = WatchedExecutor(here.journal, clock=here.clock, name="w/2")
    async with here.watching() as caller:
        log = await there.start()
        await finish(log)
        await caller.hear_until(log, 2)
    assert sequences(caller.told[log.run.run_id]) == [1, 2]


async def test_the_end_of_a_run_by_a_clock_that_is_far_off_is_told() -> None:
    here = WatchedExecutor()
    there = WatchedExecutor(here.journal, name="w/2")
    there.clock.now_ms = here.clock.now_ms
    log = await there.start()
    async with here.watching() as caller:
        there.clock.now_ms -= 3_600_000
        await finish(log)
        await caller.hear_until(log, 2)
    assert sequences(caller.told[log.run.run_id]) == [2]


async def test_many_events_of_another_executor_are_read_from_the_journal() -> None:
    here = WatchedExecutor()
    there = WatchedExecutor(here.journal, clock=here.clock, name="w/2")
    log = await there.start()
    async with here.watching() as caller:
        for number in range(1, 40):
            log.add(ModelCallStarted(f"call {number}", number))
        await log.commit()
        await caller.hear_until(log, 40)
    assert sequences(caller.told[log.run.run_id]) == list(range(2, 41))


@pytest.mark.parametrize("since_seconds", [0, 5, 3_600])
async def test_since_a_time_is_told_what_happened_from_shortly_before_it(
    since_seconds: int,
) -> None:
    executor = WatchedExecutor()
    log = await executor.start()
    ended = await executor.start()
    executor.clock.now_ms += 3_590_000
    await model_call(log)
    await finish(ended)
    executor.clock.now_ms += 10_000
    since_ms = executor.clock.now_ms - since_seconds * 1000
    async with executor.watching(since_ms=since_ms) as caller:
        await caller.hear_until(log, 4)
        await caller.hear_until(ended, 2)
        assert caller.last_told_at_ms == since_ms
        await finish(log)
        await caller.hear_until(log, 5)
    first = 1 if since_seconds == 3_600 else 2
    assert sequences(caller.told[log.run.run_id]) == list(range(first, 6))
    assert sequences(caller.told[ended.run.run_id]) == list(range(first, 3))


async def test_the_sums_of_what_is_told_again_are_those_of_the_first_time() -> None:
    executor = WatchedExecutor()
    log = await executor.start()
    await model_call(log)
    executor.clock.now_ms += 60_000
    await model_call(log, 2)
    async with executor.watching(since_ms=executor.clock.now_ms) as caller:
        told = [(await caller.hear()).happened for _ in range(3)]
    assert [tuple(each.sums) for each in told if each] == [(30, 5), (60, 5), (60, 10)]


async def test_a_filter_leaves_out_other_agents_runs_and_events() -> None:
    executor = WatchedExecutor()
    async with (
        executor.watching(activity_filter=ActivityFilter(agent_id="mine")) as of_agent,
        executor.watching(
            activity_filter=ActivityFilter(event_types=frozenset({"run_finished"}))
        ) as of_ends,
    ):
        other = await executor.start(agent_id="other")
        mine = await executor.start(agent_id="mine")
        await finish(other)
        await finish(mine)
        async with executor.watching(
            activity_filter=ActivityFilter(run_id=mine.run.run_id),
            since_ms=executor.clock.now_ms,
        ) as of_run:
            await of_agent.hear_until(mine, 2)
            await of_ends.hear_until(mine, 2)
            await of_run.hear_until(mine, 2)
    assert list(of_agent.told) == list(of_run.told) == [mine.run.run_id]
    assert {run_id: sequences(events) for run_id, events in of_ends.told.items()} == {
        other.run.run_id: [2],
        mine.run.run_id: [2],
    }


async def test_another_organization_is_told_nothing_of_it() -> None:
    executor = WatchedExecutor()
    executor.monitor.silence_seconds = 0.3
    hidden = await executor.start()
    async with executor.watching(EVE, since_ms=executor.clock.now_ms) as eve:
        await finish(hidden)
        own = await executor.start("other")
        await eve.hear_until(own, 1)
        assert (await eve.hear()).happened is None
        of_run = ActivityFilter(run_id=hidden.run.run_id)
        async with executor.watching(EVE, of_run, executor.clock.now_ms) as curious:
            assert (await curious.hear()).happened is None
    assert list(eve.told) == [own.run.run_id]


async def test_who_may_not_read_runs_may_not_watch_them() -> None:
    error = await refusal_of(
        WatchedExecutor(), replace(ADA, permissions=frozenset({"run:execute"}))
    )
    assert isinstance(error, PermissionDeniedError)


async def test_what_cannot_be_told_is_refused() -> None:
    executor = WatchedExecutor()
    unknown = await refusal_of(executor, ADA, ActivityFilter(event_types=frozenset({"coffee"})))
    assert isinstance(unknown, InvalidArgumentError)
    assert "run_started" in unknown.message
    since_ms = executor.clock.now_ms - MAX_SINCE_MS - 1
    assert isinstance(await refusal_of(executor, since_ms=since_ms), InvalidArgumentError)


async def test_silence_is_told_and_says_since_when_nothing_is_missed() -> None:
    executor = WatchedExecutor()
    executor.monitor.silence_seconds = 0.01
    async with executor.watching() as caller:
        executor.clock.now_ms += 1
        while caller.last_told_at_ms != executor.clock.now_ms:
            assert (await caller.hear()).happened is None


async def test_so_many_of_an_organization_watch_and_no_more() -> None:
    executor = WatchedExecutor(max_watchers_per_organization=1)
    async with executor.watching():
        assert isinstance(await refusal_of(executor), LimitExceededError)
        async with executor.watching(EVE):
            pass
    async with executor.watching():
        pass


async def test_who_does_not_read_is_told_all_of_so_many_runs_and_refused_beyond(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watcher, "MAX_RUNS_WITH_NEWS", 5)
    executor = WatchedExecutor()
    async with executor.watching() as slow, executor.watching() as slower:
        logs = [await executor.start() for _ in range(5)]
        for log in logs:
            for number in range(1, 4):
                await model_call(log, number)
        for log in logs:
            await slow.hear_until(log, 10)
        more = await executor.start()
        await slow.hear_until(more, 1)
        with pytest.raises(LimitExceededError):
            await slower.hear()
    assert all(sequences(slow.told[log.run.run_id]) == list(range(1, 11)) for log in logs)


async def test_a_time_since_which_too_many_runs_went_on_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(monitor_module, "MAX_RUNS_WITH_NEWS", 2)
    executor = WatchedExecutor()
    for _ in range(3):
        await executor.start()
    with pytest.raises(LimitExceededError):
        async with executor.watching(since_ms=executor.clock.now_ms) as caller:
            await caller.hear()


async def test_what_is_told_late_says_since_when_it_was_to_be_told() -> None:
    executor = WatchedExecutor()
    async with executor.watching() as caller:
        first = await executor.start()
        noted_at_ms = executor.clock.now_ms
        executor.clock.now_ms += 60_000
        second = await executor.start()
        await model_call(first)
        await caller.hear_until(first, 4)
        # Whoever comes back by this time is told of the second run, too.
        assert caller.last_told_at_ms == noted_at_ms
        await caller.hear_until(second, 1)
        assert noted_at_ms < caller.last_told_at_ms <= executor.clock.now_ms


async def test_an_executor_that_stops_ends_the_watching_and_takes_no_more() -> None:
    executor = WatchedExecutor()
    async with executor.watching() as caller:
        executor.monitor.close()
        with pytest.raises(UnavailableError):
            await caller.hear()
    assert isinstance(await refusal_of(executor), UnavailableError)


def hears_of_commits(executor: WatchedExecutor) -> bool:
    """Tells whether each commit of a process costs it anything."""
    return executor.feed.on_commit is not None


async def test_who_watches_no_more_costs_nothing() -> None:
    executor = WatchedExecutor()
    async with executor.watching(), executor.watching(EVE):
        assert hears_of_commits(executor)
    assert not hears_of_commits(executor)
    assert executor.monitor._feeds == {}


async def test_a_token_that_ends_ends_the_watching() -> None:
    executor = WatchedExecutor()
    executor.monitor.silence_seconds = 0.01
    security = replace(ADA, expires_at=executor.clock.now_ms / 1000 + 10)
    executor.monitor.clock_skew_seconds = 5
    async with executor.watching(security) as caller:
        executor.clock.now_ms += 14_999
        await caller.hear()
        executor.clock.now_ms += 1
        with pytest.raises(UnauthenticatedError):
            await caller.hear()


async def test_a_key_is_looked_up_again_when_its_token_ends() -> None:
    executor = WatchedExecutor()
    executor.monitor.silence_seconds = 0.01
    executor.monitor.clock_skew_seconds = 30
    now_ms = executor.clock.now_ms
    await executor.keys.create(
        ApiKey(
            key_id="key",
            organization_id="acme",
            user_id="ada",
            name="",
            digest=b"",
            hint="",
            permissions=("run:read",),
            kind="key",
            created_by="ada",
            created_at_ms=now_ms,
            expires_at_ms=now_ms + 600_000,
        ),
        active_max=10,
        ended_before_ms=0,
    )
    security = replace(ADA, api_key_id="key", expires_at=now_ms / 1000 + 15)
    async with executor.watching(security) as caller, executor.watching(security) as lasting:
        executor.clock.now_ms += 16_000
        await caller.hear()
        await executor.keys.revoke("acme", "key", executor.clock.now_ms)
        await caller.hear()
        executor.clock.now_ms += 15_000
        with pytest.raises(UnauthenticatedError):
            await caller.hear()
        with pytest.raises(UnauthenticatedError):
            await lasting.hear()
    assert math.isinf(ADA.expires_at)


class BrokenNews(MemoryRunNews):
    """News that cannot be had at times."""

    is_away = False

    async def last_sequences(self, organization_id: str, ended_since_ms: int) -> dict[str, int]:
        """See ``RunNews``."""
        if self.is_away:
            raise UnavailableError("The database cannot be read at the moment.")
        return await super().last_sequences(organization_id, ended_since_ms)


async def test_while_the_journal_cannot_be_read_no_later_time_is_told() -> None:
    journal = MemoryJournal()
    news = BrokenNews(journal)
    executor = WatchedExecutor(journal, news)
    executor.monitor.silence_seconds = 0.01
    async with executor.watching() as caller:
        readable_ms = executor.clock.now_ms
        news.is_away = True
        executor.clock.now_ms += 60_000
        for _ in range(50):
            assert (await caller.hear()).told_at_ms == readable_ms
        assert isinstance(await refusal_of(executor), UnavailableError)
        news.is_away = False
        log = await executor.start()
        await caller.hear_until(log, 1)


async def test_a_fault_in_the_telling_does_not_reach_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> Sequence[RunEvent]:
        raise RuntimeError("a bug")

    executor = WatchedExecutor()
    async with executor.watching() as caller:
        with monkeypatch.context() as patched:
            patched.setattr(organization_feed, "activities_of", broken)
            log = await executor.start()
        # What was not noted is found in the journal.
        await caller.hear_until(log, 1)


async def test_a_caller_that_goes_away_while_it_waits_is_forgotten() -> None:
    executor = WatchedExecutor()
    async with executor.watching() as caller:
        hearing = asyncio.create_task(caller.hear())
        await asyncio.sleep(0)
        hearing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hearing
    assert executor.monitor._feeds == {}
