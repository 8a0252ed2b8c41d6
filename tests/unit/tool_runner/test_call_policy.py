from __future__ import annotations

from dataclasses import replace
from typing import Any

from agent_executor.errors import InvalidArgumentError, RateLimitExceededError
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.calls.attempt import Attempt
from agent_executor.tool_runner.custom.custom_tool import CustomTool
from agent_executor.tool_runner.custom.store_memory import MemoryCustomToolStore
from agent_executor.tool_runner.custom.tools import Tools
from agent_executor.tool_runner.policy.call_policy import Admitted, CallPolicy, Refusal
from agent_executor.tool_runner.policy.policies import Policies
from agent_executor.tool_runner.policy.sandbox import ToolSandbox
from agent_executor.tool_runner.policy.screening import ScreeningPolicy
from agent_executor.tool_runner.policy.store_memory import MemoryPolicyStore
from agent_executor.tool_runner.registry import ToolRegistry
from tests.unit.tool_runner.tools_of_tests import ADA, EVE, FunctionTool, call

BOB = replace(ADA, user_id="bob")
ATTACK = "1' OR '1'='1"


class World:
    """A policy over one tool of the process and what organizations set and write."""

    def __init__(self, **modes: Any) -> None:
        self.registry = ToolRegistry()
        self.registry.register(FunctionTool())
        self.store = MemoryCustomToolStore()
        self.sandbox = ToolSandbox(clock_ns=lambda: 0)
        self.policies = Policies(MemoryPolicyStore(), lambda: 0)
        self.policy = CallPolicy(
            Tools(self.registry, self.store),
            self.sandbox,
            organizations=self.policies,
            screening=ScreeningPolicy(modes),
        )

    async def add_custom(self, organization_id: str = "acme", **fields: Any) -> str:
        given: dict[str, Any] = {
            "organization_id": organization_id,
            "name": "custom",
            "class_name": "Custom",
            "source": "source",
            "description": "Does something.",
            "input_schema_json": '{"type":"object"}',
            "effect": "read_only",
            "timeout_seconds": 7.0,
            "cache_ttl_seconds": 0,
            "allowed_origins": ("https://api.test",),
            "findings": (),
            "created_at_ms": 0,
        }
        tool = CustomTool.of(**given | fields)
        await self.store.put(tool, tools_max=10, versions_max=10)
        return tool.version

    async def admit(
        self, tool_name: str = "function", security: SecurityContext = ADA, **more: Any
    ) -> tuple[Admitted | Refusal, Attempt]:
        attempt = Attempt(call(tool_name, **more), security)
        return await self.policy.admit(attempt), attempt

    async def rule(self, *asked: Any, **more: Any) -> str:
        decision, _ = await self.admit(*asked, **more)
        return decision.rule if isinstance(decision, Refusal) else ""


async def test_the_limit_of_an_organization_holds_for_its_users_together_and_no_other() -> None:
    world = World()
    await world.policies.set_rate_limit("function", 2, 60, ADA, scope="organization")
    assert [await world.rule(security=user) for user in (ADA, BOB, ADA)] == ["", "", "rate_limit"]
    assert await world.rule(security=EVE) == ""


async def test_the_limit_of_each_user_counts_each_alone() -> None:
    world = World()
    await world.policies.set_rate_limit("function", 1, 60, ADA)
    assert [await world.rule(security=user) for user in (ADA, BOB, ADA)] == ["", "", "rate_limit"]


async def test_an_organization_cannot_raise_the_limit_of_the_operator() -> None:
    world = World()
    world.sandbox.set_rate_limit("function", 1, 60, scope="organization")
    await world.policies.set_rate_limit("function", 100, 60, ADA, scope="organization")
    assert [await world.rule() for _ in range(2)] == ["", "rate_limit"]


async def test_a_call_that_one_limit_refuses_takes_nothing_of_the_others() -> None:
    world = World()
    await world.policies.set_rate_limit("function", 1, 60, ADA)
    await world.policies.set_rate_limit("function", 2, 60, ADA, scope="organization")
    assert [await world.rule(security=user) for user in (ADA, ADA, ADA, BOB)] == [
        *("", "rate_limit", "rate_limit"),
        "",
    ]


async def test_a_refusal_for_the_rate_tells_when_to_come_again_and_which_limit_it_was() -> None:
    world = World()
    await world.policies.set_rate_limit("function", 1, 60, ADA)
    await world.admit()
    decision, attempt = await world.admit()
    assert isinstance(decision, Refusal)
    assert isinstance(decision.error, RateLimitExceededError)
    assert decision.error.retry_after_seconds == 60
    assert attempt.facts == ["rate_limit:1/60s"]


async def test_the_rate_is_counted_before_the_arguments_are_looked_at() -> None:
    world = World()
    world.sandbox.set_rate_limit("function", 1, 60)
    assert await world.rule(arguments_json="not JSON") == "arguments"
    assert await world.rule(arguments_json="not JSON") == "rate_limit"


