"""Places: so many and no more, and those who wait get them in their order."""

from __future__ import annotations

import asyncio

import pytest

from agent_executor.executor.driving.places import Places


class Counting(Places):
    def __init__(self, count: int) -> None:
        self.frees = 0
        super().__init__(count, self._count)

    def _count(self) -> None:
        self.frees += 1


async def test_no_more_are_taken_than_there_are_and_who_holds_them_is_known() -> None:
    places = Counting(2)
    assert [places.take_now(name) for name in ("a", "b", "a")] == [True, True, False]
    assert dict(places.held) == {"a": 1, "b": 1}
    places.give_back("a")
    assert (places.free, places.frees, dict(places.held)) == (1, 1, {"b": 1})


async def test_those_who_wait_come_in_their_order_and_before_newcomers() -> None:
    places = Counting(1)
    assert places.take_now("a")
    order: list[str] = []

    async def wait(name: str) -> None:
        assert await places.take(name)
        order.append(name)

    waiting = [asyncio.create_task(wait(name)) for name in ("b", "c")]
    await asyncio.sleep(0)
    places.give_back("a")
    assert not places.take_now("newcomer")
    await waiting[0]
    places.give_back("b")
    await waiting[1]
    assert (order, places.frees, dict(places.held)) == (["b", "c"], 0, {"c": 1})


@pytest.mark.parametrize("is_given", [False, True])
async def test_a_waiter_that_goes_away_costs_no_place(is_given: bool) -> None:
    places = Counting(1)
    places.take_now("a")
    waiting = asyncio.create_task(places.take("b"))
    await asyncio.sleep(0)
    if is_given:
        places.give_back("a")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    if not is_given:
        places.give_back("a")
    assert (places.free, places.frees, dict(places.held)) == (1, 1, {})


async def test_when_closed_nobody_waits_any_more() -> None:
    places = Counting(1)
    places.take_now("a")
    waiting = asyncio.create_task(places.take("b"))
    await asyncio.sleep(0)
    places.close()
    assert not await waiting
    places.give_back("a")
    assert not await places.take("c")
    assert (places.free, dict(places.held)) == (1, {})
