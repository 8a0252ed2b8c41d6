from __future__ import annotations

import re
from typing import Any

import pytest

from agent_executor.errors import InvalidArgumentError, RateLimitExceededError
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.policy.sandbox import ToolSandbox

ADA = SecurityContext("acme", "ada", frozenset({"*"}))
BOB = SecurityContext("acme", "bob", frozenset({"*"}))
EVE = SecurityContext("other", "eve", frozenset({"*"}))


def allowed_calls(
    sandbox: ToolSandbox,
    security: SecurityContext = ADA,
    tool: str = "calculator",
    caller_max: int | None = None,
) -> int:
    """Returns how many calls come through at once, up to 1,000."""
    for number in range(1_000):
        try:
            sandbox.count_call(tool, security, caller_max)
        except RateLimitExceededError:
            return number
    return 1_000


@pytest.fixture
def sandbox() -> ToolSandbox:
    return ToolSandbox(clock_ns=lambda: 0)


def test_as_the_documentation_shows_it() -> None:
    sandbox = ToolSandbox()
    sandbox.set_rate_limit("calculator", max_calls=100, window_seconds=60)
    sandbox.set_rate_limit("http_request", max_calls=50, window_seconds=60)
    sandbox.add_allowed_domain("api.example.com")
    sandbox.add_allowed_domain("jsonplaceholder.typicode.com")
    assert sandbox.allows_domain("api.example.com")


def test_without_a_limit_calls_are_not_limited(sandbox: ToolSandbox) -> None:
    assert allowed_calls(sandbox) == 1_000


def test_a_limit_is_for_each_user_and_each_tool(sandbox: ToolSandbox) -> None:
    sandbox.set_rate_limit("calculator", 5, 60)
    assert allowed_calls(sandbox) == 5
    assert allowed_calls(sandbox, BOB) == 5
    assert allowed_calls(sandbox, tool="other") == 1_000


def test_scopes_are_counted_together(sandbox: ToolSandbox) -> None:
    sandbox.set_rate_limit("calculator", 5, 60)
    sandbox.set_rate_limit("calculator", 8, 60, scope="organization")
    sandbox.set_rate_limit("calculator", 10, 60, scope="tool")
    assert [allowed_calls(sandbox, caller) for caller in (ADA, BOB, EVE)] == [5, 3, 2]


def test_users_of_one_name_in_two_organizations_are_two(sandbox: ToolSandbox) -> None:
    sandbox.set_rate_limit("calculator", 2, 60)
    assert allowed_calls(sandbox, SecurityContext("a", "ada", frozenset())) == 2
    assert allowed_calls(sandbox, SecurityContext("b", "ada", frozenset())) == 2


def test_a_default_is_for_tools_without_a_limit_of_their_own(sandbox: ToolSandbox) -> None:
    sandbox.set_default_rate_limit(3, 60)
    sandbox.set_rate_limit("calculator", 5, 60)
    assert allowed_calls(sandbox) == 5
    assert allowed_calls(sandbox, tool="other") == 3
    assert allowed_calls(sandbox, tool="third") == 3


def test_a_limit_can_be_replaced(sandbox: ToolSandbox) -> None:
    sandbox.set_rate_limit("calculator", 5, 60)
    sandbox.set_rate_limit("calculator", 2, 60)
    assert allowed_calls(sandbox) == 2


def test_a_limit_that_was_replaced_does_not_hold_up_its_successor(sandbox: ToolSandbox) -> None:
    sandbox.set_rate_limit("calculator", 1, 30 * 24 * 3600)
    assert allowed_calls(sandbox) == 1
    sandbox.set_rate_limit("calculator", 5, 60)
    assert allowed_calls(sandbox) == 5


def test_callers_can_lower_their_limit_and_not_raise_it(sandbox: ToolSandbox) -> None:
    sandbox.set_rate_limit("calculator", 5, 60)
    assert allowed_calls(sandbox, BOB, caller_max=1_000) == 5
    assert allowed_calls(sandbox, ADA, caller_max=2) == 2
    assert allowed_calls(sandbox, EVE, caller_max=0) == 0


