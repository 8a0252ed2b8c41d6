"""Which tool calls wait for a person's decision. Pure."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from agent_executor.errors import AgentExecutorError, InvalidArgumentError, LimitExceededError
from agent_executor.executor.log.run_event import ApprovalRequested, ToolCallStarted
from agent_executor.executor.models.model import ToolSpecification
from agent_executor.json_schema.argument_schema import ArgumentSchema

DEFAULT_TIMEOUT_SECONDS: Final = 86_400
TIMEOUT_SECONDS_MAX: Final = 30 * 86_400
RULES_MAX: Final = 100
TOOL_BYTES_MAX: Final = 128
SCHEMA_BYTES_MAX: Final = 10_000
REASON_BYTES_MAX: Final = 1_000
EVERY_TOOL: Final = "*"
EFFECT_PREFIX: Final = "effect:"
EFFECTS: Final = ("unsafe", "idempotent", "read_only")

_COMPILED_SCHEMAS_MAX: Final = 256


class ApprovalRule(msgspec.Struct, frozen=True):
    """Matches tool calls.

    Attributes:
        tool: The tool's name; ``*`` for every tool, or ``effect:unsafe``, ``effect:idempotent`` or
            ``effect:read_only`` for every tool that is declared so.
        arguments_schema_json: A JSON Schema as JSON text; the rule matches arguments that it
            describes. Empty: all arguments.
        reason: What the person is told; empty for a sentence that says that the policy asks.
    """

    tool: str
    arguments_schema_json: str = ""
    reason: str = ""


class ApprovalPolicy(msgspec.Struct, frozen=True):
    """Which tool calls of an agent wait for a person's decision, beside those whose tool demands it.

    Attributes:
        rules: At most 100; a call waits if one of them matches.
        timeout_seconds: How long a decision is waited for, at most 30 days; 0: a day. What nobody
            has decided by then is denied.
    """

    rules: tuple[ApprovalRule, ...] = ()
    timeout_seconds: int = 0

    def check(self) -> None:
        """Checks what an agent is created or changed with.

        Raises:
            InvalidArgumentError: A limit is not kept, an effect is none, or a schema is not valid.
            LimitExceededError: A schema would cost too much to check against.
        """
        if not 0 <= self.timeout_seconds <= TIMEOUT_SECONDS_MAX:
            raise _invalid("timeout_seconds", f"must be from 0 to {TIMEOUT_SECONDS_MAX}.")
        if len(self.rules) > RULES_MAX:
            raise _invalid("rules", f"may be {RULES_MAX} at most.")
        for index, rule in enumerate(self.rules):
            _check_rule(rule, f"rules[{index}]")

    def expires_at_ms(self, now_ms: int) -> int:
        """Returns until when a call that asks now is waited for."""
        return now_ms + 1000 * (self.timeout_seconds or DEFAULT_TIMEOUT_SECONDS)

    def reason_to_ask(self, call: ToolCallStarted, tool: ToolSpecification | None) -> str | None:
        """Returns why a call needs a decision, or None if it does not.

        What is not known matches: a rule about an effect matches a tool that is not described, and
        one about arguments matches those that are too large to be checked.

        Args:
            call: The call.
            tool: Its tool as the tool-runner describes it; None if it is none of the agent's.
        """
        for rule in self.rules:
            if _is_of_tool(rule.tool, call.tool_name, tool) and _is_of_arguments(rule, call):
                return rule.reason or f'The agent\'s policy asks about calls of "{call.tool_name}".'
        if tool is not None and tool.requires_approval:
            return f'Every call of "{call.tool_name}" needs a decision.'
        return None


NO_POLICY: Final = ApprovalPolicy()


def asked_or_started(
    calls: Sequence[ToolCallStarted],
    policy: ApprovalPolicy,
    tools: Sequence[ToolSpecification],
    now_ms: int,
) -> list[ToolCallStarted | ApprovalRequested]:
    """Returns how the tool calls of an answer begin: each is started, or asked about first.

    Args:
        calls: The calls, in the order asked for.
        policy: The agent's.
        tools: The tools that the agent may use.
        now_ms: The present.
    """
    if not policy.rules and not any(tool.requires_approval for tool in tools):
        return list(calls)
    known = {tool.name: tool for tool in tools}
    events: list[ToolCallStarted | ApprovalRequested] = []
    for call in calls:
        reason = policy.reason_to_ask(call, known.get(call.tool_name))
        if reason is None:
            events.append(call)
            continue
        events.append(
            ApprovalRequested(
                tool_call_id=call.tool_call_id,
                tool_use_id=call.tool_use_id,
                tool_name=call.tool_name,
                arguments_json=call.arguments_json,
                reason=reason,
                expires_at_ms=policy.expires_at_ms(now_ms),
            )
        )
    return events


def _is_of_tool(wanted: str, tool_name: str, tool: ToolSpecification | None) -> bool:
    if wanted.startswith(EFFECT_PREFIX):
        return tool is None or tool.effect == wanted.removeprefix(EFFECT_PREFIX)
    return wanted in (EVERY_TOOL, tool_name)


def _is_of_arguments(rule: ApprovalRule, call: ToolCallStarted) -> bool:
    if not rule.arguments_schema_json:
        return True
    try:
        arguments = msgspec.json.decode(call.arguments_json, type=dict[str, Any])
        return _compiled(rule.arguments_schema_json).describes(arguments)
    except (LimitExceededError, ValueError, RecursionError):
        return True


@functools.lru_cache(_COMPILED_SCHEMAS_MAX)
def _compiled(schema_json: str) -> ArgumentSchema:
    """Returns a rule's schema, which need not say that it is one of an object.

    Raises:
        InvalidArgumentError: It is no schema of an object.
        LimitExceededError: It would cost too much to check against.
    """
    try:
        schema = msgspec.json.decode(schema_json, type=dict[str, Any])
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"It is not the JSON text of an object: {error}.") from None
    return ArgumentSchema({"type": "object"} | schema)


def _check_rule(rule: ApprovalRule, path: str) -> None:
    for name, value, bytes_max in (
        ("tool", rule.tool, TOOL_BYTES_MAX),
        ("arguments_schema_json", rule.arguments_schema_json, SCHEMA_BYTES_MAX),
        ("reason", rule.reason, REASON_BYTES_MAX),
    ):
        if len(value.encode(errors="replace")) > bytes_max:
            raise _invalid(f"{path}.{name}", f"may be {bytes_max} bytes at most.")
    effect = rule.tool.removeprefix(EFFECT_PREFIX)
    if not rule.tool or (effect != rule.tool and effect not in EFFECTS):
        known = ", ".join(f"{EFFECT_PREFIX}{effect}" for effect in EFFECTS)
        raise _invalid(f"{path}.tool", f"is a tool's name, {EVERY_TOOL}, or one of {known}.")
    if not rule.arguments_schema_json:
        return
    try:
        _compiled(rule.arguments_schema_json)
    except AgentExecutorError as error:
        field = f"{path}.arguments_schema_json"
        if isinstance(error, LimitExceededError):
            raise LimitExceededError(f"approval_policy.{field}: {error.message}") from None
        raise _invalid(field, f"is not valid. {error.message}") from None


def _invalid(field: str, fault: str) -> InvalidArgumentError:
    path = f"approval_policy.{field}"
    return InvalidArgumentError(f"{path} {fault}", field_violations=((path, fault),))
