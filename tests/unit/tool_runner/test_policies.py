from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent_executor.errors import (
    InvalidArgumentError,
    LimitExceededError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitExceededError,
)
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.paging import encode_page_token
from agent_executor.tool_runner.policy import policies as policies_module
from agent_executor.tool_runner.policy.policies import Policies
from agent_executor.tool_runner.policy.sandbox import ToolSandbox
from agent_executor.tool_runner.policy.store_memory import MemoryPolicyStore
from tests.unit.tool_runner.tools_of_tests import ADA, EVE

BOB = SecurityContext("acme", "bob", frozenset({"tool:*"}))


class World:
    """The policies of a tool-runner, with clocks that a test moves."""

    def __init__(self) -> None:
        self.now_seconds = 0.0
        self.store = MemoryPolicyStore()
        self.policies = self.another()
        self.sandbox = ToolSandbox(clock_ns=lambda: int(self.now_seconds * 1e9))

    def another(self) -> Policies:
        """Returns what another replica has on the same store."""
        return Policies(self.store, lambda: 1_000, clock=lambda: self.now_seconds)

    async def call(self, security: SecurityContext = ADA, tool_name: str = "weather") -> None:
        policy = await self.policies.of(security.organization_id)
        limits = policy.limits_of(tool_name, security)
        self.sandbox.count_call(tool_name, security, further_limits=limits)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_limit_holds_from_the_next_call_on(world: World) -> None:
    await world.call()
    rule = await world.policies.set_rate_limit("weather", 1, 10, ADA)
    assert (rule.scope, rule.limit.max_calls) == ("user", 1)
    await world.call()
    with pytest.raises(RateLimitExceededError) as caught:
        await world.call()
    assert caught.value.retry_after_seconds == 10
    assert caught.value.tool_name == "weather"
    await world.call(tool_name="other")
    await world.call(BOB)
    await world.policies.delete_rate_limit("weather", ADA)
    await world.call()


async def test_a_limit_of_the_organization_counts_its_users_together(world: World) -> None:
    await world.policies.set_rate_limit("weather", 1, 10, ADA, scope="organization")
    await world.policies.set_rate_limit("weather", 1, 10, EVE, scope="organization")
    await world.call()
    with pytest.raises(RateLimitExceededError):
        await world.call(BOB)
    await world.call(EVE)


async def test_it_holds_beside_the_limit_of_the_operator(world: World) -> None:
    world.sandbox.set_rate_limit("weather", 1, 100)
    await world.policies.set_rate_limit("weather", 5, 10, ADA)
    await world.call()
    with pytest.raises(RateLimitExceededError, match="1 calls in 100 s"):
        await world.call()
    # The refused call has not been counted against the other limit either.
    world.sandbox.set_rate_limit("weather", 100, 1)
    world.now_seconds = 100.0
    for _ in range(5):
        await world.call()
    with pytest.raises(RateLimitExceededError, match="5 calls in 10 s"):
        await world.call()


async def test_a_limit_that_was_raised_lets_calls_through_at_once(world: World) -> None:
    await world.policies.set_rate_limit("weather", 1, 2_592_000, ADA)
    await world.call()
    with pytest.raises(RateLimitExceededError):
        await world.call()
    await world.policies.set_rate_limit("weather", 100, 1, ADA)
    await world.call()


async def test_a_limit_of_none_never_lets_a_call_through(world: World) -> None:
    await world.policies.set_rate_limit("weather", 0, 1, ADA)
    with pytest.raises(RateLimitExceededError) as caught:
        await world.call()
    assert caught.value.retry_after_seconds is None


async def test_a_domain_is_allowed_from_the_next_call_on(world: World) -> None:
    assert (await world.policies.of("acme")).allowed_domains == frozenset()
    stored = await world.policies.add_allowed_domain("API.Example.com.", ADA)
    assert (stored.domain, stored.created_at_ms) == ("api.example.com", 1_000)
    assert (await world.policies.of("acme")).allowed_domains == {"api.example.com"}
    assert (await world.policies.of("other")).allowed_domains == frozenset()
    await world.policies.remove_allowed_domain("api.example.com", ADA)
    assert (await world.policies.of("acme")).allowed_domains == frozenset()


async def test_a_policy_is_known_at_once_while_it_is_fresh(world: World) -> None:
    assert world.policies.known("acme") is None
    policy = await world.policies.of("acme")
    assert world.policies.known("acme") is policy
    await world.policies.add_allowed_domain("a.example", ADA)
    assert world.policies.known("acme") is None
    await world.policies.of("acme")
    await world.another().add_allowed_domain("b.example", ADA)
    world.now_seconds = 0.9
    assert (await world.policies.of("acme")).allowed_domains == {"a.example"}
    world.now_seconds = 1.1
    assert world.policies.known("acme") is None
    assert (await world.policies.of("acme")).allowed_domains == {"a.example", "b.example"}


