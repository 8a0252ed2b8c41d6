"""Rate limits and allowed domains, as organizations set them and as calls need them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Literal, get_args

from agent_executor.egress.domains import normalise_domain
from agent_executor.errors import InvalidArgumentError, LimitExceededError, NotFoundError
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.fresh_cache import FreshCache
from agent_executor.tool_runner.paging import Page, decode_page_token, entries_of_page, page_of
from agent_executor.tool_runner.policy.organization_policy import (
    ALLOWED_DOMAINS_MAX,
    DEFAULT_SCOPE,
    RATE_LIMITS_MAX,
    AllowedDomain,
    OrganizationPolicy,
    PolicyScope,
    ToolRateLimit,
)
from agent_executor.tool_runner.policy.rate_limit import RateLimit
from agent_executor.tool_runner.policy.store import PolicyStore
from agent_executor.tool_runner.tool_base import is_tool_name

ADMIN_PERMISSION: Final = "policy:admin"
# No tool has it in its name.
_SEPARATOR: Final = ":"


class Policies:
    """Sets and shows policies, for those with ``policy:admin`` in the caller's organization.

    What this process writes holds for its next call; what another writes, after a second at most, or
    at once if that one tells it.

    Attributes:
        on_change: Called after each write with the organization, to tell other processes.

    Args:
        store: Where they are kept.
        now_ms: The time, in milliseconds since 1970-01-01 UTC.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        store: PolicyStore,
        now_ms: Callable[[], int],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._now_ms = now_ms
        self.on_change: Callable[[str], None] = lambda _: None
        self._policies: FreshCache[str, OrganizationPolicy] = FreshCache(store.load, clock=clock)

    def known(self, organization_id: str) -> OrganizationPolicy | None:
        """Returns the policy of an organization at once, or None if it must be read with ``of``."""
        known = self._policies.known(organization_id)
        return None if known is None else known[0]

    async def of(self, organization_id: str) -> OrganizationPolicy:
        """Returns the policy of an organization, for the calls of its tools.

        Raises:
            UnavailableError: The storage failed.
        """
        return await self._policies.get(organization_id)

    async def set_rate_limit(
        self,
        tool_name: str,
        max_calls: int,
        window_seconds: float,
        security: SecurityContext,
        *,
        scope: PolicyScope | Literal[""] = "",
    ) -> ToolRateLimit:
        """Limits the calls of a tool; a limit for the same tool and scope is replaced.

        Args:
            tool_name: The tool, which need not exist.
            max_calls: So many calls may come at once after a rest, and then one every
                ``window_seconds / max_calls``; 0 allows none.
            window_seconds: More than 0, up to 30 days.
            security: The caller.
            scope: Whose calls are counted together. Default (empty): those of each user.

        Raises:
            PermissionDeniedError: The caller lacks ``policy:admin``.
            InvalidArgumentError: A value is not of its range.
            LimitExceededError: The organization has 1000 limits.
            UnavailableError: The storage failed.
        """
        security.require(ADMIN_PERMISSION)
        if not is_tool_name(tool_name):
            message = "tool_name is not one that a tool can have."
            raise InvalidArgumentError(message, field_violations=(("tool_name", message),))
        if scope and scope not in get_args(PolicyScope):
            raise InvalidArgumentError(f"scope is one of {', '.join(get_args(PolicyScope))}.")
        limit = RateLimit.of(max_calls, window_seconds)
        rule = ToolRateLimit(tool_name, scope or DEFAULT_SCOPE, limit)
        organization_id = security.organization_id
        if not await self._store.put_rate_limit(organization_id, rule, limits_max=RATE_LIMITS_MAX):
            raise LimitExceededError(
                f"The organization has {RATE_LIMITS_MAX} rate limits, which is the limit."
            )
        self._changed(organization_id)
        return rule

    async def list_rate_limits(
        self, security: SecurityContext, *, page_size: int = 0, page_token: str = ""
    ) -> Page[ToolRateLimit]:
        """Returns a page of the limits, by tool and scope.

        Raises:
            PermissionDeniedError: The caller lacks ``policy:admin``.
            InvalidArgumentError: The page's size is out of range, or its token is none.
            UnavailableError: The storage failed.
        """
        security.require(ADMIN_PERMISSION)
        entries_max = entries_of_page(page_size)
        tool_name, _, scope = decode_page_token(page_token, _is_limit_key).partition(_SEPARATOR)
        found = await self._store.list_rate_limits(
            security.organization_id, entries_max + 1, (tool_name, scope)
        )
        return page_of(found, entries_max, lambda rule: f"{rule.tool_name}{_SEPARATOR}{rule.scope}")

    async def delete_rate_limit(self, tool_name: str, security: SecurityContext) -> None:
        """Removes the limits of a tool, of every scope.

        Raises:
            PermissionDeniedError: The caller lacks ``policy:admin``.
            NotFoundError: The tool has no limit.
            UnavailableError: The storage failed.
        """
        security.require(ADMIN_PERMISSION)
        organization_id = security.organization_id
        if not is_tool_name(tool_name) or not await self._store.delete_rate_limits(
            organization_id, tool_name
        ):
            raise NotFoundError(f'The tool "{tool_name}" has no rate limit.')
        self._changed(organization_id)

    async def add_allowed_domain(self, domain: str, security: SecurityContext) -> AllowedDomain:
        """Lets tools reach a host; one that is allowed already stays as it is.

        Raises:
            PermissionDeniedError: The caller lacks ``policy:admin``.
            InvalidArgumentError: It is no domain.
            LimitExceededError: The organization has 1000 domains.
            UnavailableError: The storage failed.
        """
        security.require(ADMIN_PERMISSION)
        asked = AllowedDomain(normalise_domain(domain), self._now_ms())
        organization_id = security.organization_id
        stored = await self._store.add_domain(
            organization_id, asked, domains_max=ALLOWED_DOMAINS_MAX
        )
        if stored is None:
            raise LimitExceededError(
                f"The organization has {ALLOWED_DOMAINS_MAX} allowed domains, which is the limit."
            )
        self._changed(organization_id)
        return stored

    async def list_allowed_domains(
        self, security: SecurityContext, *, page_size: int = 0, page_token: str = ""
    ) -> Page[AllowedDomain]:
        """Returns a page of the domains, by name.

        Raises:
            PermissionDeniedError: The caller lacks ``policy:admin``.
            InvalidArgumentError: The page's size is out of range, or its token is none.
            UnavailableError: The storage failed.
        """
        security.require(ADMIN_PERMISSION)
        entries_max = entries_of_page(page_size)
        after = decode_page_token(page_token, lambda key: _normal_or_none(key) == key)
        found = await self._store.list_domains(security.organization_id, entries_max + 1, after)
        return page_of(found, entries_max, lambda each: each.domain)

    async def remove_allowed_domain(self, domain: str, security: SecurityContext) -> None:
        """Takes a domain from the list; requests that are under way go on.

        Raises:
            PermissionDeniedError: The caller lacks ``policy:admin``.
            NotFoundError: It is not on the list.
            UnavailableError: The storage failed.
        """
        security.require(ADMIN_PERMISSION)
        organization_id = security.organization_id
        name = _normal_or_none(domain)
        if name is None or not await self._store.remove_domain(organization_id, name):
            raise NotFoundError(f'The domain "{domain}" is not on the list.')
        self._changed(organization_id)

    def forget(self, organization_id: str) -> None:
        """Makes the next call see what another process has just written."""
        self._policies.forget(lambda key: key == organization_id)

    def forget_all(self) -> None:
        """Makes the next calls of all organizations see what others have written."""
        self._policies.forget_all()

    def _changed(self, organization_id: str) -> None:
        self.forget(organization_id)
        self.on_change(organization_id)


def _normal_or_none(domain: str) -> str | None:
    try:
        return normalise_domain(domain)
    except InvalidArgumentError:
        return None


def _is_limit_key(key: str) -> bool:
    tool_name, _, scope = key.partition(_SEPARATOR)
    return is_tool_name(tool_name) and scope in get_args(PolicyScope)
