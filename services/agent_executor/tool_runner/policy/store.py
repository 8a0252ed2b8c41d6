"""The port to where the policies of organizations are kept."""

from __future__ import annotations

from typing import Protocol

from agent_executor.tool_runner.policy.organization_policy import (
    AllowedDomain,
    OrganizationPolicy,
    ToolRateLimit,
)


class PolicyStore(Protocol):
    """Keeps rate limits and allowed domains. All methods see one organization only.

    A write is durable, and seen by every later read, once its method has returned. Every method
    raises UnavailableError if the storage failed.
    """

    async def load(self, organization_id: str) -> OrganizationPolicy:
        """Returns the whole policy; an empty one if nothing is set."""
        ...

    async def put_rate_limit(
        self, organization_id: str, limit: ToolRateLimit, *, limits_max: int
    ) -> bool:
        """Stores a limit, in place of the one of its tool and scope.

        Returns:
            False, and stores nothing, if the organization has ``limits_max`` others.
        """
        ...

    async def list_rate_limits(
        self, organization_id: str, limit: int, after: tuple[str, str] = ("", "")
    ) -> list[ToolRateLimit]:
        """Returns limits by tool and scope, by code points.

        Args:
            organization_id: Whose limits.
            limit: How many at most.
            after: Only those that come after this tool and scope.
        """
        ...

    async def delete_rate_limits(self, organization_id: str, tool_name: str) -> bool:
        """Deletes the limits of a tool; returns False if there is none."""
        ...

    async def add_domain(
        self, organization_id: str, domain: AllowedDomain, *, domains_max: int
    ) -> AllowedDomain | None:
        """Adds a domain, unless it is there.

        Returns:
            The domain as it is stored, which may have been done earlier; None, and nothing has
            changed, if the organization has ``domains_max`` others.
        """
        ...

    async def list_domains(
        self, organization_id: str, limit: int, after: str = ""
    ) -> list[AllowedDomain]:
        """Returns domains by name, by code points.

        Args:
            organization_id: Whose domains.
            limit: How many at most.
            after: Only those that come after this one.
        """
        ...

    async def remove_domain(self, organization_id: str, domain: str) -> bool:
        """Removes a domain; returns False if it is not there."""
        ...
