"""What a process tells of itself, and how it looks again and again."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import AsyncExitStack

import pytest

from agent_executor.errors import UnavailableError
from agent_executor.serving import process_metrics
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.process_metrics import process_told
from agent_executor.serving.sampling import sample


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"agent_executor_{name}", labels) or 0.0


async def until(condition: object) -> None:
    async with asyncio.timeout(60):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110 -- a function; nothing tells of a count
            await asyncio.sleep(0.001)


async def test_a_loop_that_is_held_up_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_metrics, "LAG_SAMPLE_SECONDS", 0.01)
    metrics = Metrics()
    with process_told(metrics, "executor"):
        time.sleep(0.3)  # noqa: ASYNC251 -- holding the loop up is what is measured
        await until(lambda: value(metrics, "event_loop_lag_seconds_count") >= 1)
        assert value(metrics, "event_loop_lag_seconds_sum") >= 0.25


async def test_the_cycle_collector_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_metrics, "LAG_SAMPLE_SECONDS", 0.01)
    metrics = Metrics()
    with process_told(metrics, "executor"):
        assert value(metrics, "garbage_collections_total", generation="2") == 0
        gc.collect()
        await until(lambda: value(metrics, "garbage_collections_total", generation="2") >= 1)
        assert value(metrics, "garbage_collection_seconds_total", generation="2") > 0


async def test_nothing_is_left_of_it() -> None:
    before = list(gc.callbacks)
    with process_told(Metrics(), "executor"):
        assert len(gc.callbacks) == len(before) + 1
    assert gc.callbacks == before


async def test_a_look_that_fails_is_made_again_and_ends_with_the_resources() -> None:
    looks: list[int] = []

    async def look() -> None:
        looks.append(len(looks))
        if len(looks) == 1:
            raise UnavailableError("The database is away.")
        if len(looks) == 2:
            raise RuntimeError("a bug")

    async with AsyncExitStack() as resources:
        sample(look, period_seconds=0.001, resources=resources)
        await until(lambda: len(looks) >= 3)
    count = len(looks)
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(looks) == count
