"""Agents as an official A2A client meets them: by their cards and their tasks."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.client import AgentCardResolutionError, Client
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Part,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskState,
)
from a2a.utils.errors import (
    ContentTypeNotSupportedError,
    InvalidParamsError,
    InvalidRequestError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from google.protobuf.struct_pb2 import ListValue, Value

from tests.e2e.agent_protocols import a2a_client, asked, bearer, rpc, url_of
from tests.e2e.agents_and_runs import SUM, create_agent, get_run, pages
from tests.e2e.approving import agent_that_asks, approvals, resolved
from tests.e2e.cancelling import holding_source
from tests.e2e.custom_tools import create_custom_agent, register
from tests.platforms import Client as RestClient
from tests.platforms import RunningPlatform

DOCUMENT = Path(__file__).parents[2] / "deploy" / "docs" / "agents-calling-agents.md"
COMPLETED = TaskState.TASK_STATE_COMPLETED
WAITING = TaskState.TASK_STATE_AUTH_REQUIRED


async def sent(client: Client, text: str = SUM, **fields: Any) -> Task:
    """Sends a message without streaming and returns the task."""
    [answer] = [answer async for answer in client.send_message(asked(text, **fields))]
    assert answer.HasField("task")
    return answer.task


def answer_of(task: Task) -> str:
    [artifact] = task.artifacts
    [part] = artifact.parts
    return part.text


def said(task: Task) -> str:
    return "".join(part.text for part in task.status.message.parts)


def folded(updates: list[StreamResponse]) -> Task:
    """Returns the task that a client has after a stream, by the rules of the protocol."""
    task = Task()
    for update in updates:
        match update.WhichOneof("payload"):
            case "task":
                task.CopyFrom(update.task)
            case "status_update":
                assert (update.status_update.task_id, update.status_update.context_id) == (
                    task.id,
                    task.context_id,
                )
                task.status.CopyFrom(update.status_update.status)
            case "artifact_update":
                change = update.artifact_update
                if change.append:
                    task.artifacts[0].parts[0].text += change.artifact.parts[0].text
                else:
                    del task.artifacts[:]
                    task.artifacts.append(change.artifact)
    return task


def test_a_card_tells_what_an_agent_can_do(platform: RunningPlatform, client: RestClient) -> None:
    agent_id = create_agent(
        client,
        name="Math",
        description="Does sums.",
        tools={"calculator": True, "send_email": False},
    )
    client.patch(f"/api/v1/agents/{agent_id}", {"description": "Does any sums."})
    url = url_of(platform, f"/a2a/agents/{agent_id}")
    answer = httpx.get(f"{url}/.well-known/agent-card.json", headers=bearer(client))
    card = answer.json()
    assert (card["name"], card["description"], card["version"]) == ("Math", "Does any sums.", "2")
    assert [skill["id"] for skill in card["skills"]] == ["answer", "tool:calculator"]
    assert {interface["url"] for interface in card["supportedInterfaces"]} == {url}
    assert card["securitySchemes"]["bearer"]["httpAuthSecurityScheme"]["scheme"] == "Bearer"
    assert card["capabilities"]["streaming"] is True
    assert answer.headers["cache-control"] == "private, no-cache"


async def test_a_stream_ends_with_the_task_that_the_run_is(
    platform: RunningPlatform, client: RestClient
) -> None:
    agent_id = create_agent(client)
    async with a2a_client(platform, client, agent_id) as a2a:
        updates = [update async for update in a2a.send_message(asked())]
        task = folded(updates)
        kept = await a2a.get_task(GetTaskRequest(id=task.id))
        bare = await a2a.get_task(GetTaskRequest(id=task.id, history_length=0))
    run = get_run(client, task.id)
    assert updates[0].HasField("task")
    assert updates[-1].status_update.status.state == COMPLETED
    steps = [
        update.status_update.status.message.parts[0].text
        for update in updates
        if update.HasField("status_update") and update.status_update.status.HasField("message")
    ]
    assert steps == ["Calls the tool calculator.", "The tool calculator has answered."]
    assert answer_of(task) == answer_of(kept) == run["output"]["response"]
    assert (kept.status.state, kept.context_id) == (COMPLETED, run["conversation_id"])
    assert kept.history[0].parts[0].text == SUM
    assert len(bare.history) == 0
    assert kept.metadata["cost_usd"] == run["cost_usd"]


async def test_messages_of_a_context_continue_it(
    platform: RunningPlatform, client: RestClient
) -> None:
    async with a2a_client(platform, client, create_agent(client), streaming=False) as a2a:
        first = await sent(a2a)
        second = await sent(a2a, "Multiply that by 2.", context_id=first.context_id)
        alone = await sent(a2a)
        assert "84" in answer_of(second)
        assert second.context_id == first.context_id != alone.context_id
        listed = await a2a.list_tasks(
            ListTasksRequest(context_id=first.context_id, include_artifacts=True)
        )
        assert [task.id for task in listed.tasks] == [second.id, first.id]
        assert answer_of(listed.tasks[0]) == answer_of(second)
        first_page = await a2a.list_tasks(ListTasksRequest(page_size=2, status=COMPLETED))
        assert [task.id for task in first_page.tasks] == [alone.id, second.id]
        last_page = await a2a.list_tasks(
            ListTasksRequest(page_size=2, page_token=first_page.next_page_token)
        )
        assert [task.id for task in last_page.tasks] == [first.id]
        assert not last_page.tasks[0].artifacts
        assert not last_page.next_page_token
        failed = await a2a.list_tasks(ListTasksRequest(status=TaskState.TASK_STATE_FAILED))
        assert not failed.tasks


async def test_the_same_message_is_the_same_task(
    platform: RunningPlatform, client: RestClient
) -> None:
    async with a2a_client(platform, client, create_agent(client), streaming=False) as a2a:
        first, again = await sent(a2a, message_id="1"), await sent(a2a, message_id="1")
        assert first.id == again.id
        with pytest.raises(InvalidRequestError, match="idempotency key"):
            await sent(a2a, "Something else.", message_id="1")
    assert len(list(pages(client, "/api/v1/runs", "runs"))) == 1


async def test_another_organization_and_another_agent_have_no_such_task(
    platform: RunningPlatform, client: RestClient
) -> None:
    agent_id, other_id = create_agent(client), create_agent(client)
    stranger = platform.client(platform.token("organization-of-strangers"))
    with pytest.raises(AgentCardResolutionError, match="404"):
        async with a2a_client(platform, stranger, agent_id):
            pass
    async with (
        a2a_client(platform, client, agent_id, streaming=False) as a2a,
        a2a_client(platform, client, other_id) as other,
    ):
        task = await sent(a2a)
        for call in (
            lambda: other.get_task(GetTaskRequest(id=task.id)),
            lambda: other.cancel_task(CancelTaskRequest(id=task.id)),
            lambda: anext(other.subscribe(SubscribeToTaskRequest(id=task.id))),
            lambda: sent(other, task_id=task.id),
            lambda: a2a.get_task(GetTaskRequest(id="none")),
        ):
            with pytest.raises(TaskNotFoundError):
                await call()
        assert not (await other.list_tasks(ListTasksRequest())).tasks
    for method, params in (
        ("GetTask", {"id": task.id}),
        ("CancelTask", {"id": task.id}),
        ("SubscribeToTask", {"id": task.id}),
    ):
        answer = post(platform, stranger, agent_id, json=rpc(method, params))
        assert answer.json()["error"]["code"] == -32001, answer.text


async def test_a_task_whose_run_waits_for_a_person(
    platform: RunningPlatform, client: RestClient
) -> None:
    agent_id = agent_that_asks(client)
    async with (
        a2a_client(platform, client, agent_id, streaming=False) as a2a,
        a2a_client(platform, client, agent_id) as follower,
    ):
        task = await sent(a2a)
        assert (task.status.state, said(task)) == (
            WAITING,
            "A person is to decide about a call of the tool calculator: Sums are sent to a person.",
        )
        kept = await a2a.get_task(GetTaskRequest(id=task.id))
        assert (kept.status.state, said(kept)) == (WAITING, said(task))
        with pytest.raises(UnsupportedOperationError):
            await sent(a2a, task_id=task.id)
        following = follower.subscribe(SubscribeToTaskRequest(id=task.id))
        updates = [await anext(following)]
        [approval] = approvals(client, task.id)
        resolved(client, approval, "approve")
        updates += [update async for update in following]
        ended = folded(updates)
        assert (ended.status.state, answer_of(ended)) == (COMPLETED, "15 + 27 = 42")
        with pytest.raises(UnsupportedOperationError):
            await anext(follower.subscribe(SubscribeToTaskRequest(id=task.id)))


async def test_a_task_under_way_is_cancelled(platform: RunningPlatform, client: RestClient) -> None:
    register(client, holding_source())
    agent_id = create_custom_agent(client)
    async with (
        a2a_client(platform, client, agent_id, streaming=False) as a2a,
        a2a_client(platform, client, agent_id) as follower,
    ):
        task = await sent(a2a, "Test the custom_tool tool", return_immediately=True)
        assert task.status.state in {
            TaskState.TASK_STATE_SUBMITTED,
            TaskState.TASK_STATE_WORKING,
        }
        following = follower.subscribe(SubscribeToTaskRequest(id=task.id))
        updates = [await anext(following)]
        cancelled = await a2a.cancel_task(CancelTaskRequest(id=task.id))
        assert cancelled.status.state == TaskState.TASK_STATE_CANCELED
        updates += [update async for update in following]
        assert folded(updates).status.state == TaskState.TASK_STATE_CANCELED
        done = await sent(a2a, "Hello!")
        with pytest.raises(TaskNotCancelableError):
            await a2a.cancel_task(CancelTaskRequest(id=done.id))


async def test_a_budget_that_is_exceeded_fails_the_task(
    platform: RunningPlatform, client: RestClient
) -> None:
    assert client.put("/api/v1/budgets/small", {"limit_usd": 0}).status == 200
    async with a2a_client(platform, client, create_agent(client)) as a2a:
        task = folded([update async for update in a2a.send_message(asked())])
    assert task.status.state == TaskState.TASK_STATE_FAILED
    assert said(task).startswith("BUDGET_EXCEEDED: ")


async def test_bad_messages_are_told_what_is_wrong(
    platform: RunningPlatform, client: RestClient
) -> None:
    async with a2a_client(platform, client, create_agent(client), streaming=False) as a2a:
        with pytest.raises(ContentTypeNotSupportedError):
            await sent(a2a, parts=[Part(url="http://example.com/file")])
        for parts in ([], [Part()], [Part(text="")]):
            with pytest.raises(InvalidParamsError):
                await sent(a2a, parts=parts)
        with pytest.raises(InvalidParamsError):
            await a2a.get_task(GetTaskRequest(id="any", history_length=-1))
        with pytest.raises(InvalidParamsError):
            await a2a.list_tasks(ListTasksRequest(page_token="nowhere"))
        data = Value(list_value=ListValue(values=[Value(string_value=SUM)]))
        assert "42" in answer_of(await sent(a2a, parts=[Part(data=data)]))


async def test_many_messages_at_once(platform: RunningPlatform, client: RestClient) -> None:
    async with a2a_client(platform, client, create_agent(client), streaming=False) as a2a:
        tasks = await asyncio.gather(*(sent(a2a, f"What is {n} + 1?") for n in range(20)))
    for number, task in enumerate(tasks):
        assert str(number + 1) in answer_of(task)
    assert len({task.id for task in tasks}) == 20


def post(
    platform: RunningPlatform, client: RestClient, agent_id: str, **request: Any
) -> httpx.Response:
    headers = {**bearer(client), "a2a-version": "1.0", **request.pop("headers", {})}
    url = url_of(platform, f"/a2a/agents/{agent_id}")
    return httpx.post(url, headers=headers, timeout=60, **request)


GET = rpc("GetTask", {"id": "none"})
PUSH = rpc("GetTaskPushNotificationConfig", {"taskId": "none", "id": "none"})
NOTIFIED = {
    "message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": SUM}]},
    "configuration": {"taskPushNotificationConfig": {"url": "https://example.com/"}},
}
BAD: list[tuple[str, dict[str, Any], int]] = [
    ("no-json", {"content": b'{"a'}, -32700),
    ("no-rpc", {"json": {}}, -32600),
    ("batch", {"json": [GET, GET]}, -32600),
    ("nested", {"content": b"[" * 100_000}, -32603),
    ("no-method", {"json": rpc("tasks/none")}, -32601),
    ("no-params", {"json": rpc("GetTask")}, -32602),
    ("params-of-another-type", {"json": {**GET, "params": []}}, -32602),
    ("another-version", {"json": GET, "headers": {"a2a-version": "9.0"}}, -32009),
    ("no-such-task", {"json": GET}, -32001),
    ("no-metadata", {"json": GET, "headers": {"tracestate": b"\xc3\xa9"}}, -32001),
    ("push", {"json": PUSH}, -32003),
    ("push-of-a-message", {"json": rpc("SendMessage", NOTIFIED)}, -32003),
    ("push-of-a-stream", {"json": rpc("SendStreamingMessage", NOTIFIED)}, -32003),
    ("extended-card", {"json": rpc("GetExtendedAgentCard")}, -32007),
]


@pytest.mark.parametrize(
    ("request_", "code"), [pytest.param(request, code, id=name) for name, request, code in BAD]
)
def test_bad_and_hostile_requests(
    platform: RunningPlatform, client: RestClient, request_: dict[str, Any], code: int
) -> None:
    answer = post(platform, client, create_agent(client), **request_)
    assert answer.status_code == 200
    assert answer.json()["error"]["code"] == code, answer.text
    assert "Traceback" not in answer.text
    assert "recursion" not in answer.text


def test_who_may_not_speak_at_all(platform: RunningPlatform, client: RestClient) -> None:
    agent_id = create_agent(client)
    url = url_of(platform, f"/a2a/agents/{agent_id}")
    for path in ("", "/.well-known/agent-card.json"):
        method = "GET" if path else "POST"
        refused = httpx.request(method, url + path)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer ")
    origin = {"origin": "http://evil.example"}
    assert post(platform, client, agent_id, json=GET, headers=origin).status_code == 403
    assert post(platform, client, agent_id, content=b" " * 2_000_000).status_code == 413


def test_the_documented_client_is_answered(
    platform: RunningPlatform,
    client: RestClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, _, rest = DOCUMENT.read_text(encoding="utf-8").partition("```python\n")
    source = rest.partition("```")[0].replace("http://127.0.0.1:8080", url_of(platform))
    monkeypatch.setenv("TOKEN", client.token)
    monkeypatch.setenv("AGENT", create_agent(client))
    exec(compile(source, DOCUMENT.name, "exec"), {})
    assert "15 + 27 = 42" in capsys.readouterr().out


def test_clients_of_the_revision_before_are_served(
    platform: RunningPlatform, client: RestClient
) -> None:
    message = {
        "kind": "message",
        "messageId": "first",
        "role": "user",
        "parts": [{"kind": "text", "text": SUM}],
    }
    answer = post(
        platform,
        client,
        create_agent(client),
        json=rpc("message/send", {"message": message}),
        headers={"a2a-version": "0.3"},
    )
    task = answer.json()["result"]
    assert task["status"]["state"] == "completed", answer.text
    assert task["artifacts"][0]["parts"][0]["text"] == "15 + 27 = 42"
