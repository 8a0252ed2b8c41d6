"""The policy over tools that a program or an operator sets: rate limits and allowed domains."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Final, Literal, TypeAlias, get_args

from agent_executor.egress.domains import is_within, normalise_domain
from agent_executor.errors import InvalidArgumentError, RateLimitExceededError
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.policy.rate_limit import RateLimit, RateLimiter, RateRefusal

RateLimitScope: TypeAlias = Literal["user", "organization", "tool"]

# The window of the limits that a caller brings along, in seconds.
CALLER_WINDOW_SECONDS: Final = 60.0
_CALLER: Final = "caller"
SCOPE_KEY: Final = "scope"
"""Under which the metadata of a refusal says whose limit it was."""
_SCOPES: Final[tuple[RateLimitScope, ...]] = get_args(RateLimitScope)


class ToolSandbox:
    """What tools may do, and how often. Without a limit set, calls are not limited.

    It is the policy object of the library and of the tool-runner alike. One object may serve
    several executors, which then share its limits; it is safe to use from several threads.
    """

    def __init__(self, *, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """See the class; ``clock_ns`` is monotonic, in nanoseconds."""
        self._limiter = RateLimiter(clock_ns)
        self._limits: dict[str, dict[RateLimitScope, RateLimit]] = {}
        self._default_limits: dict[RateLimitScope, RateLimit] = {}
        self._domains: frozenset[str] = frozenset()

    def set_rate_limit(
        self,
        tool_name: str,
        max_calls: int,
        window_seconds: float,
        *,
        scope: RateLimitScope = "user",
    ) -> None:
        """Limits the calls of a tool; a limit that was set for the same scope is replaced.

        Args:
            tool_name: The tool.
            max_calls: So many calls may come at once after a rest, and then one every
                ``window_seconds / max_calls``; 0 allows none.
            window_seconds: More than 0, up to 30 days.
            scope: Whose calls are counted together: those of each ``user``, of each
                ``organization``, or all of the ``tool``. A call must pass every scope.

        Raises:
            InvalidArgumentError: An argument is not of its type or out of its range.
        """
        if not tool_name:
            raise InvalidArgumentError("tool_name must be the name of a tool.")
        _check_scope(scope)
        limit = RateLimit.of(max_calls, window_seconds)
        self._limits = {
            **self._limits,
            tool_name: {**self._limits.get(tool_name, {}), scope: limit},
        }

    def set_default_rate_limit(
        self, max_calls: int, window_seconds: float, *, scope: RateLimitScope = "user"
    ) -> None:
        """Limits each tool that has no limit of its own in the scope; see ``set_rate_limit``.

        Raises:
            InvalidArgumentError: An argument is not of its type or out of its range.
        """
        _check_scope(scope)
        limit = RateLimit.of(max_calls, window_seconds)
        self._default_limits = {**self._default_limits, scope: limit}

    def add_allowed_domain(self, domain: str) -> None:
        """Lets tools that make requests reach a host.

        ``api.example.com`` is that host alone; ``*.example.com`` is every name below
        ``example.com`` but not ``example.com`` itself.

        Raises:
            InvalidArgumentError: It is no domain.
        """
        self._domains = self._domains | {normalise_domain(domain)}

    @property
    def allowed_domains(self) -> frozenset[str]:
        """The domains that were added, in their normal form."""
        return self._domains

    def allows_domain(self, host: str) -> bool:
        """Tells whether tools that make requests may reach a host."""
        return is_within(host, self._domains)

    def count_call(
        self,
        tool_name: str,
        security: SecurityContext,
        caller_max_calls: int | None = None,
        *,
        further_limits: Sequence[tuple[Hashable, RateLimit]] = (),
    ) -> None:
        """Counts one call in every scope, or in none if one is exhausted.

        Args:
            tool_name: The tool.
            security: The caller.
            caller_max_calls: The caller's own limit in calls per minute; it can only lower the
                limits in force.
            further_limits: Limits from elsewhere that hold as well, each with a key that is like
                none of another limit.

        Raises:
            RateLimitExceededError: A limit is exhausted; ``retry_after_seconds`` is exact.
        """
        limits = self.limits_of(tool_name, security, caller_max_calls, further_limits)
        refusal = self._limiter.admit(limits) if limits else None
        if refusal is not None:
            raise rate_limit_error(refusal, tool_name)

    def limits_of(
        self,
        tool_name: str,
        security: SecurityContext,
        caller_max_calls: int | None = None,
        further_limits: Sequence[tuple[Hashable, RateLimit]] = (),
    ) -> list[tuple[Hashable, RateLimit]]:
        """Returns the limits of a call with their keys, for a limiter; see ``count_call``."""
        limits: list[tuple[Hashable, RateLimit]] = []
        own_limits = self._limits.get(tool_name, {})
        if own_limits or self._default_limits:
            for scope in _SCOPES:
                limit = own_limits.get(scope) or self._default_limits.get(scope)
                if limit is not None:
                    limits.append((_key_of(scope, tool_name, security, limit), limit))
        if caller_max_calls is not None:
            key = (_CALLER, tool_name, security.organization_id, security.user_id)
            limits.append((key, RateLimit.of(caller_max_calls, CALLER_WINDOW_SECONDS)))
        limits.extend(further_limits)
        return limits


def rate_limit_error(refusal: RateRefusal, tool_name: str) -> RateLimitExceededError:
    """Returns what the caller is told whose call came too early."""
    limit, wait_seconds = refusal.limit, refusal.retry_after_seconds
    advice = ""
    if wait_seconds is not None:
        # Rounded up, for whoever comes a fraction of a millisecond early is refused again.
        advice = f" Retry after {math.ceil(wait_seconds * 1000) / 1000:.3f} s."
    return RateLimitExceededError(
        f"The rate limit of {limit.max_calls} calls in {limit.window_seconds:g} s is "
        f"exceeded.{advice}",
        metadata={
            SCOPE_KEY: scope_of(refusal.key),
            "maxCalls": str(limit.max_calls),
            "windowSeconds": f"{limit.window_seconds:g}",
        },
        tool_name=tool_name,
        retry_after_seconds=wait_seconds,
    )


def scope_of(key: Hashable) -> str:
    """Returns whose limit is counted under a key: ``user``, ``organization``, ``tool`` or ``caller``."""
    scopes = {*_SCOPES, _CALLER}
    parts = key if isinstance(key, tuple) else ()
    return next((part for part in parts[:2] if part in scopes), _CALLER)


def _check_scope(scope: str) -> None:
    if scope not in _SCOPES:
        raise InvalidArgumentError(f"scope must be one of {', '.join(_SCOPES)}.")


def _key_of(
    scope: RateLimitScope, tool_name: str, security: SecurityContext, limit: RateLimit
) -> Hashable:
    # What was counted under another limit, for up to 30 days, does not hold up its successor.
    key = (scope, tool_name, limit.max_calls, limit.window_seconds)
    if scope == "tool":
        return key
    if scope == "organization":
        return (*key, security.organization_id)
    return (*key, security.organization_id, security.user_id)
