"""What other agents are told of an agent: its card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    HTTPAuthSecurityScheme,
    SecurityRequirement,
    SecurityScheme,
    StringList,
)

from agent_executor.api.executor.v1 import agent_pb2, agent_service_pb2

PROTOCOL_VERSIONS: Final = ("1.0", "0.3")
"""The revisions of the protocol that are served, at the same address."""

_TEXT: Final = "text/plain"
_JSON: Final = "application/json"
_BEARER: Final = "bearer"


def agent_to_card(
    agent: agent_pb2.Agent, tools: Sequence[agent_service_pb2.AgentTool], url: str
) -> AgentCard:
    """Returns the card of an agent.

    Args:
        agent: The agent; the card has its version.
        tools: Its tools; those that are enabled are its skills.
        url: Where its tasks are served.
    """
    scheme = HTTPAuthSecurityScheme(
        scheme="Bearer", description="A token of an issuer that the platform trusts, or an API key."
    )
    return AgentCard(
        name=agent.name,
        description=agent.description or agent.role or f"The agent {agent.name}.",
        version=str(agent.version),
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version=version)
            for version in PROTOCOL_VERSIONS
        ],
        capabilities=AgentCapabilities(
            streaming=True, push_notifications=False, extended_agent_card=False
        ),
        security_schemes={_BEARER: SecurityScheme(http_auth_security_scheme=scheme)},
        security_requirements=[SecurityRequirement(schemes={_BEARER: StringList()})],
        default_input_modes=[_TEXT, _JSON],
        default_output_modes=[_TEXT],
        skills=[_agent_to_skill(agent), *(_tool_to_skill(tool) for tool in tools if tool.enabled)],
    )


def _agent_to_skill(agent: agent_pb2.Agent) -> AgentSkill:
    return AgentSkill(
        id="answer",
        name=agent.name,
        description=agent.description or "Answers what it is asked.",
        tags=["agent"],
    )


def _tool_to_skill(tool: agent_service_pb2.AgentTool) -> AgentSkill:
    return AgentSkill(
        id=f"tool:{tool.name}", name=tool.name, description=tool.description, tags=["tool"]
    )
