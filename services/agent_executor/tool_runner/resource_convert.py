"""Between custom tools, policy and credentials and their contracts. Pure; decides nothing."""

from __future__ import annotations

from typing import Any, Final, cast

from google.protobuf import struct_pb2

from agent_executor.api.tool_runner.v1 import (
    credential_service_pb2,
    policy_service_pb2,
    tool_service_pb2,
)
from agent_executor.serving.timestamp_convert import timestamp
from agent_executor.tool_runner.credentials.store import StoredCredential
from agent_executor.tool_runner.custom.custom_tools import ToolRegistration
from agent_executor.tool_runner.policy.organization_policy import AllowedDomain, ToolRateLimit
from agent_executor.tool_runner.sandbox_status import SandboxStatus
from agent_executor.tool_runner.tool_base import Effect

# Up to here a double holds every integer.
_INTEGER_MAX: Final = 2**53


def registration_from_proto(request: tool_service_pb2.CreateToolRequest) -> ToolRegistration:
    """Returns what a request wants to register."""
    schema = dict_from_struct(request.input_schema) if request.HasField("input_schema") else None
    return ToolRegistration(
        name=request.name,
        source=request.source,
        class_name=request.class_name,
        description=request.description,
        input_schema=schema,
        # The contract lets no other in.
        effect=cast("Effect", request.effect),
        timeout_seconds=request.timeout_seconds,
        cache_ttl_seconds=request.cache_ttl_seconds,
        allowed_origins=tuple(request.allowed_origins),
        requires_approval=(
            request.requires_approval if request.HasField("requires_approval") else None
        ),
    )


def dict_from_struct(struct: struct_pb2.Struct) -> dict[str, Any]:
    """Returns a JSON object, in which whole numbers are integers; by the order of its keys.

    A ``Struct`` has doubles alone and no order. Its depth is limited where it is parsed.
    """
    return {name: _from_value(struct.fields[name]) for name in sorted(struct.fields)}


def rate_limit_to_proto(rule: ToolRateLimit) -> policy_service_pb2.RateLimit:
    """Returns a rate limit."""
    return policy_service_pb2.RateLimit(
        tool_name=rule.tool_name,
        scope=rule.scope,
        max_calls=rule.limit.max_calls,
        window_seconds=rule.limit.window_seconds,
    )


def allowed_domain_to_proto(domain: AllowedDomain) -> policy_service_pb2.AllowedDomain:
    """Returns an allowed domain."""
    return policy_service_pb2.AllowedDomain(
        domain=domain.domain, created_at=timestamp(domain.created_at_ms)
    )


def credential_to_proto(credential: StoredCredential) -> credential_service_pb2.Credential:
    """Returns a credential without its secret."""
    return credential_service_pb2.Credential(
        name=credential.name,
        header_name=credential.header_name,
        header_prefix=credential.header_prefix,
        allowed_origins=credential.allowed_origins,
        tools=credential.tools,
        updated_at=timestamp(credential.updated_at_ms),
    )


def sandbox_to_proto(status: SandboxStatus) -> tool_service_pb2.Sandbox:
    """Returns how custom tools are isolated."""
    return tool_service_pb2.Sandbox(
        available=status.available,
        tier=status.tier,
        landlock_abi=status.landlock_abi,
        missing=status.missing,
        remedy=status.remedy,
        checked_at=timestamp(status.checked_at_ms) if status.checked_at_ms else None,
        idle_workers=status.idle_workers,
        busy_workers=status.busy_workers,
    )


def _from_value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return dict_from_struct(value.struct_value)
    if kind == "list_value":
        return [_from_value(item) for item in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        is_whole = abs(number) <= _INTEGER_MAX and number.is_integer()
        return int(number) if is_whole else number
    return None if kind in {None, "null_value"} else getattr(value, kind)
