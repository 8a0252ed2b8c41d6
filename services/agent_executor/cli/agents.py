"""Which agent a command means."""

from __future__ import annotations

from agent_executor.cli.pages import all_of
from agent_executor.cli.rest import RestClient, RestError

_AGENTS_MAX = 100_000


def agent_id_of(client: RestClient, agent: str) -> str:
    """Returns an agent's id by its id, or by its name if no other has it.

    Raises:
        RestError: There is none, or there are several; or the platform does not answer.
    """
    rows = all_of(client, "/api/v1/agents", "agents", _AGENTS_MAX)
    if any(row["id"] == agent for row in rows):
        return agent
    named = [row["id"] for row in rows if row["name"] == agent]
    if len(named) == 1:
        return str(named[0])
    if not named:
        msg = f"There is no agent of the id or name {agent!r}."
    else:
        msg = (
            f"{len(named)} agents have the name {agent!r}; name one by its id: {', '.join(named)}."
        )
    raise RestError(msg)
