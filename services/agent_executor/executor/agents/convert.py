"""Between agents and their contract. Pure; decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from agent_executor.api.executor.v1 import agent_pb2, agent_service_pb2
from agent_executor.executor.agents.agent import AgentVersion, CustomTool
from agent_executor.executor.approvals.convert import policy_from_proto, policy_to_proto
from agent_executor.executor.context.policy import ContextPolicy
from agent_executor.executor.money import nano_usd_of, usd_of
from agent_executor.serving.timestamp_convert import timestamp

# Fields that are the same in AgentVersion, in the requests and in what is shown.
_PLAIN_FIELDS: Final = (
    "name",
    "description",
    "model",
    "is_active",
    "role",
    "instructions",
    "max_model_turns",
    "max_output_tokens",
    "on_budget_exceeded",
    "min_output_tokens",
    "run_timeout_seconds",
    "provider",
    "base_url",
    "thinking_budget_tokens",
    "response_cache_ttl_seconds",
    "run_timeout_seconds",
)
_MAP_FIELDS: Final = ("tools", "custom_tools")
_POLICY_FIELDS: Final = ("approval_policy", "context_policy")
# What a field becomes that a mask names and the request leaves out. A name has no default.
_DEFAULTS: Final = {
    field.name: field.default
    for field in msgspec.structs.fields(AgentVersion)
    if field.name in _PLAIN_FIELDS and not field.required
}
# What else is left unchanged unless it is set.
_OTHER_FIELDS: Final = ("max_cost_usd", "api_key", *_POLICY_FIELDS)
UPDATABLE_FIELDS: Final = frozenset({*_PLAIN_FIELDS, *_MAP_FIELDS, *_OTHER_FIELDS})


def created_fields(request: agent_service_pb2.CreateAgentRequest) -> dict[str, Any]:
    """Returns the fields of ``AgentVersion`` that a request sets; the others have defaults."""
    fields = {name: getattr(request, name) for name in _PLAIN_FIELDS if name != "is_active"}
    fields = {name: value for name, value in fields.items() if value}
    if request.HasField("is_active"):
        fields["is_active"] = request.is_active
    if request.agent_type:
        fields["agent_type"] = request.agent_type
    if request.max_cost_usd:
        fields["max_cost_nano_usd"] = nano_usd_of(request.max_cost_usd, "max_cost_usd")
    present = [name for name in _POLICY_FIELDS if request.HasField(name)]
    return fields | _policies_of(request, present) | _maps_of(request, _MAP_FIELDS)


def updated_fields(
    request: agent_service_pb2.UpdateAgentRequest,
) -> tuple[dict[str, Any], str | None]:
    """Returns the fields of ``AgentVersion`` to change, and the new key or None to leave it."""
    if request.HasField("update_mask"):
        named = set(request.update_mask.paths)
    else:
        optional = (*_PLAIN_FIELDS, *_OTHER_FIELDS)
        named = {name for name in optional if request.HasField(name)}
        named |= {name for name in _MAP_FIELDS if getattr(request, name)}
    fields: dict[str, Any] = {
        name: getattr(request, name) if request.HasField(name) else _DEFAULTS[name]
        for name in _PLAIN_FIELDS
        if name in named
    }
    if "max_cost_usd" in named:
        fields["max_cost_nano_usd"] = nano_usd_of(request.max_cost_usd, "max_cost_usd")
    fields |= _policies_of(request, [name for name in _POLICY_FIELDS if name in named])
    fields |= _maps_of(request, [name for name in _MAP_FIELDS if name in named])
    return fields, request.api_key if "api_key" in named else None


def agent_to_proto(agent: AgentVersion, warnings: Sequence[str] = ()) -> agent_pb2.Agent:
    """Returns an agent as the API shows it: without its key, and with what its maker should know."""
    plain: dict[str, Any] = {name: getattr(agent, name) for name in _PLAIN_FIELDS}
    return agent_pb2.Agent(
        id=agent.agent_id,
        agent_type=agent.agent_type,
        tools=agent.tools,
        custom_tools={
            name: _custom_tool_to_proto(custom) for name, custom in agent.custom_tools.items()
        },
        has_api_key=bool(agent.api_key_ciphertext),
        max_cost_usd=usd_of(agent.max_cost_nano_usd),
        max_cost_nano_usd=agent.max_cost_nano_usd,
        approval_policy=policy_to_proto(agent.approval_policy),
        context_policy=_context_policy_to_proto(agent.context_policy),
        version=agent.version,
        created_at=timestamp(agent.created_at_ms),
        updated_at=timestamp(agent.updated_at_ms),
        warnings=warnings,
        **plain,
    )


def _policies_of(
    request: agent_service_pb2.CreateAgentRequest | agent_service_pb2.UpdateAgentRequest,
    names: Iterable[str],
) -> dict[str, Any]:
    policies: dict[str, Any] = {}
    for name in names:
        if name == "approval_policy":
            policies[name] = policy_from_proto(request.approval_policy)
        else:
            policies[name] = _context_policy_from_proto(request.context_policy)
    return policies


def _context_policy_to_proto(policy: ContextPolicy) -> agent_pb2.ContextPolicy | None:
    """Returns a policy as the API shows it; None for the usual one."""
    if policy == ContextPolicy():
        return None
    return agent_pb2.ContextPolicy(**msgspec.structs.asdict(policy))


def _context_policy_from_proto(policy: agent_pb2.ContextPolicy) -> ContextPolicy:
    return ContextPolicy(
        max_history_turns=policy.max_history_turns,
        max_input_tokens=policy.max_input_tokens,
        summarize=policy.summarize,
        max_tool_result_bytes=policy.max_tool_result_bytes,
    )


def _custom_tool_to_proto(custom: CustomTool) -> agent_pb2.CustomTool:
    # The field is a word, which Python cannot take as a keyword argument.
    fields: dict[str, Any] = {"class": custom.class_name, "enabled": custom.enabled}
    return agent_pb2.CustomTool(version=custom.version, **fields)


def _maps_of(
    request: agent_service_pb2.CreateAgentRequest | agent_service_pb2.UpdateAgentRequest,
    names: Iterable[str],
) -> dict[str, Any]:
    maps: dict[str, Any] = {}
    for name in names:
        if name == "tools":
            maps[name] = dict(request.tools)
        else:
            maps[name] = {
                tool: CustomTool(getattr(custom, "class"), custom.enabled, custom.version)
                for tool, custom in request.custom_tools.items()
            }
    return maps
