"""kill -9 of any one process while runs are in flight: the platform heals and loses no usage.

Runs are held in flight by stopping (SIGSTOP) a service that they need, so that it is certain that
they are under way when a process is killed. One test kills at random instants instead.
"""

from __future__ import annotations

import asyncio
import http.client
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from agent_executor.api.executor.v1.run_service_pb2 import RunUpdate
from agent_executor.client import AgentExecutorClient, AsyncAgentExecutorClient
from tests.e2e.agents_and_runs import (
    FINAL_STATES,
    SUM,
    assert_costs_agree,
    create_agent,
    execute,
    get_run,
    pages,
    start_run,
    wait_for_end,
)
from tests.e2e.approving import agent_that_asks, approvals, resolved
from tests.e2e.error_shape import assert_is_error
from tests.e2e.load import CALLERS, Load
from tests.platforms import PROCESSES, Answer, Client, RunningPlatform, running_platform, until

ANSWER = "15 + 27 = 42"
# What is promised. The other tests of this machine may need its processors for a while, so it is
# enough if the promise is kept once in a few times; what waits in vain never keeps it.
SERVES_AGAIN_SECONDS = 5.0
ATTEMPTS = 4
# What "at once" is taken to be, on a machine that is busy: well before any timeout, which would
# take a minute.
AT_ONCE_SECONDS = 20.0


@pytest.fixture(scope="module")
def platform() -> Iterator[RunningPlatform]:
    """A platform whose processes may be killed."""
    with running_platform() as running:
        yield running


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(CALLERS) as executor:
        yield executor


class Death:
    """The killing of one process of a platform."""

    def __init__(self, platform: RunningPlatform, name: str) -> None:
        self._platform = platform
        self._name = name
        self._pids = platform.pids()
        assert sorted(self._pids) == sorted(PROCESSES)
        self._started = time.monotonic()
        platform.kill(name)

    @property
    def seconds_ago(self) -> float:
        """How long ago it was."""
        return time.monotonic() - self._started

    def wait_until_healed(self) -> float:
        """Waits until this process, and no other one, is replaced and the platform serves.

        Returns:
            How long it took since the death, in seconds.
        """
        name, before = self._name, dict(self._pids)
        until(lambda: self._platform.pids().get(name, before[name]) != before[name])
        self._platform.wait_until_serving()
        seconds = self.seconds_ago
        after = self._platform.pids()
        assert after.pop(name) != before.pop(name)
        assert after == before
        return seconds


def executions(pool: ThreadPoolExecutor, client: Client, agent_id: str) -> list[Future[Answer]]:
    """Executes an agent many times at once; the callers wait."""
    path = f"/api/v1/agents/{agent_id}/execute"
    return [pool.submit(client.post, path, {"input": SUM}) for _ in range(CALLERS)]


def running_runs(client: Client) -> list[str]:
    """Returns the ids of the runs that are under way."""
    return [run["id"] for run in pages(client, "/api/v1/runs?state=running", "runs")]


def wait_for_tool_calls(client: Client, count: int) -> list[str]:
    """Waits until so many runs wait for a tool's answer and returns their ids."""

    def waiting() -> list[str]:
        # They have started, called the model, got its answer, and asked for the tool.
        runs = pages(client, "/api/v1/runs?state=running", "runs")
        return [run["id"] for run in runs if run["last_sequence"] >= 4]

    until(lambda: len(waiting()) == count, what=f"that {count} runs wait for a tool")
    return waiting()


def unsettled_runs(client: Client) -> list[str]:
    """Returns the ids of the runs whose model has answered and whose ledger has not."""
    unsettled = []
    for run_id in running_runs(client):
        last_sequence = client.get(f"/api/v1/runs/{run_id}").body["last_sequence"]
        counts: Counter[str] = Counter()
        events = client.events(run_id)
        for event in events:
            counts[event["type"]] += 1
            if event["sequence"] == last_sequence:
                break
        events.close()
        if counts["model_call_completed"] > counts["model_call_settled"]:
            unsettled.append(run_id)
    return unsettled


