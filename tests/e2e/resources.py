"""One resource of each kind, for tests of who may have it."""

from __future__ import annotations

from typing import Final

from tests.e2e.agents_and_runs import begun_conversation, create_agent
from tests.e2e.approving import decided_run
from tests.e2e.ledger_resources import LEDGER_NAMES, RECORDED, create_ledger_resources
from tests.e2e.rpc import METHODS, call, channel_to
from tests.e2e.tool_runner_resources import NAMES, create_mcp_server, create_tool_runner_resources
from tests.platforms import Client, RunningPlatform

UNKNOWN: Final = dict.fromkeys(
    (
        *("agent_id", "run_id", "tool_call_id", "conversation_id", "api_key_id"),
        *("reservation_id", "entry_id"),
        *LEDGER_NAMES,
        *NAMES,
    ),
    "unknown",
)
"""The same names, of what nobody has."""


def create_resources(client: Client) -> dict[str, str]:
    """Creates them and returns their names, by their names in paths and requests."""
    agent_id = create_agent(client)
    run_id, tool_call_id = decided_run(client)
    create_tool_runner_resources(client)
    create_mcp_server(client)
    return {
        "agent_id": agent_id,
        "run_id": run_id,
        "tool_call_id": tool_call_id,
        "conversation_id": begun_conversation(client, agent_id),
        "api_key_id": client.post("/api/v1/api-keys", {"name": "ours"}).body["api_key"]["id"],
        "entry_id": RECORDED["id"],
        **create_ledger_resources(client),
        **NAMES,
    }


def held_reservation(platform: RunningPlatform, client: Client) -> str:
    """Holds money at the ledger and returns the reservation's id."""
    reserve = METHODS["UsageService/ReserveAmount"]
    held = {"agent_id": "a", "run_id": "r", "reservation_id": "held", "amount_nano_usd": 1}
    with channel_to(platform, "ledger") as channel:
        call(channel, reserve, reserve.request(**held), client.token)
    return "held"
