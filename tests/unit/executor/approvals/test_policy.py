"""Which tool calls wait for a person, and which policies are none."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from agent_executor.errors import (
    AgentExecutorError,
    InvalidArgumentError,
    LimitExceededError,
)
from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.approvals.policy import (
    NO_POLICY,
    ApprovalPolicy,
    ApprovalRule,
    asked_or_started,
)
from agent_executor.executor.log.run_event import ApprovalRequested, ToolCallStarted
from agent_executor.executor.models.model import ToolSpecification

DEAR = {"properties": {"amount": {"type": "number", "minimum": 100}}, "required": ["amount"]}


def call(tool_name: str = "pay", arguments: Any = None) -> ToolCallStarted:
    return ToolCallStarted("id", "use", tool_name, json.dumps(arguments or {}))


def tool(
    name: str = "pay", effect: str = "unsafe", *, requires_approval: bool = False
) -> ToolSpecification:
    return ToolSpecification(name, "It.", {}, "", effect, requires_approval)


def policy_of(*rules: ApprovalRule) -> ApprovalPolicy:
    policy = ApprovalPolicy(rules)
    policy.check()
    return policy


def rule(wanted: str, schema: Any = None, reason: str = "") -> ApprovalRule:
    return ApprovalRule(wanted, "" if schema is None else json.dumps(schema), reason)


@pytest.mark.parametrize(
    ("wanted", "asks"),
    [
        ("pay", True),
        ("*", True),
        ("effect:unsafe", True),
        ("effect:idempotent", False),
        ("effect:read_only", False),
        ("Pay", False),
        ("pay*", False),
        ("unsafe", False),
    ],
)
def test_rules_match_a_tool_by_its_name_or_effect(wanted: str, asks: bool) -> None:
    reason = policy_of(rule(wanted)).reason_to_ask(call(), tool())
    assert (reason is not None) == asks


@pytest.mark.parametrize(
    ("arguments", "asks"),
    [
        ({"amount": 100}, True),
        ({"amount": 99.99}, False),
        ({"amount": "100"}, False),
        ({}, False),
        ({"amount": 10**30, "to": "eve"}, True),
    ],
)
def test_rules_match_arguments_that_their_schema_describes(
    arguments: dict[str, Any], asks: bool
) -> None:
    reason = policy_of(rule("pay", DEAR)).reason_to_ask(call(arguments=arguments), tool())
    assert (reason is not None) == asks


def test_no_rule_matches_in_an_empty_policy() -> None:
    assert NO_POLICY.reason_to_ask(call(), tool()) is None


def test_the_first_rule_that_matches_says_why() -> None:
    policy = policy_of(
        rule("other", reason="other"),
        rule("pay", DEAR, "It is dear."),
        rule("*", reason="Everything."),
    )
    assert policy.reason_to_ask(call(arguments={"amount": 500}), tool()) == "It is dear."
    assert policy.reason_to_ask(call(arguments={"amount": 5}), tool()) == "Everything."


def test_a_rule_without_a_reason_is_told_of_all_the_same() -> None:
    reason = policy_of(rule("pay")).reason_to_ask(call(), tool())
    assert reason == 'The agent\'s policy asks about calls of "pay".'


def test_a_tool_can_demand_it_by_itself() -> None:
    reason = NO_POLICY.reason_to_ask(call(), tool(requires_approval=True))
    assert reason == 'Every call of "pay" needs a decision.'


def test_a_tool_whose_effect_nobody_knows_matches_every_effect() -> None:
    assert policy_of(rule("effect:unsafe")).reason_to_ask(call(), None) is not None
    assert policy_of(rule("other")).reason_to_ask(call(), None) is None


@pytest.mark.parametrize(
    "arguments_json",
    [
        json.dumps({"amounts": [1] * 2_000_000}),
        '{"a":' * 5_000 + "1" + "}" * 5_000,
        "[]",
        "no JSON",
    ],
    ids=["huge", "deep", "list", "none"],
)
def test_arguments_that_cannot_be_checked_are_asked_about(arguments_json: str) -> None:
    policy = policy_of(rule("pay", DEAR))
    asked = ToolCallStarted("id", "use", "pay", arguments_json)
    assert policy.reason_to_ask(asked, tool()) is not None


def test_each_call_of_an_answer_is_asked_about_or_started() -> None:
    policy = ApprovalPolicy((rule("pay", DEAR, "It is dear."),), timeout_seconds=60)
    calls = [
        call("read"),
        call("pay", {"amount": 5}),
        call("pay", {"amount": 500}),
        call("delete"),
    ]
    tools = [tool("read"), tool("pay"), tool("delete", requires_approval=True)]
    events = asked_or_started(calls, policy, tools, 1_000)
    assert events[:2] == calls[:2]
    assert events[2] == ApprovalRequested(
        "id", "use", "pay", '{"amount": 500}', "It is dear.", 61_000
    )
    assert isinstance(events[3], ApprovalRequested)
    assert asked_or_started(calls, NO_POLICY, [tool("read")], 0) == calls


def test_a_decision_is_waited_for_for_a_day_by_default() -> None:
    assert ApprovalPolicy().expires_at_ms(5) == 86_400_005


@pytest.mark.parametrize(
    ("policy", "field", "part"),
    [
        (ApprovalPolicy(timeout_seconds=-1), "timeout_seconds", "from 0 to 2592000"),
        (ApprovalPolicy(timeout_seconds=2_592_001), "timeout_seconds", "from 0"),
        (ApprovalPolicy((ApprovalRule("a"),) * 101), "rules", "100 at most"),
        (ApprovalPolicy((ApprovalRule(""),)), "rules[0].tool", "a tool's name"),
        (ApprovalPolicy((ApprovalRule("effect:"),)), "rules[0].tool", "effect:unsafe"),
        (ApprovalPolicy((ApprovalRule("effect:bad"),)), "rules[0].tool", "effect:unsafe"),
        (ApprovalPolicy((ApprovalRule("a" * 129),)), "rules[0].tool", "128 bytes"),
        (ApprovalPolicy((ApprovalRule("a", reason="ü" * 501),)), "rules[0].reason", "1000 bytes"),
    ],
)
def test_a_policy_is_checked(policy: ApprovalPolicy, field: str, part: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^approval_policy\.") as refused:
        policy.check()
    [(path, fault)] = refused.value.field_violations
    assert path == f"approval_policy.{field}"
    assert part in fault


@pytest.mark.parametrize(
    "schema_json",
    [
        "no JSON",
        "[]",
        '{"type": "string"}',
        '{"type": 5}',
        '{"$ref": "https://example.com/schema"}',
        '{"$ref": "file:///etc/passwd"}',
        '{"properties": {"a": {"pattern": "("}}}',
        '{"title": "' + "a" * 10_000 + '"}',
        json.dumps({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}] * 2}}, "$ref": "#/$defs/a"}),
    ],
)
def test_a_schema_that_cannot_be_checked_against_is_refused(schema_json: str) -> None:
    policy = ApprovalPolicy((ApprovalRule("a"), ApprovalRule("b", schema_json)))
    with pytest.raises(InvalidArgumentError) as refused:
        policy.check()
    [(path, _)] = refused.value.field_violations
    assert path == "approval_policy.rules[1].arguments_schema_json"


def test_a_schema_that_would_take_years_is_refused_at_once() -> None:
    definitions: dict[str, Any] = {
        f"a{level}": {"allOf": [{"$ref": f"#/$defs/a{level + 1}"}] * 2} for level in range(60)
    }
    schema = {"$defs": definitions | {"a60": {}}, "allOf": [{"$ref": "#/$defs/a0"}]}
    started = time.thread_time()
    with pytest.raises(LimitExceededError, match=r"rules\[0\]\.arguments_schema_json"):
        policy_of(rule("a", schema))
    assert time.thread_time() - started < 5


def test_an_agent_is_none_with_a_policy_that_is_none() -> None:
    fields: dict[str, Any] = {"approval_policy": ApprovalPolicy((ApprovalRule(""),))}
    agent = AgentVersion("id", "acme", 1, "Agent", 0, 0, **fields)
    with pytest.raises(AgentExecutorError):
        agent.check()
