"""A run in the hands of its driver."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.context.run_context import RunContext
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.log.run_log import RunLog
from agent_executor.executor.model_calls.run_money import RunMoney
from agent_executor.executor.model_calls.settlements import Settlements
from agent_executor.serving.security import SecurityContext


@dataclass(slots=True)
class DrivenRun:
    """What the steps of one run share while this executor drives it.

    Attributes:
        log: Its log.
        agent: The agent's version that it is bound to.
        security: On whose behalf it goes on.
        settlements: Of its model calls.
        money: What is held for it.
        context: Its conversation, as its model is given it.
        announced: The tool calls about which people are known to be asked.
    """

    log: RunLog
    agent: AgentVersion
    security: SecurityContext
    settlements: Settlements
    money: RunMoney
    context: RunContext
    announced: set[str] = field(default_factory=set)

    def stop(self) -> None:
        """Ends what goes on beside the steps. Whoever drives the run next begins it again."""
        self.settlements.cancel()
        self.money.stop()


def security_of(run: RunRecord) -> SecurityContext:
    """Returns on whose behalf a run goes on, also after a recovery."""
    return SecurityContext(run.organization_id, run.user_id, frozenset(run.permissions))