def test_a_refusal_says_when_to_come_back(sandbox: ToolSandbox) -> None:
    sandbox.set_rate_limit("calculator", 2, 60)
    allowed_calls(sandbox)
    with pytest.raises(RateLimitExceededError) as refused:
        sandbox.count_call("calculator", ADA)
    assert refused.value.retry_after_seconds == 30
    assert refused.value.tool_name == "calculator"
    assert refused.value.metadata == {"scope": "user", "maxCalls": "2", "windowSeconds": "60"}
    assert "2 calls in 60 s" in refused.value.message
    assert "Retry after 30.000 s" in refused.value.message


def test_a_refusal_for_good_says_nothing_of_coming_back(sandbox: ToolSandbox) -> None:
    sandbox.set_rate_limit("calculator", 0, 60)
    with pytest.raises(RateLimitExceededError) as refused:
        sandbox.count_call("calculator", ADA)
    assert refused.value.retry_after_seconds is None
    assert "Retry" not in refused.value.message


def test_what_is_no_limit_is_refused(sandbox: ToolSandbox) -> None:
    for arguments in (("", 1, 60), ("calculator", -1, 60), ("calculator", 1, 0)):
        with pytest.raises(InvalidArgumentError):
            sandbox.set_rate_limit(*arguments)
    with pytest.raises(InvalidArgumentError, match="scope"):
        sandbox.set_rate_limit("calculator", 1, 60, scope="planet")  # type: ignore[arg-type]  # that is what is tested


@pytest.mark.parametrize(
    ("domain", "host", "allowed"),
    [
        ("api.example.com", "api.example.com", True),
        ("api.example.com", "API.Example.COM.", True),
        ("API.Example.Com.", "api.example.com", True),
        ("api.example.com", "example.com", False),
        ("api.example.com", "x.api.example.com", False),
        ("example.com", "evilexample.com", False),
        ("example.com", "example.com.evil", False),
        ("*.example.com", "api.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("*.example.com", "*.example.com", False),
        ("*.example.com", "127.0.0.1", False),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", True),
        ("service_a.internal", "service_a.internal", True),
        ("localhost", "localhost", True),
        ("example.com", "example.com\n", False),
        ("example.com", "", False),
        ("example.com", "example.com:80", False),
    ],
)
def test_domains_are_compared_label_by_label(
    sandbox: ToolSandbox, domain: str, host: str, allowed: bool
) -> None:
    assert not sandbox.allows_domain(host)
    sandbox.add_allowed_domain(domain)
    assert sandbox.allows_domain(host) is allowed


def test_domains_are_kept_in_their_normal_form(sandbox: ToolSandbox) -> None:
    sandbox.add_allowed_domain("API.Example.com.")
    sandbox.add_allowed_domain("api.example.com")
    assert sandbox.allowed_domains == {"api.example.com"}


@pytest.mark.parametrize(
    "domain",
    [
        "",
        ".",
        "*",
        "*.",
        "a..b",
        ".example.com",
        "-a.example.com",
        "a-.example.com",
        "a.*.example.com",
        "exa mple.com",
        "example.com/path",
        "https://example.com",
        "example.com:443",
        "user@example.com",
        "example.com\\@evil.com",
        "bücher.example",
        "examp\u217ee.com",
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "1.2.3.0x4",
        "[::1]",
        "::1",
        "a" * 64 + ".com",
        ".".join(["a" * 60] * 5),
        "example.com..",
        "example.com\n",
        "*.127.0.0.1",
        None,
        5,
        b"example.com",
    ],
)
def test_what_is_no_domain_is_refused(sandbox: ToolSandbox, domain: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="domain"):
        sandbox.add_allowed_domain(domain)
    assert sandbox.allowed_domains == set()


@pytest.mark.parametrize("max_calls", [1, 3, 7, 11])
def test_whoever_waits_as_long_as_the_message_says_is_let_in(max_calls: int) -> None:
    now_ns = [0]
    sandbox = ToolSandbox(clock_ns=lambda: now_ns[0])
    sandbox.set_rate_limit("calculator", max_calls, 1.0)
    assert allowed_calls(sandbox) == max_calls
    with pytest.raises(RateLimitExceededError) as refused:
        sandbox.count_call("calculator", ADA)
    (seconds,) = re.findall(r"Retry after ([0-9.]+) s", refused.value.message)
    now_ns[0] += round(float(seconds) * 1e9)
    sandbox.count_call("calculator", ADA)
