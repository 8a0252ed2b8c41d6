"""A platform of several replicas of every service, on one PostgreSQL and one Redis of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.crash.peers import SOURCE, TOOL_SECONDS, TOOLS
from tests.e2e.crash.scripted_claude import ScriptedClaude, scripted_claude
from tests.platforms import COMMAND, Client, RunningPlatform, command_environment, running_platform
from tests.platforms import until as until_true
from tests.postgres import PostgresServer
from tests.redis_server import RedisServer
from tests.web_server import HOST, WebServer, running_web_server

BUDGET = "everything"
REPLICAS = tuple(
    f"{service}-{n}" for service in ("executor", "tool-runner", "ledger") for n in (1, 2)
)


@dataclass
class Cluster:
    """The platform and what it lives among.

    Attributes:
        platform: Two of each service, one gateway, one web process.
        postgres: Its only database server.
        database_url: The database of all services.
        claude: The model, which counts its calls.
        witness: What the tools have an effect on.
    """

    platform: RunningPlatform
    postgres: PostgresServer
    database_url: str
    claude: ScriptedClaude
    witness: WebServer

    def organization(self, limit_usd: float = 1_000_000.0) -> Organization:
        """Makes an organization with the witnessed tools, an agent that uses them, and a budget."""
        name = f"organization-{uuid.uuid4()}"
        client = self.platform.client(self.platform.token(name))
        _ok(client.post("/api/v1/allowed-domains", {"domain": HOST}))
        for tool, (effect, method) in TOOLS.items():
            origin = self.witness.origin
            source = SOURCE.format(
                name=tool, effect=effect, method=method, origin=origin, seconds=TOOL_SECONDS
            )
            body = {"name": tool, "source": source, "class_name": "Witnessed"}
            _ok(client.post("/api/v1/tools", {**body, "allowed_origins": [origin]}))
        use = {tool: {"class": "Witnessed", "enabled": True} for tool in TOOLS}
        agent = {"name": "Witnessed", "model": "claude-sonnet-4-5", "custom_tools": use}
        answer = client.post("/api/v1/agents", {**agent, "tools": dict.fromkeys(TOOLS, True)})
        agent_id = _ok(answer)["id"]
        _ok(client.put(f"/api/v1/budgets/{BUDGET}", {"limit_usd": limit_usd}))
        return Organization(name, client, agent_id)

    def restart(self, name: str) -> float:
        """Ends a replica as a rolling restart does, and returns how long until another is healthy."""
        pid = self.platform.pids()[name]
        healthy = self.log_count(f"{name} is healthy")
        os.kill(pid, signal.SIGTERM)
        return until_true(
            lambda: self.log_count(f"{name} is healthy") > healthy, what=f"that {name} is back"
        )

    def kill(self, name: str) -> None:
        """Kills a replica as ``kill -9`` does; it is started again."""
        self.platform.kill(name)

    def end_postgres(self, *, at_once: bool) -> None:
        """Ends the database server: as its own command does at once, or all of it by SIGKILL."""
        if at_once:
            self.postgres.kill()
        else:
            self.postgres.stop()

    def halt_postgres(self, seconds: float) -> None:
        """Makes the database server hang for a while: it takes connections and answers nothing."""
        with self.postgres.halted():
            time.sleep(seconds)

    def until_whole(self) -> None:
        """Waits until every process is there and serves."""
        until_true(lambda: len(self.platform.pids()) == len(REPLICAS) + 2, what="all processes")
        self.platform.wait_until_serving()

    def log_count(self, text: str) -> int:
        """Counts lines of the platform's log."""
        return self.platform.log.count(text)

    def verify(self) -> None:
        """Lets the product's own commands hold the ledger and the audit log against themselves."""
        for command in ("ledger", "audit"):
            done = subprocess.run(
                [*COMMAND, command, "verify", "--data-dir", str(self.platform.data_dir)],
                env=command_environment(DATABASE_URL=self.database_url),
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert done.returncode == 0, done


@dataclass
class Organization:
    """Somebody who uses the platform.

    Attributes:
        client: May do everything.
        agent_id: An agent that uses the witnessed tools.
    """

    name: str
    client: Client
    agent_id: str

    def budget(self) -> dict[str, Any]:
        """Returns the budget as it is."""
        return _ok(self.client.get(f"/api/v1/budgets/{BUDGET}"))


@contextmanager
def running_cluster(redis: RedisServer) -> Iterator[Cluster]:
    """Starts everything; the PostgreSQL is nobody else's, since tests end it."""
    with (
        tempfile.TemporaryDirectory(prefix="postgres-") as folder,
        scripted_claude() as claude,
        running_web_server() as witness,
    ):
        postgres = PostgresServer(Path(folder))
        try:
            database_url = postgres.url()
            with running_platform(
                workers=2,
                tool_runners=2,
                ledgers=2,
                DATABASE_URL=database_url,
                REDIS_URL=redis.url,
                TOOL_RUNNER_EGRESS_ALLOWED_CIDRS='["127.0.0.0/8", "::1/128"]',
                EXECUTOR_EGRESS_ALLOWED_CIDRS='["127.0.0.1/32"]',
                EXECUTOR_MODEL_PROVIDER="anthropic",
                ANTHROPIC_BASE_URL=claude.url,
                ANTHROPIC_API_KEY="any",
            ) as platform:
                yield Cluster(platform, postgres, database_url, claude, witness)
        finally:
            postgres.stop()


def _ok(answer: Any) -> dict[str, Any]:
    assert answer.status == 200, answer.content
    body: dict[str, Any] = answer.body
    return body