async def test_lists_are_paged(world: World) -> None:
    for number in range(5):
        await world.policies.set_rate_limit(f"tool-{number}", 1, 1, ADA)
        await world.policies.set_rate_limit(f"tool-{number}", 1, 1, ADA, scope="organization")
        await world.policies.add_allowed_domain(f"*.{number}.example", ADA)
    limits, domains, token = [], [], ""
    while True:
        page = await world.policies.list_rate_limits(ADA, page_size=3, page_token=token)
        limits += [(rule.tool_name, rule.scope) for rule in page.entries]
        token = page.next_page_token
        if not token:
            break
    assert limits == sorted(
        (f"tool-{number}", scope) for number in range(5) for scope in ("organization", "user")
    )
    while True:
        shown = await world.policies.list_allowed_domains(ADA, page_size=2, page_token=token)
        domains += [each.domain for each in shown.entries]
        token = shown.next_page_token
        if not token:
            break
    assert domains == [f"*.{number}.example" for number in range(5)]
    assert (await world.policies.list_rate_limits(EVE)).entries == []
    assert (await world.policies.list_allowed_domains(EVE)).entries == []


@pytest.mark.parametrize(
    "token",
    ["x", "AAAA", "\0", "ä", "a.example", *map(encode_page_token, ("\0", "a:b", ":user", "A.b"))],
)
async def test_a_page_token_that_was_not_given_out_is_refused(world: World, token: str) -> None:
    with pytest.raises(InvalidArgumentError, match="page_token"):
        await world.policies.list_rate_limits(ADA, page_token=token)
    with pytest.raises(InvalidArgumentError, match="page_token"):
        await world.policies.list_allowed_domains(ADA, page_token=token)


@pytest.mark.parametrize(
    "changes",
    [
        {"tool_name": ""},
        {"tool_name": "a\0b"},
        {"tool_name": "x" * 65},
        {"max_calls": -1},
        {"max_calls": 2**31},
        {"window_seconds": 0},
        {"window_seconds": 2_592_001},
        {"window_seconds": float("nan")},
        {"scope": "tool"},
    ],
    ids=str,
)
async def test_a_limit_that_is_none_is_refused(world: World, changes: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"tool_name": "weather", "max_calls": 1, "window_seconds": 1}
    with pytest.raises(InvalidArgumentError):
        await world.policies.set_rate_limit(**fields | changes, security=ADA)
    assert (await world.policies.list_rate_limits(ADA)).entries == []


@pytest.mark.parametrize("domain", ["", "https://a.example", "10.0.0.1", "*", "a\0b", "ä.example"])
async def test_what_is_no_domain_is_refused(world: World, domain: str) -> None:
    with pytest.raises(InvalidArgumentError):
        await world.policies.add_allowed_domain(domain, ADA)
    with pytest.raises(NotFoundError):
        await world.policies.remove_allowed_domain(domain, ADA)


async def test_what_is_not_there_is_not_found(world: World) -> None:
    await world.policies.set_rate_limit("weather", 1, 1, ADA)
    await world.policies.add_allowed_domain("a.example", ADA)
    for name in ("other", "a\0b"):
        with pytest.raises(NotFoundError):
            await world.policies.delete_rate_limit(name, ADA)
    with pytest.raises(NotFoundError):
        await world.policies.delete_rate_limit("weather", EVE)
    with pytest.raises(NotFoundError):
        await world.policies.remove_allowed_domain("a.example", EVE)


async def test_numbers_are_limited(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies_module, "RATE_LIMITS_MAX", 1)
    monkeypatch.setattr(policies_module, "ALLOWED_DOMAINS_MAX", 1)
    await world.policies.set_rate_limit("weather", 1, 1, ADA)
    await world.policies.add_allowed_domain("a.example", ADA)
    with pytest.raises(LimitExceededError):
        await world.policies.set_rate_limit("other", 1, 1, ADA)
    with pytest.raises(LimitExceededError):
        await world.policies.add_allowed_domain("b.example", ADA)


async def test_the_permission_is_needed(world: World) -> None:
    policies = world.policies
    for refused in (
        policies.set_rate_limit("weather", 1, 1, BOB),
        policies.list_rate_limits(BOB),
        policies.delete_rate_limit("weather", BOB),
        policies.add_allowed_domain("a.example", BOB),
        policies.list_allowed_domains(BOB),
        policies.remove_allowed_domain("a.example", BOB),
    ):
        with pytest.raises(PermissionDeniedError, match="policy:admin"):
            await refused


async def test_many_calls_at_once_read_the_policy_once() -> None:
    reads = []

    class CountingStore(MemoryPolicyStore):
        async def load(self, organization_id: str) -> Any:
            reads.append(organization_id)
            await asyncio.sleep(0)
            return await super().load(organization_id)

    policies = Policies(CountingStore(), lambda: 0)
    await asyncio.gather(*(policies.of("acme") for _ in range(100)))
    assert reads == ["acme"]
