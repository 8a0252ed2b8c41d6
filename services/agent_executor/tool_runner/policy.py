"""The policy that a tool call must pass before it is dispatched, rule by rule, in a fixed order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent_executor.errors import AgentExecutorError, PermissionDeniedError, ToolNotFoundError
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.arguments import DEFAULT_ARGUMENTS_BYTES_MAX, parse_arguments
from agent_executor.tool_runner.registry import RegisteredTool, ToolRegistry
from agent_executor.tool_runner.sandbox import ToolSandbox
from agent_executor.tool_runner.tool_call import ToolCall


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that may be dispatched, and its arguments as the tool gets them."""

    tool: RegisteredTool
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that is not dispatched.

    Attributes:
        rule: The rule that refused it, as the audit log names it.
        error: What the caller is told.
    """

    rule: str
    error: AgentExecutorError


class CallPolicy:
    """Decides on calls. Between its two steps a repeated call is answered from its record."""

    def __init__(
        self,
        registry: ToolRegistry,
        sandbox: ToolSandbox,
        *,
        arguments_bytes_max: int = DEFAULT_ARGUMENTS_BYTES_MAX,
    ) -> None:
        self._registry = registry
        self._sandbox = sandbox
        self._arguments_bytes_max = arguments_bytes_max

    def check_permission(self, call: ToolCall, security: SecurityContext) -> Refusal | None:
        """Returns the refusal of a caller that lacks the permission ``tool:<name>``, or None."""
        permission = f"tool:{call.tool_name}"
        if security.allows(permission):
            return None
        error = PermissionDeniedError(
            f'The caller lacks the permission "{permission}".',
            metadata={"permission": permission},
            tool_name=call.tool_name,
        )
        return Refusal("permission", error)

    def is_quick(self, call: ToolCall) -> bool:
        """Tells whether running the tool is harmless and takes no longer than a look at a disk."""
        tool = self._registry.find(call.tool_name)
        return tool is not None and tool.tool.runs_inline and tool.effect == "read_only"

    def admit(
        self, call: ToolCall, arguments_bytes: int, security: SecurityContext
    ) -> Admitted | Refusal:
        """Counts the call against its rate limits and checks its tool and arguments.

        Args:
            call: The call.
            arguments_bytes: Length of its arguments' JSON text in UTF-8.
            security: The caller, whose permission has been checked.
        """
        rule = "rate_limit"
        try:
            self._sandbox.count_call(call.tool_name, security, call.rate_limits.get(call.tool_name))
            rule = "tool"
            tool = self._registry.find(call.tool_name)
            if tool is None:
                raise ToolNotFoundError(
                    f'There is no tool named "{call.tool_name}".', tool_name=call.tool_name
                )
            rule = "arguments"
            arguments = parse_arguments(
                call.arguments_json,
                size_bytes=arguments_bytes,
                size_bytes_max=self._arguments_bytes_max,
                decimal_numbers=tool.tool.decimal_numbers,
            )
            rule = "schema"
            tool.schema.check(arguments)
        except AgentExecutorError as error:
            return Refusal(rule, error)
        return Admitted(tool, arguments)
