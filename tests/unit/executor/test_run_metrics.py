"""What is counted of runs that end, change hands or cannot be driven."""

from __future__ import annotations

import asyncio

from agent_executor.executor.driving.run_metrics import RunMetrics
from agent_executor.serving.metrics import Metrics
from tests.unit.executor.platforms import ADA, Platform

QUESTION = "What is 2 + 3?"


class Counted:
    """A platform whose runs are counted."""

    def __init__(self, **fields: object) -> None:
        self.platform = Platform(**fields)  # type: ignore[arg-type]  # passed on
        self.metrics = Metrics()
        self.platform.drivers.metrics = RunMetrics(self.metrics)

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"agent_executor_{name}", labels) or 0.0


async def test_a_run_adds_one_and_what_it_used() -> None:
    counted = Counted()
    agent_id = await counted.platform.agent(name="Adder")
    view = await counted.platform.runs.execute(agent_id, QUESTION, ADA)
    assert counted.value("runs_total", state="completed") == 1
    labels = {"agent": "Adder", "state": "completed", "code": "OK"}
    assert counted.value("agent_runs_total", **labels) == 1
    assert counted.value("agent_tokens_total", agent="Adder") == view.run.tokens_used > 0
    assert counted.value("agent_cost_nano_usd_total", agent="Adder") == view.run.cost_nano_usd > 0
    assert counted.value("agent_run_duration_seconds_count", agent="Adder") == 1


async def test_a_run_that_its_driver_breaks_is_counted_once() -> None:
    counted = Counted()

    async def breaks(*_: object) -> None:
        raise RuntimeError("broken")

    counted.platform.drivers._engine._steps = breaks  # type: ignore[assignment,method-assign]
    agent_id = await counted.platform.agent(name="Adder")
    view = await counted.platform.runs.execute(agent_id, QUESTION, ADA)
    assert view.run.state == "failed"
    labels = {"agent": "Adder", "state": "failed", "code": "INTERNAL"}
    assert counted.value("agent_runs_total", **labels) == 1
    assert counted.value("runs_total", state="failed") == 1


async def test_who_loses_a_run_and_who_takes_it_over_both_count_it() -> None:
    owner = Counted(worker="owner")
    agent_id = await owner.platform.agent(tools={"calculator": True})
    owner.platform.tools.gate = asyncio.Event()
    view = await owner.platform.runs.start(agent_id, QUESTION, ADA)
    await owner.platform.tools.wait_until_asked()
    # As if it had not renewed its lease in time.
    await owner.platform.journal.release_leases("owner")
    heir = Counted(worker="heir", journal=owner.platform.journal, store=owner.platform.store)
    assert await heir.platform.runs.take_over() == 1
    await heir.platform.runs.drain(5.0)
    owner.platform.tools.gate.set()
    await owner.platform.runs.drain(5.0)
    assert (await heir.platform.runs.get(view.run.run_id, ADA)).run.state == "completed"
    assert heir.value("runs_taken_over_total", reason="lost_owner") == 1
    assert heir.value("run_recovery_duration_seconds_count") == 1
    assert heir.value("runs_total", state="completed") == 1
    assert owner.value("runs_lost_total") == 1
    assert owner.value("runs_total", state="completed") == 0


async def test_a_run_that_cannot_be_read_ends_as_one_of_an_unknown_agent() -> None:
    owner = Counted(worker="owner")
    agent_id = await owner.platform.agent(tools={"calculator": True})
    owner.platform.tools.gate = asyncio.Event()
    await owner.platform.runs.start(agent_id, QUESTION, ADA)
    await owner.platform.tools.wait_until_asked()
    await owner.platform.runs.drain(0.0)
    await owner.platform.journal.release_leases("owner")
    # Without the store of its agent.
    heir = Counted(worker="heir", journal=owner.platform.journal)
    assert await heir.platform.runs.take_over() == 1
    await heir.platform.runs.drain(5.0)
    labels = {"agent": "unknown", "state": "failed", "code": "INTERNAL"}
    assert heir.value("agent_runs_total", **labels) == 1


async def test_renewals_of_the_lease_are_counted_by_how_they_went() -> None:
    metrics = Metrics()
    counting = RunMetrics(metrics)
    counting.lease_renewed(True)
    counting.lease_renewed(False)
    for outcome in ("renewed", "failed"):
        name = "agent_executor_lease_renewals_total"
        assert metrics.registry.get_sample_value(name, {"outcome": outcome}) == 1
