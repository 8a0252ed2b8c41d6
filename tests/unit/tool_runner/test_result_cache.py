from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent_executor.errors import ToolExecutionError
from agent_executor.tool_runner.calls.context import CallContext
from agent_executor.tool_runner.calls.result_cache import CacheKey, ResultCache, cache_key


class Gate:
    """A tool that counts its runs and waits until it is let go."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.reached = asyncio.Event()
        self.runs = 0
        self.cancelled = 0

    async def run(self) -> str:
        self.runs += 1
        self.reached.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return str(self.runs)


async def at_once() -> str:
    return "now"


def key_of(
    organization: str = "acme",
    tool: str = "t",
    version: str = "v",
    arguments: dict[str, object] | None = None,
    domains: tuple[str, ...] = (),
    call_id: str = "call-1",
) -> CacheKey:
    context = CallContext(organization, tool, call_id, allowed_domains=frozenset(domains))
    return cache_key(context, version, {"a": 1} if arguments is None else arguments)


def test_equal_arguments_have_one_key_whatever_their_order() -> None:
    assert key_of(arguments={"a": 1, "b": [2]}) == key_of(arguments={"b": [2], "a": 1})
    assert key_of(call_id="1", domains=("a.test", "b.test")) == key_of(
        call_id="2", domains=("b.test", "a.test")
    )


@pytest.mark.parametrize(
    "other",
    [
        ("other", "t", "v", {"a": 1}),
        ("acme", "u", "v", {"a": 1}),
        ("acme", "t", "w", {"a": 1}),
        ("acme", "t", "v", {"a": 2}),
        ("acme", "t", "v", {"a": "1"}),
        ("acme", "t", "v", {"a": 1}, ("a.test",)),
    ],
)
def test_another_organization_tool_version_argument_or_policy_has_another_key(
    other: tuple[Any, ...],
) -> None:
    assert key_of(*other) != key_of()


async def test_a_result_is_kept_for_its_time_and_no_longer() -> None:
    now = 0.0
    cache = ResultCache(monotonic=lambda: now)
    assert cache.get(("k",)) is None
    assert await cache.run(("k",), 10, at_once) == "now"
    now = 9.9
    assert cache.get(("k",)) == "now"
    now = 10.1
    assert cache.get(("k",)) is None


async def test_the_results_used_least_recently_make_room() -> None:
    cache = ResultCache(characters_max=2 * 1_024 + 6)
    for key in ("a", "b"):
        await cache.run((key,), 10, at_once)
    cache.get(("a",))
    await cache.run(("c",), 10, at_once)
    assert (cache.get(("a",)), cache.get(("b",)), cache.get(("c",))) == ("now", None, "now")


async def test_what_the_results_take_is_bounded() -> None:
    async def large() -> str:
        return "x" * 100_000

    cache = ResultCache(characters_max=1_000_000)
    for number in range(20):
        await cache.run((str(number),), 10, large)
    kept = [number for number in range(20) if cache.get((str(number),)) is not None]
    assert kept == list(range(11, 20))


async def test_equal_calls_in_flight_share_one_run() -> None:
    cache, gate = ResultCache(), Gate()
    calls = [asyncio.ensure_future(cache.run(("k",), 10, gate.run)) for _ in range(20)]
    await gate.reached.wait()
    gate.open.set()
    assert await asyncio.gather(*calls) == ["1"] * 20
    assert gate.runs == 1


async def test_a_failure_reaches_everyone_and_is_not_kept() -> None:
    cache, gate = ResultCache(), Gate()

    async def fail() -> str:
        await gate.run()
        raise ToolExecutionError("No.")

    calls = [asyncio.ensure_future(cache.run(("k",), 10, fail)) for _ in range(3)]
    await gate.reached.wait()
    gate.open.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ToolExecutionError] * 3
    assert cache.get(("k",)) is None
    assert await cache.run(("k",), 10, at_once) == "now"


async def test_a_caller_that_goes_away_stops_nobody_else() -> None:
    cache, gate = ResultCache(), Gate()
    first = asyncio.ensure_future(cache.run(("k",), 10, gate.run))
    second = asyncio.ensure_future(cache.run(("k",), 10, gate.run))
    await gate.reached.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.open.set()
    assert await second == "1"


async def test_the_last_caller_that_goes_away_stops_the_run_and_the_next_begins_anew() -> None:
    cache, gate = ResultCache(), Gate()
    first = asyncio.ensure_future(cache.run(("k",), 10, gate.run))
    await gate.reached.wait()
    first.cancel()
    # Before the run has noticed that it was cancelled.
    second = asyncio.ensure_future(cache.run(("k",), 10, at_once))
    assert await second == "now"
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (gate.runs, gate.cancelled) == (1, 1)
