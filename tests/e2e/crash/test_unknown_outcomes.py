"""kill -9 of the executor and the tool-runner at once, in the midst of tool calls.

Nobody is left who knows what became of them. An unsafe one is reported as unknown to the model and
never repeated; the others are.
"""

from __future__ import annotations

import asyncio

from tests.e2e.crash.checking import Checker
from tests.e2e.crash.conftest import MakeFleet


async def test_an_unsafe_call_in_flight_is_told_as_unknown_and_others_are_repeated(
    make_fleet: MakeFleet,
) -> None:
    async with make_fleet("sqlite", 1) as fleet:
        (executor,) = fleet.executors
        await executor.start()
        fleet.agent_id = await fleet.create_agent(executor)
        # It takes half of its time before its effect, and is killed in the other half.
        await fleet.organization.prepare(tool_seconds=0.5)
        checker = Checker(fleet, allows_unknown=True)
        peers = fleet.organization.peers
        run_id = await fleet.start_run(executor, "unknown post_it,put_it,get_it/post_it")
        for index in range(3):
            await asyncio.to_thread(peers.witness.wait_for, f"/unknown-1-{index}")
        peers.kill("tool_runner")
        executor.kill()
        await executor.died()
        peers.start("tool_runner")
        await executor.start()
        events = await checker.check(executor, run_id)
        results = [
            event.tool_call_completed.tool_result
            for event in events
            if event.type == "tool_call_completed"
        ]
        assert {result.tool_call_id: result.code for result in results} == {
            f"{run_id}_1_0": "OUTCOME_UNKNOWN",
            f"{run_id}_1_1": "",
            f"{run_id}_1_2": "",
            f"{run_id}_2_0": "",
        }
        assert (checker.report.unknown_outcomes, checker.report.repeated_effects) == (1, 2)
        await checker.check_organization(executor)
