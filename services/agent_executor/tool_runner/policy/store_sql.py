"""The policies of organizations in a database."""

from __future__ import annotations

from typing import Final

from sqlalchemy import delete, select, tuple_

from agent_executor.storage.statements import Row, StatementRunner
from agent_executor.tool_runner.policy.limited_insert import insert_within
from agent_executor.tool_runner.policy.organization_policy import (
    AllowedDomain,
    OrganizationPolicy,
    ToolRateLimit,
)
from agent_executor.tool_runner.policy.rate_limit import RateLimit
from agent_executor.tool_runner.tables import ALLOWED_DOMAINS, RATE_LIMITS

_LIMIT: Final = RATE_LIMITS.c
_DOMAIN: Final = ALLOWED_DOMAINS.c


class SqlPolicyStore:
    """``PolicyStore`` in the tool-runner's database."""

    def __init__(self, runner: StatementRunner) -> None:
        self._runner = runner

    async def load(self, organization_id: str) -> OrganizationPolicy:
        """See ``PolicyStore``."""
        limits, domains = await self._runner.run(
            select(RATE_LIMITS).where(_LIMIT.organization_id == organization_id),
            select(ALLOWED_DOMAINS).where(_DOMAIN.organization_id == organization_id),
        )
        return OrganizationPolicy.of(map(_limit_of, limits), map(_domain_of, domains))

    async def put_rate_limit(
        self, organization_id: str, limit: ToolRateLimit, *, limits_max: int
    ) -> bool:
        """See ``PolicyStore``."""
        row = {
            "organization_id": organization_id,
            "tool_name": limit.tool_name,
            "scope": limit.scope,
            "max_calls": limit.limit.max_calls,
            "window_seconds": limit.limit.window_seconds,
        }
        statement = insert_within(RATE_LIMITS, row, limits_max)
        new = statement.excluded
        statement = statement.on_conflict_do_update(
            index_elements=list(RATE_LIMITS.primary_key),
            set_={"max_calls": new.max_calls, "window_seconds": new.window_seconds},
        )
        (stored,) = await self._runner.run(statement.returning(_LIMIT.scope))
        return bool(stored)

    async def list_rate_limits(
        self, organization_id: str, limit: int, after: tuple[str, str] = ("", "")
    ) -> list[ToolRateLimit]:
        """See ``PolicyStore``."""
        statement = (
            select(RATE_LIMITS)
            .where(
                _LIMIT.organization_id == organization_id,
                tuple_(_LIMIT.tool_name, _LIMIT.scope) > tuple_(*after),
            )
            .order_by(_LIMIT.tool_name, _LIMIT.scope)
            .limit(limit)
        )
        (rows,) = await self._runner.run(statement)
        return [_limit_of(row) for row in rows]

    async def delete_rate_limits(self, organization_id: str, tool_name: str) -> bool:
        """See ``PolicyStore``."""
        statement = delete(RATE_LIMITS).where(
            _LIMIT.organization_id == organization_id, _LIMIT.tool_name == tool_name
        )
        (deleted,) = await self._runner.run(statement.returning(_LIMIT.scope))
        return bool(deleted)

    async def add_domain(
        self, organization_id: str, domain: AllowedDomain, *, domains_max: int
    ) -> AllowedDomain | None:
        """See ``PolicyStore``."""
        row = {
            "organization_id": organization_id,
            "domain": domain.domain,
            "created_at_ms": domain.created_at_ms,
        }
        this_domain = (
            _DOMAIN.organization_id == organization_id,
            _DOMAIN.domain == domain.domain,
        )
        _, stored = await self._runner.run(
            insert_within(ALLOWED_DOMAINS, row, domains_max).on_conflict_do_nothing(),
            select(ALLOWED_DOMAINS).where(*this_domain),
        )
        return _domain_of(stored[0]) if stored else None

    async def list_domains(
        self, organization_id: str, limit: int, after: str = ""
    ) -> list[AllowedDomain]:
        """See ``PolicyStore``."""
        statement = (
            select(ALLOWED_DOMAINS)
            .where(_DOMAIN.organization_id == organization_id, _DOMAIN.domain > after)
            .order_by(_DOMAIN.domain)
            .limit(limit)
        )
        (rows,) = await self._runner.run(statement)
        return [_domain_of(row) for row in rows]

    async def remove_domain(self, organization_id: str, domain: str) -> bool:
        """See ``PolicyStore``."""
        statement = delete(ALLOWED_DOMAINS).where(
            _DOMAIN.organization_id == organization_id, _DOMAIN.domain == domain
        )
        (deleted,) = await self._runner.run(statement.returning(_DOMAIN.domain))
        return bool(deleted)


def _limit_of(row: Row) -> ToolRateLimit:
    limit = RateLimit.of(row["max_calls"], row["window_seconds"])
    return ToolRateLimit(row["tool_name"], row["scope"], limit)


def _domain_of(row: Row) -> AllowedDomain:
    return AllowedDomain(row["domain"], row["created_at_ms"])
