"""Reads what is recorded of a run, so that whoever has claimed it can go on with it."""

from __future__ import annotations

from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.agents.agents import Agents
from agent_executor.executor.context.history import History
from agent_executor.executor.conversations.conversations import Conversations
from agent_executor.executor.driving.driven_run import security_of
from agent_executor.executor.journal.event_pages import folded
from agent_executor.executor.journal.journal import Journal, RunRecord
from agent_executor.executor.log.run import RunState


class RunLoader:
    """Reads runs, their agents and their conversations."""

    def __init__(self, journal: Journal, agents: Agents, conversations: Conversations) -> None:
        self._journal = journal
        self._agents = agents
        self._conversations = conversations

    async def state(self, run: RunRecord) -> tuple[RunState, History]:
        """Returns a run's state, and what was said before it in its conversation.

        Raises:
            UnavailableError: The storage failed.
        """
        state, _ = await folded(self._journal, run.run_id)
        return state, await self._conversations.history(run, state)

    async def agent(self, run: RunRecord) -> AgentVersion:
        """Returns the version of the agent that a run is bound to.

        Raises:
            AgentNotFoundError: There is none.
            UnavailableError: The storage failed.
        """
        return await self._agents.load(run.agent_id, security_of(run), run.agent_version)
