"""What every store of policies must do, on every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_executor.tool_runner.policy.organization_policy import (
    AllowedDomain,
    PolicyScope,
    ToolRateLimit,
)
from agent_executor.tool_runner.policy.rate_limit import CALLS_MAX, RateLimit
from agent_executor.tool_runner.policy.store import PolicyStore
from agent_executor.tool_runner.policy.store_memory import MemoryPolicyStore
from agent_executor.tool_runner.policy.store_sql import SqlPolicyStore
from tests.contract.tool_runner.statement_runners import DATABASES, statement_runner


@pytest.fixture(params=["memory", *DATABASES])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[PolicyStore]:
    """Yields each adapter, empty."""
    if request.param == "memory":
        yield MemoryPolicyStore()
        return
    async with statement_runner(request, tmp_path) as runner:
        yield SqlPolicyStore(runner)


def rule(
    tool_name: str = "weather", scope: PolicyScope = "user", max_calls: int = 5
) -> ToolRateLimit:
    """Returns a rate limit."""
    return ToolRateLimit(tool_name, scope, RateLimit.of(max_calls, 0.5))


async def put(store: PolicyStore, limit: ToolRateLimit, limits_max: int = 10) -> bool:
    """Stores a rate limit of the organization."""
    return await store.put_rate_limit("acme", limit, limits_max=limits_max)


async def add(store: PolicyStore, name: str, at_ms: int = 1, domains_max: int = 10) -> object:
    """Adds a domain of the organization."""
    return await store.add_domain("acme", AllowedDomain(name, at_ms), domains_max=domains_max)


async def test_without_rules_the_policy_is_empty(store: PolicyStore) -> None:
    policy = await store.load("acme")
    assert (policy.rate_limits, policy.allowed_domains) == ({}, frozenset())


async def test_the_policy_is_all_that_was_set(store: PolicyStore) -> None:
    await put(store, rule())
    await put(store, rule(scope="organization", max_calls=CALLS_MAX))
    await put(store, rule("abacus", max_calls=0))
    for name in ("a.example", "*.b.example"):
        await add(store, name)
    policy = await store.load("acme")
    assert policy.rate_limits == {
        "weather": {"user": rule().limit, "organization": RateLimit.of(CALLS_MAX, 0.5)},
        "abacus": {"user": RateLimit.of(0, 0.5)},
    }
    assert policy.allowed_domains == {"a.example", "*.b.example"}


async def test_a_limit_replaces_the_one_of_its_tool_and_scope(store: PolicyStore) -> None:
    await put(store, rule())
    await put(store, rule(scope="organization"))
    await put(store, rule(max_calls=7))
    assert await store.list_rate_limits("acme", 10) == [
        rule(scope="organization"),
        rule(max_calls=7),
    ]


async def test_limits_are_listed_by_tool_and_scope_in_pages(store: PolicyStore) -> None:
    names = ["A", "a", "a-b", "a1", "a_b", "aa"]
    rules = [rule(name, scope) for name in names for scope in ("organization", "user")]
    for each in reversed(rules):
        await put(store, each, limits_max=100)
    assert await store.list_rate_limits("acme", 100) == rules
    seen: list[ToolRateLimit] = []
    while page := await store.list_rate_limits(
        "acme", 5, (seen[-1].tool_name, seen[-1].scope) if seen else ("", "")
    ):
        seen += page
    assert seen == rules


async def test_the_limits_of_a_tool_go_together(store: PolicyStore) -> None:
    await put(store, rule())
    await put(store, rule(scope="organization"))
    await put(store, rule("abacus"))
    assert await store.delete_rate_limits("acme", "weather")
    assert not await store.delete_rate_limits("acme", "weather")
    assert await store.list_rate_limits("acme", 10) == [rule("abacus")]


async def test_a_domain_is_added_once(store: PolicyStore) -> None:
    assert await add(store, "a.example", 1) == AllowedDomain("a.example", 1)
    assert await add(store, "a.example", 2) == AllowedDomain("a.example", 1)
    assert await store.list_domains("acme", 10) == [AllowedDomain("a.example", 1)]
    assert await store.remove_domain("acme", "a.example")
    assert not await store.remove_domain("acme", "a.example")
    assert await store.list_domains("acme", 10) == []


async def test_domains_are_listed_by_name_in_pages(store: PolicyStore) -> None:
    names = ["*.b.example", "a-b.example", "a.example", "a_b.example", "b.example"]
    for name in reversed(names):
        await add(store, name)
    assert [each.domain for each in await store.list_domains("acme", 10)] == names
    page = await store.list_domains("acme", 2, after="a-b.example")
    assert [each.domain for each in page] == names[2:4]


async def test_organizations_are_apart(store: PolicyStore) -> None:
    await put(store, rule(), limits_max=1)
    await add(store, "a.example", domains_max=1)
    policy = await store.load("other")
    assert (policy.rate_limits, policy.allowed_domains) == ({}, frozenset())
    assert await store.list_rate_limits("other", 10) == []
    assert await store.list_domains("other", 10) == []
    assert not await store.delete_rate_limits("other", "weather")
    assert not await store.remove_domain("other", "a.example")
    assert await store.put_rate_limit("other", rule(), limits_max=1)
    assert await store.add_domain("other", AllowedDomain("a.example", 9), domains_max=1)
    assert await store.list_domains("acme", 10) == [AllowedDomain("a.example", 1)]


async def test_a_full_list_takes_only_what_it_has(store: PolicyStore) -> None:
    assert await put(store, rule(), limits_max=1)
    assert not await put(store, rule("abacus"), limits_max=1)
    assert await put(store, rule(max_calls=9), limits_max=1)
    assert await store.list_rate_limits("acme", 10) == [rule(max_calls=9)]
    assert await add(store, "a.example", domains_max=1)
    assert await add(store, "b.example", domains_max=1) is None
    assert await add(store, "a.example", domains_max=1) == AllowedDomain("a.example", 1)
    assert len(await store.list_domains("acme", 10)) == 1


async def test_additions_at_the_same_time_keep_the_limit(store: PolicyStore) -> None:
    names = [f"{number}.example" for number in range(20)]
    added = await asyncio.gather(*(add(store, name, domains_max=5) for name in names))
    assert added.count(None) == 15
    assert len(await store.list_domains("acme", 100)) == 5