def assert_completed_once(client: Client, run_id: str, *, resumed: int) -> None:
    """Waits for a run's end, which must be good, with each call of its plan made once."""
    run = wait_for_end(client, run_id)
    assert run["state"] == "completed", run
    assert run["output"]["response"] == ANSWER
    events = list(client.events(run_id))
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "run_finished"
    counts = Counter(event["type"] for event in events)
    assert counts == {
        "run_started": 1,
        "model_call_started": 2,
        "model_call_completed": 2,
        "model_call_settled": 2,
        "tool_call_started": 1,
        "tool_call_completed": 1,
        "run_finished": 1,
        **({"run_resumed": resumed} if resumed else {}),
    }
    # The tool ran once, however often it was asked for.
    audit = client.get(f"/api/v1/audit-events?run_id={run_id}").body["audit_events"]
    decisions = Counter(event["decision"] for event in audit)
    assert decisions.pop("allowed") == 1
    assert decisions.keys() <= {"replayed"}


def test_a_killed_executors_callers_get_503_at_once_and_its_runs_go_on(
    platform: RunningPlatform, client: Client, pool: ThreadPoolExecutor
) -> None:
    agent_id = create_agent(client)
    # From now on the executor knows the calculator and need not ask the tool-runner what it is.
    execute(client, agent_id)
    with platform.paused("tool-runner"):
        background = [start_run(client, agent_id) for _ in range(CALLERS)]
        callers = executions(pool, client, agent_id)
        run_ids = wait_for_tool_calls(client, 2 * CALLERS)
        assert set(background) < set(run_ids)
        death = Death(platform, "executor")
        answers = [caller.result(timeout=60) for caller in callers]
        assert death.seconds_ago < AT_ONCE_SECONDS
    for answer in answers:
        assert_is_error(answer, 503, "UNAVAILABLE")
        assert int(answer.headers["retry-after"]) >= 1
    death.wait_until_healed()
    for run_id in run_ids:
        assert_completed_once(client, run_id, resumed=1)
    assert_costs_agree(client)


def test_a_killed_tool_runners_calls_are_repeated(
    platform: RunningPlatform, client: Client, pool: ThreadPoolExecutor
) -> None:
    agent_id = create_agent(client)
    execute(client, agent_id)
    with platform.paused("tool-runner"):
        background = [start_run(client, agent_id) for _ in range(CALLERS)]
        callers = executions(pool, client, agent_id)
        run_ids = wait_for_tool_calls(client, 2 * CALLERS)
        assert set(background) < set(run_ids)
        death = Death(platform, "tool-runner")
    death.wait_until_healed()
    for caller in callers:
        answer = caller.result(timeout=60)
        assert (answer.status, answer.body["state"]) == (200, "completed")
    for run_id in run_ids:
        assert_completed_once(client, run_id, resumed=0)
    assert_costs_agree(client)


def kill_ledger_before_it_settles(
    platform: RunningPlatform, client: Client, load: Load
) -> tuple[Death, list[str]]:
    """Kills the ledger when it owes an answer to settlements, and returns whose they are."""
    while True:
        with platform.paused("ledger"):
            # Each of the callers' runs comes to where it needs the ledger.
            until(lambda: len(running_runs(client)) == CALLERS)
            unsettled = unsettled_runs(client)
            if unsettled:
                return Death(platform, "ledger"), unsettled
        load.go_on()


def test_a_killed_ledgers_settlements_are_retried(
    platform: RunningPlatform, client: Client
) -> None:
    with Load(client, create_agent(client)) as load:
        death, unsettled = kill_ledger_before_it_settles(platform, client, load)
        death.wait_until_healed()
        load.go_on()
    assert load.broken_off == 0
    assert {(answer.status, answer.body["state"]) for answer in load.answers} == {
        (200, "completed")
    }
    for run_id in unsettled:
        assert_completed_once(client, run_id, resumed=0)
    assert_costs_agree(client)


