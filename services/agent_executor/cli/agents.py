"""Which agent a command means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_executor.cli.connection import ConnectionFaultError
from agent_executor.cli.pages import PAGE_ROWS

if TYPE_CHECKING:
    from agent_executor.client import AgentExecutorClient


def agent_id_of(client: AgentExecutorClient, agent: str) -> str:
    """Returns an agent's id by its id, or by its name if no other has it.

    Raises:
        ConnectionFaultError: There is none, or there are several.
        AgentExecutorError: The platform does not answer.
    """
    named: list[str] = []
    for each in client.agents.list(page_size=PAGE_ROWS):
        if each.id == agent:
            return agent
        if each.name == agent:
            named.append(each.id)
    if len(named) == 1:
        return named[0]
    if not named:
        msg = f"There is no agent of the id or name {agent!r}."
    else:
        msg = (
            f"{len(named)} agents have the name {agent!r}; name one by its id: {', '.join(named)}."
        )
    raise ConnectionFaultError(msg)
