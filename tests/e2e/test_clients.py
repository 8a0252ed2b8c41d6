"""The Python clients against a platform that runs, through the gateway and straight to a service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from agent_executor import errors
from agent_executor.client import AgentExecutorClient, AsyncAgentExecutorClient
from tests.e2e.agents_and_runs import SUM, THREE_SUMS, create_agent
from tests.e2e.approving import EVERY_SUM
from tests.e2e.test_commands import run as run_command
from tests.platforms import RunningPlatform

Use = Callable[..., Any]
ANSWER = "15 + 27 = 42"


class Caller:
    """Either client, as blocking calls."""

    def __init__(self, kind: str, url: str, credential: str) -> None:
        self.kind, self.url, self.credential = kind, url, credential

    def __call__(self, use: Callable[[Any], Any], **options: Any) -> Any:
        """Makes one call, and returns the answer, or the list of what is iterated over."""
        if self.kind == "sync":
            with AgentExecutorClient(self.url, self.credential, **options) as client:
                answer = use(client)
                is_list = isinstance(answer, Iterable) and not isinstance(answer, Message)
                return list(answer) if is_list else answer

        async def call() -> Any:
            async with AsyncAgentExecutorClient(self.url, self.credential, **options) as client:
                answer = use(client)
                if isinstance(answer, AsyncIterable):
                    return [item async for item in answer]
                return await answer

        return asyncio.run(call())


@pytest.fixture
def url(platform: RunningPlatform) -> str:
    """The gateway."""
    return f"http://127.0.0.1:{platform.http_port}"


@pytest.fixture(params=("sync", "async"))
def call(
    request: pytest.FixtureRequest, platform: RunningPlatform, organization: str, url: str
) -> Caller:
    """A client that may do everything in an organization of its own."""
    return Caller(request.param, url, platform.token(organization))


def make_agent(call: Caller, **fields: Any) -> str:
    fields = {"name": "Math", "tools": {"calculator": True}, **fields}
    agent_id: str = call(lambda client: client.agents.create(**fields)).id
    return agent_id


def test_an_agent_is_made_executed_and_accounted_for(call: Caller) -> None:
    agent_id = make_agent(call)
    executed = call(lambda client: client.runs.execute(agent_id=agent_id, input=SUM))
    assert (executed.state, executed.output.tool_results[0].success) == ("completed", True)
    assert ANSWER in executed.output.response
    cost = call(lambda client: client.usage.get_run_cost(run_id=executed.task_id))
    assert cost.total.cost_nano_usd == executed.cost_nano_usd
    (page,) = call(lambda client: client.usage.summarize(group_by=["agent"]).pages())
    assert page.total.cost_nano_usd == executed.cost_nano_usd
    assert any(tool.name == "calculator" for tool in call(lambda client: client.tools.list()))


def test_a_straight_call_to_a_service_is_the_same(platform: RunningPlatform, call: Caller) -> None:
    agent_id = make_agent(call)
    port = platform.grpc_ports["executor"]
    direct = Caller(call.kind, f"http://127.0.0.1:{port}", call.credential)
    assert direct(lambda client: client.agents.get(agent_id=agent_id)).id == agent_id
    with pytest.raises(errors.AgentExecutorError, match="does not have this method"):
        direct(lambda client: client.budgets.get(budget_id="b"))


def test_lists_are_read_over_pages(call: Caller) -> None:
    made = {make_agent(call) for _ in range(5)}
    listed = call(lambda client: client.agents.list(page_size=2))
    assert {agent.id for agent in listed} == made
    assert len(call(lambda client: client.agents.list(page_size=2).pages())) == 3


def test_a_run_is_streamed_to_its_end_and_followed(call: Caller) -> None:
    agent_id = make_agent(call)
    updates = call(lambda client: client.runs.stream(agent_id=agent_id, input=THREE_SUMS))
    assert updates[-1].done.state == "completed"
    text = "".join(update.text_delta.text for update in updates)
    assert updates[-1].done.output.response in text
    run_id = updates[-1].run_id
    events = call(lambda client: client.runs.follow(run_id=run_id))
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events[-1].type == "run_finished"
    rest = call(lambda client: client.runs.follow(run_id=run_id, after_sequence=2))
    assert [event.sequence for event in rest] == list(range(3, len(events) + 1))
    at_end = call(lambda client: client.runs.follow(run_id=run_id, after_sequence=len(events) - 1))
    assert [event.type for event in at_end] == ["run_finished"]


def test_errors_are_those_of_the_platform(
    platform: RunningPlatform, organization: str, call: Caller
) -> None:
    with pytest.raises(errors.AgentNotFoundError):
        call(lambda client: client.agents.get(agent_id="nobody"))
    with pytest.raises(errors.InvalidArgumentError) as wrong:
        call(lambda client: client.agents.create(name=""))
    assert [field for field, _ in wrong.value.field_violations] == ["name"]
    agent_id = make_agent(call, is_active=False)
    with pytest.raises(errors.AgentInactiveError):
        call(lambda client: client.runs.execute(agent_id=agent_id, input=SUM))
    with pytest.raises(errors.FailedPreconditionError):
        call(lambda client: client.runs.stream(agent_id=agent_id, input=SUM))
    nobody = Caller(call.kind, call.url, "no-token")
    with pytest.raises(errors.UnauthenticatedError):
        nobody(lambda client: client.agents.get(agent_id=agent_id))
    reader = Caller(call.kind, call.url, platform.token(organization, permissions=["run:read"]))
    with pytest.raises(errors.PermissionDeniedError):
        reader(lambda client: client.agents.get(agent_id=agent_id))
    call(lambda client: client.agents.create(name="A"), idempotency_key="k")
    with pytest.raises(errors.IdempotencyConflictError):
        call(lambda client: client.agents.create(name="B"), idempotency_key="k")


def test_a_deadline_ends_a_call_and_not_the_run(call: Caller) -> None:
    agent_id = make_agent(call, approval_policy=EVERY_SUM)
    with pytest.raises(errors.DeadlineExceededError):
        call(lambda client: client.runs.execute(agent_id=agent_id, input=SUM), timeout_seconds=2.0)
    (run,) = call(lambda client: client.runs.list(agent_id=agent_id))
    assert run.state in {"pending", "running", "waiting"}
    receipt = call(lambda client: client.runs.cancel(run_id=run.id, reason="enough"))
    assert (receipt.state, receipt.was_stopped) == ("cancelled", True)
    assert call(lambda client: client.runs.get(run_id=run.id)).state == "cancelled"


def test_an_api_key_opens_the_gateway_and_a_service(
    platform: RunningPlatform, call: Caller
) -> None:
    agent_id = make_agent(call)
    made = call(lambda client: client.api_keys.create(name="test", permissions=["agent:read"]))
    direct = f"http://127.0.0.1:{platform.grpc_ports['executor']}"
    for url in (call.url, direct):
        keyed = Caller(call.kind, url, made.key)
        assert keyed(lambda client: client.agents.get(agent_id=agent_id)).id == agent_id
        with pytest.raises(errors.PermissionDeniedError):
            keyed(lambda client: client.agents.create(name="B"))
    call(lambda client: client.api_keys.revoke(api_key_id=made.api_key.id))
    with pytest.raises(errors.UnauthenticatedError):
        Caller(call.kind, direct, made.key)(lambda client: client.agents.get(agent_id=agent_id))


def test_an_export_is_a_file(call: Caller) -> None:
    agent_id = make_agent(call)
    call(lambda client: client.runs.execute(agent_id=agent_id, input=SUM))
    pieces = call(lambda client: client.usage.export(format="csv"))
    assert b"".join(piece.data for piece in pieces).count(b"\n") >= 2


def test_json_of_the_command_line_is_that_of_the_gateway(
    platform: RunningPlatform, organization: str, url: str, tmp_path: Path
) -> None:
    client = platform.client(platform.token(organization))
    agent = create_agent(client)
    run_id = client.post(f"/api/v1/agents/{agent}/execute", {"input": SUM}).body["task_id"]
    options = ("--url", url, "--data-dir", str(platform.data_dir), "--organization", organization)
    for command, path, name in (
        (("runs", "list", "--json"), "/api/v1/runs?page_size=20", "runs"),
        (("usage", "run", run_id, "--json"), f"/api/v1/usage/runs/{run_id}", ""),
        (("rate-cards", "resolve", "claude-sonnet-5", "--json"), _CARD, ""),
    ):
        done = run_command(tmp_path, *command, *options)
        assert (done.returncode, done.stderr) == (0, "")
        answer = client.get(path).body
        assert json.loads(done.stdout) == (answer[name] if name else answer)


_CARD = "/api/v1/rate-card?model=claude-sonnet-5"
