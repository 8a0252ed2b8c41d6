"""The policies of organizations in memory, for tests and for the library."""

from __future__ import annotations

from collections import defaultdict

from agent_executor.tool_runner.policy.organization_policy import (
    AllowedDomain,
    OrganizationPolicy,
    ToolRateLimit,
)


class MemoryPolicyStore:
    """``PolicyStore`` that ends with the process."""

    def __init__(self) -> None:
        self._limits: defaultdict[str, dict[tuple[str, str], ToolRateLimit]] = defaultdict(dict)
        self._domains: defaultdict[str, dict[str, AllowedDomain]] = defaultdict(dict)

    async def load(self, organization_id: str) -> OrganizationPolicy:
        """See ``PolicyStore``."""
        return OrganizationPolicy.of(
            self._limits[organization_id].values(), self._domains[organization_id].values()
        )

    async def put_rate_limit(
        self, organization_id: str, limit: ToolRateLimit, *, limits_max: int
    ) -> bool:
        """See ``PolicyStore``."""
        limits = self._limits[organization_id]
        key = (limit.tool_name, limit.scope)
        if key not in limits and len(limits) >= limits_max:
            return False
        limits[key] = limit
        return True

    async def list_rate_limits(
        self, organization_id: str, limit: int, after: tuple[str, str] = ("", "")
    ) -> list[ToolRateLimit]:
        """See ``PolicyStore``."""
        limits = self._limits[organization_id]
        return [limits[key] for key in sorted(limits) if key > after][:limit]

    async def delete_rate_limits(self, organization_id: str, tool_name: str) -> bool:
        """See ``PolicyStore``."""
        limits = self._limits[organization_id]
        keys = [key for key in limits if key[0] == tool_name]
        for key in keys:
            del limits[key]
        return bool(keys)

    async def add_domain(
        self, organization_id: str, domain: AllowedDomain, *, domains_max: int
    ) -> AllowedDomain | None:
        """See ``PolicyStore``."""
        domains = self._domains[organization_id]
        if domain.domain not in domains and len(domains) >= domains_max:
            return None
        return domains.setdefault(domain.domain, domain)

    async def list_domains(
        self, organization_id: str, limit: int, after: str = ""
    ) -> list[AllowedDomain]:
        """See ``PolicyStore``."""
        domains = self._domains[organization_id]
        return [domains[name] for name in sorted(domains) if name > after][:limit]

    async def remove_domain(self, organization_id: str, domain: str) -> bool:
        """See ``PolicyStore``."""
        return self._domains[organization_id].pop(domain, None) is not None