async def test_an_attack_is_blocked_and_noted() -> None:
    decision, attempt = await World().admit(arguments_json=f'{{"q": "{ATTACK}"}}')
    assert isinstance(decision, Refusal)
    assert decision.rule == "screening"
    assert isinstance(decision.error, InvalidArgumentError)
    assert ATTACK not in decision.error.message
    assert decision.error.field_violations[0][0] == "q"
    assert attempt.facts == ["screening:sql_injection"]


async def test_what_is_only_reported_is_noted_and_let_through() -> None:
    world = World(function="report")
    decision, attempt = await world.admit(arguments_json=f'{{"q": "{ATTACK}"}}')
    assert isinstance(decision, Admitted)
    assert attempt.facts == ["screening:sql_injection"]
    silent = World(function="off")
    _, attempt = await silent.admit(arguments_json=f'{{"q": "{ATTACK}"}}')
    assert attempt.facts == []


async def test_a_schema_comes_before_the_screening() -> None:
    world = World()
    await world.add_custom(
        input_schema_json='{"type":"object","properties":{"q":{"type":"number"}}}'
    )
    assert await world.rule("custom", arguments_json=f'{{"q": "{ATTACK}"}}') == "schema"


async def test_a_run_that_is_bound_to_a_version_gets_that_one() -> None:
    world = World()
    old = await world.add_custom(source="old")
    new = await world.add_custom(source="new")
    for version, source in (("", "new"), (old, "old"), (new, "new")):
        decision, attempt = await world.admit("custom", tool_version=version)
        assert isinstance(decision, Admitted)
        assert decision.tool.program is not None
        assert decision.tool.program.source == source
        assert attempt.tool_version == (version or new)
    assert await world.rule("custom", tool_version="0" * 64) == "tool"
    # A tool of the process has no versions.
    assert await world.rule("function", tool_version=new) == "tool"


async def test_the_tool_of_another_organization_is_as_if_there_were_none() -> None:
    world = World()
    version = await world.add_custom("acme")
    theirs, _ = await world.admit("custom", EVE, tool_version=version)
    nothing, _ = await world.admit("nothing", EVE)
    assert isinstance(theirs, Refusal)
    assert isinstance(nothing, Refusal)
    assert (theirs.rule, type(theirs.error)) == (nothing.rule, type(nothing.error))
    assert theirs.error.message.replace("custom", "nothing") == nothing.error.message


async def test_a_tool_may_reach_what_operator_and_organization_allow_and_its_own_origins() -> None:
    world = World()
    await world.add_custom()
    world.sandbox.add_allowed_domain("operator.test")
    await world.policies.add_allowed_domain("acme.test", ADA)
    await world.policies.add_allowed_domain("other.test", EVE)
    own, _ = await world.admit("custom")
    assert isinstance(own, Admitted)
    assert own.context.allowed_domains == {"operator.test", "acme.test"}
    assert own.context.allowed_origins == frozenset({"https://api.test"})
    assert (own.context.organization_id, own.context.tool_name) == ("acme", "custom")
    assert own.tool.timeout_seconds == 7.0
    built_in, _ = await world.admit("function")
    assert isinstance(built_in, Admitted)
    assert built_in.context.allowed_origins is None


async def test_a_domain_that_was_removed_is_gone_for_the_next_call() -> None:
    world = World()
    await world.policies.add_allowed_domain("acme.test", ADA)
    await world.admit()
    await world.policies.remove_allowed_domain("acme.test", ADA)
    decision, _ = await world.admit()
    assert isinstance(decision, Admitted)
    assert decision.context.allowed_domains == frozenset()


async def test_what_looks_suspicious_in_a_source_is_a_fact_and_no_gate() -> None:
    world = World()
    version = await world.add_custom(findings=("line 1: imports os", "line 2: uses eval"))
    decision, attempt = await world.admit("custom")
    assert isinstance(decision, Admitted)
    assert attempt.facts == ["source_findings:2"]
    assert attempt.tool_version == version


async def test_also_a_call_that_comes_too_often_tells_its_version() -> None:
    world = World()
    version = await world.add_custom()
    await world.policies.set_rate_limit("custom", 0, 60, ADA)
    decision, attempt = await world.admit("custom")
    assert isinstance(decision, Refusal)
    assert decision.error.retry_after_seconds is None
    assert attempt.tool_version == version


async def test_a_tool_that_is_limited_elsewhere_when_asked_for_its_effect_is_refused() -> None:
    class Limited(FunctionTool):
        def effect_of(self, arguments: Any) -> Any:
            raise RateLimitExceededError("The other side is busy.", retry_after_seconds=3.0)

    world = World()
    world.registry.register(Limited(name="limited"))
    attempt = Attempt(call("limited"), ADA)
    refusal = await world.policy.admit(attempt)
    assert isinstance(refusal, Refusal)
    assert (refusal.rule, refusal.error.message) == ("effect", "The other side is busy.")
    assert attempt.facts == []