def test_a_run_that_is_taken_over_waits_for_a_tool_runner_that_is_away(
    platform: RunningPlatform, client: Client
) -> None:
    agent_id = create_agent(client)
    execute(client, agent_id)

    def all_have_come_to(sequence: int) -> bool:
        return all(get_run(client, run_id)["last_sequence"] >= sequence for run_id in run_ids)

    with ExitStack() as ledger:
        ledger.enter_context(platform.paused("ledger"))
        run_ids = [start_run(client, agent_id) for _ in range(CALLERS)]
        # They are about to call the model, and wait for the money.
        until(lambda: all_have_come_to(2))
        platform.kill("executor")
        # The next one takes them over, knows no tool yet, and waits for the ledger first.
        until(lambda: client.get("/api/v1/runs").status == 200)
        with platform.paused("up"):
            platform.kill("tool-runner")
            ledger.close()
            # They are told that the answer is lost, and go on to the next try.
            until(lambda: all_have_come_to(4))
    for run_id in run_ids:
        run = wait_for_end(client, run_id)
        assert run["state"] == "completed", run
        assert run["output"]["response"] == ANSWER
    assert_costs_agree(client)
    platform.wait_until_serving()


def test_a_killed_gateway_breaks_its_connections_off_and_no_run(
    platform: RunningPlatform, client: Client, pool: ThreadPoolExecutor
) -> None:
    agent_id = create_agent(client)
    execute(client, agent_id)
    with platform.paused("tool-runner"):
        background = [start_run(client, agent_id) for _ in range(CALLERS)]
        callers = executions(pool, client, agent_id)
        run_ids = wait_for_tool_calls(client, 2 * CALLERS)
        assert set(background) < set(run_ids)
        death = Death(platform, "gateway")
        for caller in callers:
            assert isinstance(caller.exception(timeout=60), OSError | http.client.HTTPException)
        assert death.seconds_ago < AT_ONCE_SECONDS
    death.wait_until_healed()
    for run_id in run_ids:
        assert_completed_once(client, run_id, resumed=0)
    assert_costs_agree(client)


def told_of_run(
    platform: RunningPlatform, client: Client, name: str, *, is_async: bool
) -> list[RunUpdate]:
    """Streams a run through a Python client, and kills a process while it waits for a person."""
    agent_id = agent_that_asks(client)
    told: list[RunUpdate] = []

    def take(update: RunUpdate) -> None:
        told.append(update)
        if update.type == "approval_requested":
            Death(platform, name).wait_until_healed()
            [approval] = approvals(client, update.run_id)
            resolved(client, approval, "approve")

    url = f"http://127.0.0.1:{platform.http_port}"

    async def stream() -> None:
        async with AsyncAgentExecutorClient(url, client.token) as caller:
            async for update in caller.runs.stream(agent_id=agent_id, input=SUM):
                await asyncio.to_thread(take, update)

    if is_async:
        asyncio.run(stream())
        return told
    with AgentExecutorClient(url, client.token) as caller:
        for update in caller.runs.stream(agent_id=agent_id, input=SUM):
            take(update)
    return told


@pytest.mark.parametrize(("name", "is_async"), [("executor", False), ("gateway", True)])
def test_a_stream_of_a_python_client_outlives_a_death(
    platform: RunningPlatform, client: Client, name: str, is_async: bool
) -> None:
    told = told_of_run(platform, client, name, is_async=is_async)
    assert (told[-1].type, told[-1].done.state) == ("done", "completed")
    sequences = [update.sequence for update in told if update.type != "text_delta"]
    assert sequences == sorted(set(sequences)), "nothing is told twice"
    assert [each.type for each in told].count("tool_call_completed") == 1
    last_call = [each.text_delta for each in told if each.type == "text_delta"][-1].model_call_id
    answer = "".join(
        each.text_delta.text for each in told if each.text_delta.model_call_id == last_call
    )
    assert answer == ANSWER
    run_id = told[0].run_id
    assert [run["id"] for run in pages(client, "/api/v1/runs", "runs")] == [run_id]
    assert_costs_agree(client)


