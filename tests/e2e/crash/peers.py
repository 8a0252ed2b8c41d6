"""What the executors of these tests live among: real processes, a model and a witness."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from agent_executor.api.executor.v1 import agent_pb2, agent_service_pb2
from agent_executor.api.ledger.v1 import (
    budget_service_pb2,
    budget_service_pb2_grpc,
    usage_pb2,
    usage_service_pb2,
    usage_service_pb2_grpc,
)
from agent_executor.api.tool_runner.v1 import (
    policy_service_pb2,
    policy_service_pb2_grpc,
    tool_service_pb2,
    tool_service_pb2_grpc,
)
from agent_executor.cli import die_with_parent
from agent_executor.cli.issuer import TokenClaims, issue_token
from agent_executor.cli.keys import ensure_keys
from agent_executor.cli.ports import free_port
from agent_executor.ledger.verification.verify import verify
from tests.e2e.crash.scripted_claude import ScriptedClaude, scripted_claude
from tests.platforms import command_environment
from tests.web_server import HOST, WebServer, running_web_server

LAUNCHER = Path(__file__).with_name("executor_process.py")
DIE_WITH_PARENT = Path(die_with_parent.__file__)
BUDGET = "everything"
# By the names of the tools: their effects, and the methods of what they ask the witness for.
TOOLS = {
    "post_it": ("unsafe", "POST"),
    "put_it": ("idempotent", "PUT"),
    "get_it": ("read_only", "GET"),
}
SOURCE = """
import time

from agent_executor import ToolBase


class Witnessed(ToolBase):
    def __init__(self):
        super().__init__("{name}", "Has an effect that the witness sees.", effect="{effect}")

    def _execute_impl(self, arguments):
        time.sleep({seconds})
        self.http.request("{method}", "{origin}/" + arguments["call"])
        time.sleep({seconds})
        return arguments["call"]
