"""What callers do with a platform all day: each kind of work checks its own result."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.e2e.agents_and_runs import (
    SUM,
    THREE_SUMS,
    create_agent,
    execute,
    start_run,
    wait_for_end,
)
from tests.e2e.approving import agent_that_asks, approvals, resolved
from tests.e2e.custom_tools import call, create_custom_agent, register, source_of
from tests.platforms import Client, until


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of work.

    Attributes:
        name: What it is called in the report.
        share: How often it is done, beside the others.
        do: Does it once, and fails if the platform does not do its part.
    """

    name: str
    share: int
    do: Callable[[], None]


class Workload:
    """The work on one platform, of which any may be done at the same time.

    Args:
        client: Who does it.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._anonymous = Client(client.port, "")
        self._agent = create_agent(client)
        self._asking = agent_that_asks(client)
        register(client, source_of("return sum(range(1000))", effect="read_only"))
        self._custom = create_custom_agent(client)
        self._conversations = itertools.count()
        self.kinds: Sequence[Work] = (
            Work("a run with a tool call", 40, self._run),
            Work("a run with three tool calls", 10, self._parallel_calls),
            Work("a run in the background", 10, self._background),
            Work("a streamed run", 10, self._streamed),
            Work("a run with a tool in the sandbox", 10, self._sandboxed),
            Work("a conversation of two runs", 5, self._conversation),
            Work("a call that a person lets pass", 5, self._approved),
            Work("a run that is cancelled", 5, self._cancelled),
            Work("reading lists", 10, self._lists),
            Work("an agent made and deleted", 5, self._agents),
            Work("requests that are refused", 10, self._refused),
        )

    def chosen(self, chance: random.Random) -> Work:
        """Returns what is done next."""
        return chance.choices(self.kinds, [work.share for work in self.kinds])[0]

    def _run(self) -> None:
        run = execute(self._client, self._agent)
        assert (run["state"], len(run["output"]["tool_results"])) == ("completed", 1), run

    def _parallel_calls(self) -> None:
        run = execute(self._client, self._agent, THREE_SUMS)
        assert (run["state"], len(run["output"]["tool_results"])) == ("completed", 3), run

    def _background(self) -> None:
        run_id = start_run(self._client, self._agent)
        assert wait_for_end(self._client, run_id)["state"] == "completed"
        sequences = [event["sequence"] for event in self._client.events(run_id)]
        assert sequences == list(range(1, len(sequences) + 1))

    def _streamed(self) -> None:
        updates = list(self._client.stream(self._agent, SUM))
        assert updates[-1]["type"] == "done", updates[-1]

    def _sandboxed(self) -> None:
        result = call(self._client, self._custom)
        assert result["success"] is True, result

    def _conversation(self) -> None:
        body = {"input": SUM, "conversation_id": f"soak-{next(self._conversations)}"}
        for _ in range(2):
            answer = self._client.post(f"/api/v1/agents/{self._agent}/execute", body)
            assert (answer.status, answer.body["state"]) == (200, "completed"), answer.content
        path = f"/api/v1/conversations/{body['conversation_id']}"
        assert self._client.delete(path).status == 200

    def _approved(self) -> None:
        run_id = start_run(self._client, self._asking)
        until(lambda: approvals(self._client, run_id), what="a call to decide about")
        resolved(self._client, approvals(self._client, run_id)[0], "approve")
        assert wait_for_end(self._client, run_id)["state"] == "completed"

    def _cancelled(self) -> None:
        run_id = start_run(self._client, self._asking)
        answer = self._client.post(f"/api/v1/runs/{run_id}/cancel", {"reason": "the soak"})
        assert answer.status == 200, answer.content
        assert wait_for_end(self._client, run_id)["state"] == "cancelled"

    def _lists(self) -> None:
        for path in ("runs", "tools", "usage/entries", "audit-events", "agents", "approvals"):
            answer = self._client.get(f"/api/v1/{path}?page_size=20")
            assert answer.status == 200, answer.content

    def _agents(self) -> None:
        agent_id = create_agent(self._client, name="For a moment")
        assert self._client.delete(f"/api/v1/agents/{agent_id}").status == 200

    def _refused(self) -> None:
        path = f"/api/v1/agents/{self._agent}/execute"
        for client, body, status in (
            (self._anonymous, {"input": SUM}, 401),
            (self._client, {"input": ""}, 400),
            (self._client, {"inptu": SUM}, 400),
            (self._client, b"{", 400),
        ):
            answer = client.post(path, body)
            assert answer.status == status, answer.content
        assert self._client.get("/api/v1/runs/none").status == 404
