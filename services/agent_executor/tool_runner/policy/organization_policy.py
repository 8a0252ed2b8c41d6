"""What an organization allows its tools: how often they may be called, and which hosts they reach.

It holds beside the operator's own policy, which is ``ToolSandbox``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Self, TypeAlias

import msgspec

from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.policy.rate_limit import RateLimit

PolicyScope: TypeAlias = Literal["user", "organization"]

DEFAULT_SCOPE: Final[PolicyScope] = "user"
RATE_LIMITS_MAX: Final = 1_000
ALLOWED_DOMAINS_MAX: Final = 1_000

_KEY: Final = "organization_policy"


class ToolRateLimit(msgspec.Struct, frozen=True):
    """A rate limit of one tool.

    Attributes:
        tool_name: The tool, which need not exist.
        scope: Whose calls are counted together: those of each user, or of all.
        limit: The limit.
    """

    tool_name: str
    scope: PolicyScope
    limit: RateLimit


class AllowedDomain(msgspec.Struct, frozen=True):
    """A host that tools may reach.

    Attributes:
        domain: In normal form.
        created_at_ms: When it was added, in milliseconds since 1970-01-01 UTC.
    """

    domain: str
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class OrganizationPolicy:
    """The policy of one organization, as a call needs it.

    Attributes:
        rate_limits: By tool and scope.
        allowed_domains: In normal form.
    """

    rate_limits: Mapping[str, Mapping[PolicyScope, RateLimit]]
    allowed_domains: frozenset[str]

    @classmethod
    def of(cls, limits: Iterable[ToolRateLimit], domains: Iterable[AllowedDomain]) -> Self:
        """Returns the policy of these rules."""
        by_tool: dict[str, dict[PolicyScope, RateLimit]] = {}
        for each in limits:
            by_tool.setdefault(each.tool_name, {})[each.scope] = each.limit
        return cls(by_tool, frozenset(each.domain for each in domains))

    def limits_of(
        self, tool_name: str, security: SecurityContext
    ) -> list[tuple[Hashable, RateLimit]]:
        """Returns the limits of a call with their keys, for ``ToolSandbox.count_call``.

        A limit that was changed has another key, so that what was counted under the old one does
        not hold up its successor.

        Args:
            tool_name: The tool.
            security: The caller, of this organization.
        """
        return [
            (
                (
                    *(_KEY, scope, tool_name, security.organization_id),
                    security.user_id if scope == "user" else None,
                    *(limit.max_calls, limit.window_seconds),
                ),
                limit,
            )
            for scope, limit in self.rate_limits.get(tool_name, {}).items()
        ]