"""
TOOL_SECONDS = 0.01
ADMIN = ("*",)

Metadata = tuple[tuple[str, str], ...]


@dataclass
class Peers:
    """The ledger, the tool-runner, the model, the witness, and what starts executors.

    Attributes:
        keys_dir: The keys of all of them.
    """

    data_dir: Path
    claude: ScriptedClaude
    witness: WebServer
    launcher: subprocess.Popen[str]
    ledger_port: int = field(default_factory=free_port)
    tool_runner_port: int = field(default_factory=free_port)
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def keys_dir(self) -> Path:
        return self.data_dir / "keys"

    def start(self, module: str) -> None:
        """Starts the ledger or the tool-runner; it serves a little later."""
        port = self.ledger_port if module == "ledger" else self.tool_runner_port
        prefix = module.upper()
        environment = command_environment(
            **{
                f"{prefix}_DATA_DIR": str(self.data_dir),
                f"{prefix}_GRPC_PORT": str(port),
                f"{prefix}_LOG_LEVEL": "error",
                f"{prefix}_DRAIN_SECONDS": "0",
            },
            TOOL_RUNNER_EGRESS_ALLOWED_CIDRS='["127.0.0.0/8", "::1/128"]',
        )
        command = [sys.executable, "-m", f"agent_executor.{module}"]
        self._processes[module] = subprocess.Popen(
            [sys.executable, DIE_WITH_PARENT, str(os.getpid()), *command],
            env=environment,
            stdin=subprocess.DEVNULL,
        )

    def kill(self, module: str) -> None:
        """Kills it as ``kill -9`` does."""
        self._processes[module].kill()
        self._processes[module].wait()

    def start_executor(self, environment: dict[str, str]) -> int:
        """Starts an executor as ``agent-executor up`` does, and returns its process id.

        It has to load its code first, and does not know ``CRASH_AT``.
        """
        command = [str(os.getpid()), sys.executable, "-m", "agent_executor.executor"]
        return os.posix_spawn(
            sys.executable, [sys.executable, str(DIE_WITH_PARENT), *command], environment
        )

    def fork_executor(self, environment: dict[str, str]) -> int:
        """Starts an executor whose code is loaded already, and returns its process id."""
        assert self.launcher.stdin is not None
        assert self.launcher.stdout is not None
        self.launcher.stdin.write(json.dumps(environment) + "\n")
        self.launcher.stdin.flush()
        return int(self.launcher.stdout.readline())

    def metadata(self, organization: str) -> Metadata:
        """Returns the metadata of calls of somebody who may do everything in an organization."""
        claims = TokenClaims(organization=organization, user="ada", permissions=ADMIN)
        pem = (self.keys_dir / "issuer.pem").read_bytes()
        return (("authorization", f"Bearer {issue_token(pem, claims)}"),)

    def stop(self) -> None:
        """Ends all processes."""
        for module in self._processes:
            self.kill(module)
        self.launcher.kill()
        self.launcher.wait()


class Organization:
    """An organization with its tools, its budget and its part of the ledger."""

    def __init__(self, peers: Peers, channels: dict[str, grpc.aio.Channel]) -> None:
        self.peers = peers
        self.name = f"organization-{uuid.uuid4()}"
        self.metadata = peers.metadata(self.name)
        tool_runner, ledger = channels["tool_runner"], channels["ledger"]
        self._tools: Any = tool_service_pb2_grpc.ToolServiceStub(tool_runner)
        self._policy: Any = policy_service_pb2_grpc.PolicyServiceStub(tool_runner)
        self._budgets: Any = budget_service_pb2_grpc.BudgetServiceStub(ledger)
        self._usage: Any = usage_service_pb2_grpc.UsageServiceStub(ledger)

    async def prepare(self, tool_seconds: float = TOOL_SECONDS) -> None:
        """Registers the tools, lets them reach the witness, and sets a budget."""
        origin = self.peers.witness.origin
        await self._policy.AddAllowedDomain(
            policy_service_pb2.AddAllowedDomainRequest(domain=HOST),
            metadata=self.metadata,
            wait_for_ready=True,
        )
        for name, (effect, method) in TOOLS.items():
            source = SOURCE.format(
                name=name, effect=effect, method=method, origin=origin, seconds=tool_seconds
            )
            request = tool_service_pb2.CreateToolRequest(
                name=name, source=source, class_name="Witnessed", allowed_origins=[origin]
            )
            await self._tools.CreateTool(request, metadata=self.metadata)
        await self.set_limit(1_000_000)

    def agent(self, **fields: Any) -> agent_service_pb2.CreateAgentRequest:
        """Returns an agent that uses all the tools."""
        use = {name: agent_pb2.CustomTool(enabled=True) for name in TOOLS}
        for tool in use.values():
            setattr(tool, "class", "Witnessed")
        return agent_service_pb2.CreateAgentRequest(
            name="Witnessed",
            model="claude-sonnet-4-5",
            tools=dict.fromkeys(TOOLS, True),
            custom_tools=use,
            **fields,
        )

    async def set_limit(self, limit_usd: float) -> None:
        """Sets what the whole organization may spend."""
        await self._budgets.PutBudget(
            budget_service_pb2.PutBudgetRequest(budget_id=BUDGET, limit_usd=limit_usd),
            metadata=self.metadata,
            wait_for_ready=True,
        )

    def verify_ledger(self) -> None:
        """Holds the sums of its part of the ledger against the entries, as `ledger verify` does."""
        path = self.peers.data_dir / "ledger" / "ledger.sqlite3"
        assert list(verify(path, organization_id=self.name)) == []

    async def entries(self, run_id: str) -> list[usage_pb2.UsageEntry]:
        """Returns the ledger's entries of a run."""
        request = usage_service_pb2.ListUsageEntriesRequest(run_id=run_id, page_size=1000)
        answer = await self._usage.ListUsageEntries(request, metadata=self.metadata)
        return list(answer.entries)

    async def reserved_nano_usd(self) -> int:
        """Returns what is held for calls under way."""
        request = budget_service_pb2.GetBudgetRequest(budget_id=BUDGET)
        budget = await self._budgets.GetBudget(request, metadata=self.metadata)
        return int(budget.reserved_nano_usd)


@contextlib.contextmanager
def running_peers(data_dir: Path) -> Iterator[Peers]:
    """Starts everything but executors."""
    ensure_keys(data_dir)
    launcher = subprocess.Popen(
        [sys.executable, LAUNCHER],
        env=command_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with scripted_claude() as claude, running_web_server() as witness, launcher:
        peers = Peers(data_dir, claude, witness, launcher)
        try:
            peers.start("ledger")
            peers.start("tool_runner")
            yield peers
        finally:
            peers.stop()
