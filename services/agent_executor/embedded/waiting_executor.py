"""The library's class for programs without an event loop of their own."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent_executor.embedded.event_loop import Steps, loop_runs
from agent_executor.embedded.executor import AsyncAgentExecutor
from agent_executor.executor.models.catalog import LLMModel
from agent_executor.tool_runner.policy.sandbox import ToolSandbox


class AgentExecutor:
    """One agent, run in this process; the same as ``AsyncAgentExecutor`` without ``await``."""

    def __init__(
        self,
        agent_config: Mapping[str, Any],
        model: LLMModel | str,
        *,
        sandbox: ToolSandbox | None = None,
        security_context: Mapping[str, Any] | None = None,
        data_dir: Path | str | None = None,
    ) -> None:
        """See ``AsyncAgentExecutor``."""
        self._executor = AsyncAgentExecutor(
            agent_config,
            model,
            sandbox=sandbox,
            security_context=security_context,
            data_dir=data_dir,
        )
        self.model = self._executor.model
        self.tools = self._executor.tools

    def execute(
        self,
        input: str,  # noqa: A002 -- the word of the public API
        *,
        parent_run_id: str = "",
        max_cost_usd: float = 0.0,
        conversation_id: str = "",
    ) -> dict[str, Any]:
        """Runs the agent and returns what came of it; see ``AsyncAgentExecutor.execute``."""
        running = self._executor._execute(input, parent_run_id, max_cost_usd, conversation_id)  # noqa: SLF001 -- its own other half
        return loop_runs(running)

    def list_approvals(self, run_id: str = "") -> list[dict[str, Any]]:
        """Returns the tool calls that wait; see ``AsyncAgentExecutor.list_approvals``.

        As ``execute`` waits as well, it is called in another thread.
        """
        return loop_runs(self._executor._approvals.list_pending(run_id))  # noqa: SLF001 -- its own other half

    def resolve_approval(
        self,
        approval: Mapping[str, Any],
        decision: str,
        *,
        reason: str = "",
        arguments: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Decides about a tool call; see ``AsyncAgentExecutor.resolve_approval``."""
        approvals = self._executor._approvals  # noqa: SLF001 -- its own other half
        return loop_runs(approvals.resolve(approval, decision, reason, arguments))

    def stream(
        self,
        input: str,  # noqa: A002 -- the word of the public API
        *,
        parent_run_id: str = "",
        max_cost_usd: float = 0.0,
        on_disconnect: str = "continue",
        conversation_id: str = "",
    ) -> Generator[dict[str, Any]]:
        """Runs the agent and yields what happens; see ``AsyncAgentExecutor.stream``."""
        stream = self._executor._stream  # noqa: SLF001 -- its own other half
        updates = Steps(stream(input, parent_run_id, max_cost_usd, on_disconnect, conversation_id))
        try:
            while True:
                update = loop_runs(updates.next())
                if update is None:
                    return
                yield update
        finally:
            loop_runs(updates.close())

    def run_ids(self) -> list[str]:
        """Returns its runs that have not ended; see ``AsyncAgentExecutor.run_ids``."""
        return loop_runs(self._executor._run_ids())  # noqa: SLF001 -- its own other half

    def cancel(self, run_id: str, reason: str = "") -> dict[str, Any]:
        """Ends a run, from another thread; see ``AsyncAgentExecutor.cancel``."""
        return loop_runs(self._executor._cancel(run_id, reason))  # noqa: SLF001 -- its own other half

    def close(self) -> None:
        """Releases what the executor holds open."""
        loop_runs(self._executor._assembly.close())  # noqa: SLF001 -- its own other half

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes it."""
        self.close()
