"""A ledger that is away: how long it is waited for, and what becomes of holds and cancelled runs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent_executor.errors import BudgetExceededError, FailedPreconditionError, UnavailableError
from agent_executor.executor.log.run_event import CancelRequested, RunStarted
from agent_executor.executor.model_calls import late_releases
from agent_executor.executor.model_calls.late_releases import LateReleases
from agent_executor.executor.model_calls.model_call import ModelLimits
from agent_executor.executor.models.model import TextBlock
from agent_executor.executor.peers import retries
from agent_executor.executor.peers.retries import LONGEST_DELAY_SECONDS, Retries
from agent_executor.executor.runs.cancel_receipt import receipt_of
from tests.unit.executor.memory_ledger import MemoryLedger
from tests.unit.executor.platforms import ADA
from tests.unit.executor.test_cancel import OpenModel, until
from tests.unit.executor.worlds import ScriptedModel, World, use

PATIENT = ModelLimits(ledger_patience_seconds=60.0)
AWAY = UnavailableError("the ledger is away")
WHY = CancelRequested("bob", "too slow")
LIMITED = RunStarted("agent", 1, "model", "hello", max_cost_nano_usd=10**6)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_DELAY_SECONDS", 0.0)
    monkeypatch.setattr(late_releases, "PROMPT_SECONDS", 0.05)


class TestPatience:
    async def test_a_ledger_that_comes_back_in_time_costs_the_run_nothing(self) -> None:
        world = World(ScriptedModel([[TextBlock("hi")]]), model_limits=PATIENT)
        world.ledger.unavailable_times = 3
        state = await world.drive()
        assert (state.state, state.turn) == ("completed", 1)
        assert set(world.ledger.reserved) == {"run_1_m1"}, "it is the same hold again"

    async def test_an_answer_that_is_no_absence_is_not_waited_out(self) -> None:
        world = World(ScriptedModel([]), model_limits=PATIENT)
        world.ledger.error = BudgetExceededError("nothing is left")
        assert (await world.drive()).state == "budget_exceeded"

    async def test_a_hold_that_comes_too_late_is_freed(self) -> None:
        world = World(ScriptedModel([]))
        hang_after_reserve(world.ledger)
        assert (await world.drive()).state == "failed"
        assert world.ledger.voided == {"run_1_m1"}


class TestCancelled:
    async def test_a_run_that_waits_for_the_ledger_ends_at_once(self) -> None:
        model = OpenModel()
        world = World(model, model_limits=PATIENT)
        asked = hang_after_reserve(world.ledger)
        await drive_until(world, asked.wait())
        assert model.calls == 0
        assert world.ledger.voided == {"run_1_m1"}
        said = receipt_of("run", await world.journal.events("run"), ())
        assert (said.state, said.was_stopped, said.stopped_call_ids) == ("cancelled", True, ())

    async def test_a_run_between_two_tries_ends_at_once(self) -> None:
        world = World(ScriptedModel([]), model_limits=PATIENT)
        asked = asyncio.Event()

        async def reserve(*arguments: object) -> int:
            asked.set()
            raise AWAY

        world.ledger.reserve = reserve  # type: ignore[assignment, method-assign]  # a test's own
        await drive_until(world, asked.wait())

    async def test_what_cannot_be_freed_is_not_waited_for_and_freed_later(self) -> None:
        world = World(ScriptedModel([[use()]]), started=LIMITED)
        world.tools.gate = asyncio.Event()
        driving = asyncio.create_task(world.drive())
        await world.tools.wait_until_asked()
        await until(lambda: bool(world.ledger.settled))
        is_back = be_away(world.ledger)
        world.log.request_cancel(WHY)
        assert (await driving).state == "cancelled"
        said = receipt_of("run", await world.journal.events("run"), ())
        assert said.released_nano_usd == 0, "it is not free again yet"
        assert world.ledger.open_nano_usd > 0
        is_back.set()
        await until(lambda: world.ledger.open_nano_usd == 0)
        await world.engine.close()

    async def test_what_a_stopped_call_cost_is_waited_for(self) -> None:
        model = OpenModel("some text")
        world = World(model)
        driving = asyncio.create_task(world.drive())
        await model.begun.wait()
        is_back = be_away(world.ledger)
        world.log.request_cancel(WHY)
        await until(lambda: not model.is_open)
        for _ in range(100):
            await asyncio.sleep(0)
        assert not driving.done()
        assert (await world.stored()).cancel == WHY, "that it was stopped is durable"
        is_back.set()
        state = await driving
        said = receipt_of("run", await world.journal.events("run"), ())
        assert state.cost_nano_usd == said.cost_nano_usd == world.ledger.spent_nano_usd > 0
        assert said.stopped_call_ids == ("run_1_m1",)
        assert world.ledger.open_nano_usd == 0


class TestReleases:
    async def test_many_are_freed_one_after_the_other(self) -> None:
        ledger = RefusingLedger(tries=50)
        releases = LateReleases(ledger, Retries())  # type: ignore[arg-type]  # a test's own
        freed = await asyncio.gather(*(releases.free(str(number), ADA) for number in range(50)))
        assert freed == [False] * 50
        await until(lambda: len(ledger.voided) == 50)
        assert ledger.at_once == 1
        await releases.close()

    async def test_what_ended_otherwise_is_not_tried_again(self) -> None:
        ledger = RefusingLedger(tries=0, error=FailedPreconditionError("it is settled"))
        releases = LateReleases(ledger, Retries())  # type: ignore[arg-type]  # a test's own
        assert not await releases.free("one", ADA)
        assert ledger.asked == 1

    async def test_there_is_a_most_that_waits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(late_releases, "WAITING_MAX", 2)
        ledger = RefusingLedger(tries=10**9)
        releases = LateReleases(ledger, Retries())  # type: ignore[arg-type]  # a test's own
        for name in "abc":
            assert not await releases.free(name, ADA)
        assert set(releases._waiting) == {"a", "b"}
        await releases.close()


class TestRetries:
    def test_each_waits_longer_up_to_a_most(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retries, "FIRST_DELAY_SECONDS", 0.1)
        spaced = Retries(jitter=lambda: 1.0, clock=lambda: 0.0, per_second=10**9)
        delays = [spaced.delay_seconds(tries) for tries in range(1, 8)]
        assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])
        assert spaced.delay_seconds(10**6) == LONGEST_DELAY_SECONDS
        half = Retries(jitter=lambda: 0.0, clock=lambda: 0.0, per_second=10**9)
        assert half.delay_seconds(1) == pytest.approx(0.05)

    def test_however_many_wait_so_many_are_made_in_a_second(self) -> None:
        now = 100.0
        spaced = Retries(clock=lambda: now, per_second=100)
        delays = sorted(spaced.delay_seconds(1) for _ in range(1_000))
        assert delays[-1] == pytest.approx(9.99)
        for second in range(10):
            assert sum(second <= delay < second + 1 for delay in delays) <= 101
        now += 60
        assert spaced.delay_seconds(1) == 0


class RefusingLedger:
    """Refuses the first tries to free something."""

    def __init__(self, tries: int, error: Exception = AWAY) -> None:
        self.left, self.error = tries, error
        self.voided: list[str] = []
        self.asked = self.running = self.at_once = 0

    async def void(self, reservation_id: str, security: object) -> None:
        del security
        self.asked += 1
        if self.left or self.error is not AWAY:
            self.left -= 1
            raise self.error
        self.running += 1
        self.at_once = max(self.at_once, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        self.voided.append(reservation_id)


def hang_after_reserve(ledger: MemoryLedger) -> asyncio.Event:
    """Lets the ledger hold money and never say so; returns what tells that it was asked."""
    reserve, asked = ledger.reserve, asyncio.Event()

    async def hang(*arguments: Any) -> int:
        await reserve(*arguments)
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    ledger.reserve = hang  # type: ignore[assignment, method-assign]  # a test's own
    return asked


def be_away(ledger: MemoryLedger) -> asyncio.Event:
    """Takes the ledger away until the event is set, as one that cannot be reached."""
    is_back = asyncio.Event()
    for name in ("settle", "void", "find_hold"):
        method = getattr(ledger, name)

        async def answer(*arguments: Any, method: Any = method) -> Any:
            if not is_back.is_set():
                await asyncio.sleep(0)
                raise AWAY
            return await method(*arguments)

        setattr(ledger, name, answer)
    return is_back


async def drive_until(world: World, begun: Any) -> None:
    """Drives a run, asks for its end once something has begun, and expects that it ends so."""
    driving = asyncio.create_task(world.drive())
    await begun
    world.log.request_cancel(WHY)
    async with asyncio.timeout(60):
        assert (await driving).state == "cancelled"
