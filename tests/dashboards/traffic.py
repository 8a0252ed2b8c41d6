"""What people do with a platform: runs that end in every way, refusals, errors, money, webhooks."""

from __future__ import annotations

import urllib.request
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.agents_and_runs import SUM, create_agent, execute, start_run, wait_for_end
from tests.e2e.approving import waiting_run
from tests.e2e.custom_tools import create_custom_agent, register, source_of
from tests.e2e.ledger_resources import CORRECTION, RECORDED
from tests.platforms import RunningPlatform, until
from tests.web_server import WebServer

SLOW = source_of("import time\ntime.sleep(0.2)\nreturn 1", effect="read_only")
DYING = source_of("import os\nos._exit(1)")


class Traffic:
    """A person of one organization, who may do everything, and whom a server hears of runs.

    Args:
        platform: What is used.
        server: Where webhooks go.
    """

    def __init__(self, platform: RunningPlatform, server: WebServer) -> None:
        self._platform = platform
        self._server = server
        self._client = platform.client(platform.token("dashboards"))
        self._adder = create_agent(self._client, response_cache_ttl_seconds=600)
        self._turns = 0

    def happen(self) -> None:
        """Does everything once more."""
        self._turns += 1
        turns = (
            *(self._runs, self._tools, self._custom_tools, self._money, self._webhook),
            *(self._approval, self._refusals, self._pages),
        )
        with ThreadPoolExecutor(len(turns)) as pool:
            for done in [pool.submit(turn) for turn in turns]:
                done.result()

    def _runs(self) -> None:
        assert execute(self._client, self._adder)["state"] == "completed"
        failing = create_agent(self._client, name="Failing", max_model_turns=1)
        assert execute(self._client, failing)["state"] == "failed"
        started = start_run(self._client, self._adder, f"What is {self._turns} * 7?")
        assert list(self._client.events(started))
        assert wait_for_end(self._client, started)["state"] == "completed"

    def _tools(self) -> None:
        assert execute(self._client, create_agent(self._client), "What is 1 / 0?")
        limited = self._platform.client(self._platform.token("dashboards-limited"))
        limit = {"max_calls": 0, "window_seconds": 3600}
        assert limited.put("/api/v1/tools/calculator/rate-limit", limit).status == 200
        execute(limited, create_agent(limited))
        forbidden = self._platform.token("dashboards", permissions=("run:execute",))
        execute(self._platform.client(forbidden), self._adder)

    def _custom_tools(self) -> None:
        client = self._platform.client(self._platform.token("dashboards-custom"))
        register(client, SLOW, cache_ttl_seconds=600)
        agent_id = create_custom_agent(client)
        for _ in range(2):
            execute(client, agent_id, "Test the custom_tool tool")
        register(client, DYING)
        execute(client, create_custom_agent(client), "Test the custom_tool tool")

    def _money(self) -> None:
        client = self._platform.client(self._platform.token(f"dashboards-poor-{self._turns}"))
        assert client.put("/api/v1/budgets/small", {"limit_usd": 0}).status == 200
        execute(client, create_agent(client))
        more = {**RECORDED, "usage": {"input_tokens": 1000, "output_tokens": 1000}}
        assert client.post("/api/v1/usage/entries", {"entries": [more]}).status == 200
        corrected = client.post("/api/v1/usage/corrections", CORRECTION)
        assert corrected.status == 200, corrected.content

    def _webhook(self) -> None:
        told = {
            "input": SUM,
            "webhook_url": f"http://127.0.0.1:{self._server.port}/hook/{self._turns}",
            "webhook_secret": "the secret of this receiver",
        }
        path = f"/api/v1/agents/{self._adder}/runs"
        assert self._client.post(path, told).status == 200
        self._server.wait_for(f"/hook/{self._turns}")

    def _approval(self) -> None:
        waiting_run(self._client)

    def _refusals(self) -> None:
        for client in (self._client, self._platform.client(""), self._platform.client("wrong")):
            assert client.get("/api/v1/runs/there-is-none").status in {401, 404}
        bad_key = f"ae_{'0' * 40}"
        assert self._platform.client(bad_key).get("/api/v1/runs").status == 401
        assert self._client.post("/api/v1/agents", {"name": ""}).status == 400

    def _pages(self) -> None:
        url = f"http://127.0.0.1:{self._platform.http_port}/docs"
        until(lambda: urllib.request.urlopen(url, timeout=60).status == 200)