def test_an_execution_of_a_python_client_finds_its_run_again(
    platform: RunningPlatform, client: Client, pool: ThreadPoolExecutor
) -> None:
    agent_id = agent_that_asks(client)
    url = f"http://127.0.0.1:{platform.http_port}"
    with AgentExecutorClient(url, client.token, max_attempts=20) as caller:
        executed = pool.submit(caller.runs.execute, agent_id=agent_id, input=SUM)
        until(lambda: approvals(client), what="the wait for a person")
        Death(platform, "executor").wait_until_healed()
        [approval] = approvals(client)
        resolved(client, approval, "approve")
        answer = executed.result(timeout=60)
    assert (answer.state, answer.output.response) == ("completed", ANSWER)
    assert [run["id"] for run in pages(client, "/api/v1/runs", "runs")] == [answer.task_id]


@pytest.mark.parametrize("name", PROCESSES)
def test_no_instant_of_a_death_loses_usage(
    platform: RunningPlatform, client: Client, name: str
) -> None:
    with Load(client, create_agent(client)) as load:
        death = Death(platform, name)
        death.wait_until_healed()
        load.go_on()
    for answer in load.answers:
        if answer.status == 200:
            assert answer.body["state"] == "completed", answer.body
            assert answer.body["output"]["response"] == ANSWER
        else:
            assert name == "executor"
            assert_is_error(answer, 503, "UNAVAILABLE")
    assert load.broken_off == 0 or name == "gateway"
    for run in pages(client, "/api/v1/runs", "runs"):
        ended = run if run["state"] in FINAL_STATES else wait_for_end(client, run["id"])
        assert ended["state"] == "completed", ended
    assert_costs_agree(client)


@pytest.mark.parametrize("name", PROCESSES)
def test_it_serves_again_within_five_seconds(
    platform: RunningPlatform, client: Client, name: str
) -> None:
    agent_id = create_agent(client)
    seconds = []
    for _ in range(ATTEMPTS):
        run_ids = [start_run(client, agent_id) for _ in range(CALLERS)]
        seconds.append(Death(platform, name).wait_until_healed())
        for run_id in run_ids:
            assert wait_for_end(client, run_id)["state"] == "completed"
        if seconds[-1] < SERVES_AGAIN_SECONDS:
            break
    assert min(seconds) < SERVES_AGAIN_SECONDS, seconds
    assert_costs_agree(client)


def test_what_a_dead_service_is_not_needed_for_goes_on(
    platform: RunningPlatform, client: Client
) -> None:
    with_tool, without_tools = create_agent(client), create_agent(client, tools={})
    with platform.paused("up"):
        platform.kill("tool-runner")
        assert execute(client, without_tools)["state"] == "completed"
        assert client.get("/api/v1/agents").status == 200
        assert client.get("/api/v1/usage").status == 200
        for answer in (
            client.post(f"/api/v1/agents/{with_tool}/execute", {"input": SUM}),
            client.get(f"/api/v1/agents/{with_tool}/tools"),
            client.get("/api/v1/tools"),
        ):
            assert_is_error(answer, 503, "UNAVAILABLE")
        until(lambda: client.get("/healthz").status == 503)
        assert_is_error(client.get("/healthz"), 503, "UNAVAILABLE")
    platform.wait_until_serving()
    assert execute(client, with_tool)["state"] == "completed"
    assert_costs_agree(client)


def test_a_killed_web_process_is_missed_by_its_pages_alone(platform: RunningPlatform) -> None:
    anyone = platform.client("")
    with platform.paused("up"):
        platform.kill("web")
        # What was open to it is closed by its death, and nobody starts it again meanwhile.
        until(lambda: anyone.get("/docs").status == 503)
        answer = anyone.get("/docs")
        assert answer.body["code"] == "UNAVAILABLE"
        assert "retry-after" in answer.headers
        assert anyone.get("/healthz").status == 200
        assert platform.client().get("/api/v1/agents").status == 200
    until(lambda: anyone.get("/docs").status == 200)
