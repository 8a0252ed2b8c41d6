"""Makes new runs: whether one can be, and what is recorded of it first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agent_executor.errors import (
    AgentInactiveError,
    FailedPreconditionError,
    RunFinishedError,
    RunNotFoundError,
)
from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.agents.agents import Agents
from agent_executor.executor.conversations.conversations import Conversations, ConversationStart
from agent_executor.executor.identifiers import new_id
from agent_executor.executor.journal.journal import Journal, RunRecord
from agent_executor.executor.log.run import FINAL_STATES
from agent_executor.executor.log.run_event import ModelSelected, Payload, RunStarted
from agent_executor.executor.models.model_choice import AUTO_MODEL, ModelChoice
from agent_executor.executor.peers.tools import ToolRunner, require_all
from agent_executor.executor.runs.run_options import RunOptions
from agent_executor.serving.security import SecurityContext

# As deep as the ledger lets amounts draw from one another. Without a bound, agents that start one
# another by mistake would do so for ever.
MAX_RUNS_IN_CHAIN: Final = 32


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What new runs are bound to, once it is known that they can be.

    Attributes:
        agent: The agent's version.
        tool_versions: Of the custom tools, by name.
        parent_amount_id: The amount that the parent draws from; empty if there is none.
        security: On whose behalf.
        options: What the caller said.
        conversation: What of its conversation it begins with.
    """

    agent: AgentVersion
    tool_versions: dict[str, str]
    parent_amount_id: str
    security: SecurityContext
    options: RunOptions
    conversation: ConversationStart


class NewRuns:
    """Makes new runs, which are not durable yet."""

    def __init__(
        self,
        *,
        journal: Journal,
        agents: Agents,
        conversations: Conversations,
        tools: ToolRunner,
        owner: str,
        now_ms: Callable[[], int],
    ) -> None:
        self._journal = journal
        self._agents = agents
        self._conversations = conversations
        self._tools = tools
        self._owner = owner
        self._now_ms = now_ms

    async def plan(self, agent_id: str, security: SecurityContext, options: RunOptions) -> RunPlan:
        """Returns what a new run is bound to.

        Raises:
            AgentNotFoundError: There is no such agent in the organization.
            RunNotFoundError: The organization has no run of the parent's id.
            RunFinishedError: The parent has ended.
            FailedPreconditionError: The parent is the last of ``MAX_RUNS_IN_CHAIN`` runs that have
                started one another.
            AgentInactiveError: The agent is switched off.
            ToolNotFoundError: The agent has a tool enabled that is not registered.
            InvalidArgumentError: The conversation's id is none, or the model's provider takes no
                batches.
        """
        agent = await self._agents.load(agent_id, security)
        parent = await self._parent(options.parent_run_id, security)
        if not agent.is_active:
            raise AgentInactiveError(
                f"Agent {agent.agent_id} is not active.", metadata={"agentId": agent.agent_id}
            )
        if options.processing:
            self._agents.require_batches(agent)
        names, pinned = agent.enabled_tools(), agent.pinned_versions()
        known = await self._tools.describe(names, security, pinned) if names else ()
        require_all(names, known, pinned)
        return RunPlan(
            agent=agent,
            tool_versions={tool.name: tool.version for tool in known if tool.version},
            parent_amount_id=parent.amount_id if parent is not None else "",
            security=security,
            options=options,
            # Last, so that there is little time for another run of it to begin.
            conversation=await self._conversations.begin(options.conversation_id, agent, security),
        )

    def make(
        self, plan: RunPlan, text: str, *, is_background: bool, is_queued: bool
    ) -> tuple[RunRecord, list[Payload]]:
        """Returns the record of a new run and its first events.

        Args:
            plan: What it is bound to.
            text: What is asked of the agent.
            is_background: Nobody waits for it.
            is_queued: It waits for its turn; else this executor drives it.
        """
        agent, security, options = plan.agent, plan.security, plan.options
        run_id = new_id()
        selected = self._select_model(plan, text)
        model = selected.model if selected is not None else agent.model
        max_cost_nano_usd = _tighter(options.max_cost_nano_usd, agent.max_cost_nano_usd)
        run = RunRecord(
            run_id=run_id,
            organization_id=security.organization_id,
            user_id=security.user_id,
            permissions=tuple(sorted(security.permissions)),
            agent_id=agent.agent_id,
            agent_version=agent.version,
            model=model,
            input=text,
            is_test=options.is_test,
            traceparent=options.traceparent,
            created_at_ms=self._now_ms(),
            owner="" if is_queued else self._owner,
            attempt=0 if is_queued else 1,
            parent_run_id=options.parent_run_id,
            amount_id=run_id if max_cost_nano_usd else plan.parent_amount_id,
            conversation_id=options.conversation_id,
            has_webhook=options.webhook is not None,
        )
        started = RunStarted(
            agent_id=agent.agent_id,
            agent_version=agent.version,
            model=model,
            input=text,
            is_test=options.is_test,
            tool_versions=plan.tool_versions,
            parent_run_id=options.parent_run_id,
            max_cost_nano_usd=max_cost_nano_usd,
            parent_amount_id=plan.parent_amount_id,
            is_background=is_background,
            conversation_id=options.conversation_id,
            timeout_seconds=options.timeout_seconds or agent.run_timeout_seconds,
            is_queued=is_queued,
            processing=options.processing,
            history=plan.conversation.range,
            max_tool_result_bytes=agent.context_policy.tool_result_bytes(),
        )
        if selected is None:
            return run, [started]
        return run, [started, ModelSelected(selected.model, selected.reason)]

    def _select_model(self, plan: RunPlan, text: str) -> ModelChoice | None:
        # Only a model that is chosen depends on how much it is to read.
        is_chosen = plan.agent.model == AUTO_MODEL
        history_bytes = plan.conversation.size_bytes(plan.agent.model) if is_chosen else 0
        return self._agents.select_model(plan.agent, text, history_bytes)

    async def _parent(self, run_id: str, security: SecurityContext) -> RunRecord | None:
        """Returns the run that starts a new one, which must be under way; None if none does."""
        if not run_id:
            return None
        parent = await self._journal.get(security.organization_id, run_id)
        if parent is None:
            raise run_not_found(run_id)
        if parent.state in FINAL_STATES:
            raise RunFinishedError(
                f"Run {run_id} has ended, so that it can start no other one.",
                metadata={"runId": run_id},
            )
        await self._check_depth(parent)
        return parent

    async def _check_depth(self, parent: RunRecord) -> None:
        """Checks that a run may start another one, by the runs that have started it."""
        depth, run = 1, parent
        while run.parent_run_id and depth < MAX_RUNS_IN_CHAIN:
            above = await self._journal.get(run.organization_id, run.parent_run_id)
            if above is None:
                return
            depth, run = depth + 1, above
        if depth >= MAX_RUNS_IN_CHAIN:
            raise FailedPreconditionError(
                f"Run {parent.run_id} is the last of {depth} runs that have started one another, "
                "which is the limit.",
                metadata={"runId": parent.run_id, "maxRunsInChain": str(MAX_RUNS_IN_CHAIN)},
            )


def run_not_found(run_id: str) -> RunNotFoundError:
    """Returns what is told of a run that the organization does not have."""
    return RunNotFoundError(f"Run {run_id} does not exist.", metadata={"runId": run_id})


def _tighter(one_nano_usd: int, other_nano_usd: int) -> int:
    """Returns the lower of two limits, of which 0 is none."""
    return min(one_nano_usd or other_nano_usd, other_nano_usd or one_nano_usd)
