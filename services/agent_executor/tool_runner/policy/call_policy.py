"""The policy that a tool call must pass before it is dispatched, rule by rule, in a fixed order."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Protocol, get_args

from agent_executor.errors import (
    AgentExecutorError,
    InvalidArgumentError,
    PermissionDeniedError,
    RateLimitExceededError,
    ToolExecutionError,
    ToolNotFoundError,
)
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.arguments import DEFAULT_ARGUMENTS_BYTES_MAX, parse_arguments
from agent_executor.tool_runner.calls.attempt import Attempt
from agent_executor.tool_runner.calls.context import CallContext
from agent_executor.tool_runner.calls.tool_call import ToolCall
from agent_executor.tool_runner.credentials.credential import CredentialVault
from agent_executor.tool_runner.custom.tools import Tools
from agent_executor.tool_runner.policy.organization_policy import OrganizationPolicy
from agent_executor.tool_runner.policy.rate_limit import RateLimit, RateRefusal
from agent_executor.tool_runner.policy.sandbox import ToolSandbox, rate_limit_error
from agent_executor.tool_runner.policy.screening import ScreeningPolicy
from agent_executor.tool_runner.registry import RegisteredTool
from agent_executor.tool_runner.tool_base import Effect, as_tool_failure

_NO_POLICY: Final = OrganizationPolicy(MappingProxyType({}), frozenset())


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that may be dispatched.

    Attributes:
        tool: What is called.
        arguments: As the tool gets them.
        effect: What running it again can do, with these arguments.
        context: What the tool may know of the call.
    """

    tool: RegisteredTool
    arguments: dict[str, Any]
    effect: Effect
    context: CallContext


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that is not dispatched.

    Attributes:
        rule: The rule that refused it, as the audit log names it.
        error: What the caller is told.
    """

    rule: str
    error: AgentExecutorError


class OrganizationPolicies(Protocol):
    """What organizations allow their tools."""

    def known(self, organization_id: str) -> OrganizationPolicy | None:
        """Returns the policy of an organization at once, or None if it must be read with ``of``."""
        ...

    async def of(self, organization_id: str) -> OrganizationPolicy:
        """Returns the policy of an organization.

        Raises:
            UnavailableError: The storage failed.
        """
        ...


class SharedRateLimits(Protocol):
    """Counts calls together with other tool-runners."""

    async def admit(
        self, limits: Sequence[tuple[Hashable, RateLimit]], group: str
    ) -> RateRefusal | None:
        """Counts one call against all limits, or against none and returns the refusal.

        Args:
            limits: Pairs of the key that is counted under and its limit.
            group: What all keys have in common, such as the tool.

        Raises:
            UnavailableError: It cannot be counted at present, and is not to be made uncounted.
        """
        ...


class CallPolicy:
    """Decides on calls. Between its two steps a repeated call is answered from its record.

    Args:
        tools: The tools that there are.
        sandbox: The limits and domains that the operator, or the program, has set.
        organizations: The limits and domains that organizations have set; None where none can.
        screening: Which patterns in arguments are refused or noted. Default: the usual ones.
        arguments_bytes_max: Length of a call's arguments as JSON text in UTF-8.
        credentials: The credentials that tools may name; None where there are none.
        shared_limits: Counts calls together with other tool-runners; None to count them here.
    """

    def __init__(
        self,
        tools: Tools,
        sandbox: ToolSandbox,
        *,
        organizations: OrganizationPolicies | None = None,
        screening: ScreeningPolicy | None = None,
        arguments_bytes_max: int = DEFAULT_ARGUMENTS_BYTES_MAX,
        credentials: CredentialVault | None = None,
        shared_limits: SharedRateLimits | None = None,
    ) -> None:
        self._tools = tools
        self._sandbox = sandbox
        self._organizations = organizations
        self._screening = screening or ScreeningPolicy()
        self._arguments_bytes_max = arguments_bytes_max
        self._credentials = credentials
        self._shared_limits = shared_limits

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
        tool = self._tools.registry.find(call.tool_name)
        return tool is not None and tool.tool.runs_inline and tool.effect == "read_only"

    async def admit(self, attempt: Attempt) -> Admitted | Refusal:
        """Counts the call against its rate limits and checks its tool and arguments.

        What is found out on the way, the tool's version and suspicious patterns, is noted in the
        attempt. The caller's permission has been checked.

        Raises:
            UnavailableError: The storage failed, or calls cannot be counted at present.
        """
        call, organization_id = attempt.call, attempt.security.organization_id
        organization = await self._organization(organization_id)
        tool = await self._tools.find(organization_id, call.tool_name, call.tool_version)
        too_early = await self._count(attempt, organization)
        rule = "rate_limit"
        if tool is not None:
            attempt.tool_version = tool.version
            if tool.findings:
                attempt.facts.append(f"source_findings:{len(tool.findings)}")
        try:
            if too_early is not None:
                raise too_early
            rule = "tool"
            if tool is None:
                raise ToolNotFoundError(
                    f'There is no tool named "{call.tool_name}".', tool_name=call.tool_name
                )
            rule = "arguments"
            arguments = parse_arguments(
                call.arguments_json,
                size_bytes=attempt.arguments_bytes,
                size_bytes_max=self._arguments_bytes_max,
                decimal_numbers=tool.tool.decimal_numbers,
            )
            rule = "schema"
            tool.schema.check(arguments, size_bytes=attempt.arguments_bytes)
            rule = "screening"
            self._screen(attempt, arguments)
            rule = "effect"
            effect = _effect_of(tool, arguments)
        except AgentExecutorError as error:
            # A tool may raise such an error as well, when it is asked for its effect.
            if rule == "rate_limit" and isinstance(error, RateLimitExceededError):
                limit = error.metadata
                attempt.facts.append(f"rate_limit:{limit['maxCalls']}/{limit['windowSeconds']}s")
            return Refusal(rule, error)
        return Admitted(tool, arguments, effect, self._context(attempt, tool, organization))

    async def _count(
        self, attempt: Attempt, organization: OrganizationPolicy
    ) -> AgentExecutorError | None:
        """Counts the call against its rate limits, and returns why it is refused if it is."""
        tool_name, security = attempt.call.tool_name, attempt.security
        caller_max_calls = attempt.call.rate_limits.get(tool_name)
        further = organization.limits_of(tool_name, security)
        try:
            if self._shared_limits is None:
                self._sandbox.count_call(
                    tool_name, security, caller_max_calls, further_limits=further
                )
                return None
            limits = self._sandbox.limits_of(tool_name, security, caller_max_calls, further)
        except AgentExecutorError as error:
            return error
        refusal = await self._shared_limits.admit(limits, tool_name) if limits else None
        return None if refusal is None else rate_limit_error(refusal, tool_name)

    async def _organization(self, organization_id: str) -> OrganizationPolicy:
        if self._organizations is None:
            return _NO_POLICY
        known = self._organizations.known(organization_id)
        return known or await self._organizations.of(organization_id)

    def _screen(self, attempt: Attempt, arguments: dict[str, Any]) -> None:
        """Notes what looks suspicious.

        Raises:
            InvalidArgumentError: It is to be blocked.
        """
        verdict = self._screening.screen(attempt.call.tool_name, arguments)
        for finding in (*verdict.blocked, *verdict.reported):
            attempt.facts.append(f"screening:{finding.rule}")
        if verdict.blocked:
            finding = verdict.blocked[0]
            message = f"{finding.path} looks like an attack ({finding.rule}), so it is refused."
            raise InvalidArgumentError(
                message,
                field_violations=((finding.path, message),),
                tool_name=attempt.call.tool_name,
            )

    def _context(
        self, attempt: Attempt, tool: RegisteredTool, organization: OrganizationPolicy
    ) -> CallContext:
        return CallContext(
            organization_id=attempt.security.organization_id,
            tool_name=tool.name,
            tool_call_id=attempt.call.tool_call_id,
            allowed_domains=self._sandbox.allowed_domains | organization.allowed_domains,
            credentials=self._credentials,
            allowed_origins=tool.allowed_origins,
        )


def _effect_of(tool: RegisteredTool, arguments: dict[str, Any]) -> Effect:
    """Returns the effect of a call, which the tool's own code may decide on.

    Raises:
        ToolExecutionError: It fails, or says something else: then nobody knows if the call may be
            repeated, and it is not made.
        AgentExecutorError: It fails in its own words.
    """
    try:
        effect: Effect = tool.tool.effect_of(arguments)
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- whatever a tool raises is its result
        raise as_tool_failure(error, tool.name) from None
    if effect not in get_args(Effect):
        raise ToolExecutionError("The tool does not say what it can do.", tool_name=tool.name)
    return effect
