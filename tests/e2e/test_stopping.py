"""The end of a whole platform: asked to stop under load, and killed with runs in flight."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.agents_and_runs import (
    assert_costs_agree,
    create_agent,
    execute,
    pages,
    start_run,
    wait_for_end,
)
from tests.e2e.error_shape import assert_is_error
from tests.e2e.load import CALLERS, Load
from tests.platforms import Client, restarted_platform, running_platform, until


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[0]
    except OSError:
        return True
    # It is dead; whoever inherited it has not noticed yet.
    return state == "Z"


def assert_is_whole(client: Client) -> None:
    """Holds every run to come to a good end, and the ledger to agree with all of them."""
    for run in list(pages(client, "/api/v1/runs", "runs")):
        assert wait_for_end(client, run["id"])["state"] == "completed"
    assert_costs_agree(client)


def test_stopped_under_load_it_answers_whom_it_took_and_loses_nothing() -> None:
    with running_platform() as platform:
        client = platform.client()
        pids = platform.pids().values()
        with Load(client, create_agent(client)) as load:
            assert platform.stop() == 0, platform.log
        assert all(map(is_gone, pids))
        assert "Traceback" not in platform.log
        # The gateway may refuse whom it has not heard out yet; it leaves nobody half-way.
        for answer in load.answers:
            if answer.status != 200:
                assert_is_error(answer, 503, "UNAVAILABLE")
        answered = {answer.body["task_id"] for answer in load.answers if answer.status == 200}
        with restarted_platform(platform):
            runs = {run["id"]: run for run in pages(client, "/api/v1/runs", "runs")}
            assert answered <= runs.keys()
            assert_is_whole(client)


def test_killed_with_runs_in_flight_it_leaves_no_process_and_they_go_on_at_the_next_start() -> None:
    with running_platform() as platform:
        client = platform.client()
        agent_id = create_agent(client)
        execute(client, agent_id)
        pids = platform.pids().values()
        with platform.paused("tool-runner"):
            run_ids = [start_run(client, agent_id) for _ in range(CALLERS)]
            platform.process.kill()
            platform.process.wait()
            until(lambda: all(map(is_gone, pids)), what="that no process is left")
        with restarted_platform(platform):
            for run_id in run_ids:
                assert wait_for_end(client, run_id)["output"]["response"] == "15 + 27 = 42"
                assert "run_resumed" in {event["type"] for event in client.events(run_id)}
            assert_is_whole(client)


def test_killed_under_load_every_run_comes_to_its_end_at_the_next_start() -> None:
    with running_platform() as platform:
        client = platform.client()
        pids = platform.pids().values()
        with Load(client, create_agent(client)) as load:
            platform.process.kill()
            platform.process.wait()
        until(lambda: all(map(is_gone, pids)), what="that no process is left")
        answered = {answer.body["task_id"] for answer in load.answers if answer.status == 200}
        with restarted_platform(platform):
            runs = {run["id"] for run in pages(client, "/api/v1/runs", "runs")}
            assert answered <= runs
            assert_is_whole(client)
