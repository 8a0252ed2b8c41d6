from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from agent_executor.errors import InvalidArgumentError
from agent_executor.tool_runner.policy.screening import (
    NOT_SCREENED,
    SCREENED_CHARACTERS_MAX,
    Finding,
    ScreeningPolicy,
)
from agent_executor.tool_runner.policy.screening_rules import RULES
from agent_executor.tool_runner.settings import ToolRunnerSettings
from tests.unit.tool_runner.screening_samples import (
    ATTACKS,
    BENIGN,
    UNSEEN_ATTACKS,
    UNSEEN_BENIGN,
)

POLICY = ScreeningPolicy()
TAUTOLOGY = "' OR '1'='1"


def blocked(
    arguments: dict[str, Any], tool_name: str = "search", policy: ScreeningPolicy = POLICY
) -> list[str]:
    return [
        f"{finding.rule} {finding.path}" for finding in policy.screen(tool_name, arguments).blocked
    ]


def reported(
    arguments: dict[str, Any], tool_name: str = "search", policy: ScreeningPolicy = POLICY
) -> list[str]:
    return [
        f"{finding.rule} {finding.path}" for finding in policy.screen(tool_name, arguments).reported
    ]


def cases(attacks: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    for rule, texts in attacks.items():
        for text in texts:
            yield rule, text


def missed(attacks: dict[str, tuple[str, ...]]) -> list[str]:
    return [text for rule, text in cases(attacks) if f"{rule} q" not in blocked({"q": text})]


def test_texts_of_people_and_models_are_not_blocked() -> None:
    assert len(BENIGN) >= 150
    assert [text for text in BENIGN if blocked({"q": text})] == []


def test_texts_that_the_rules_were_not_made_for_are_hardly_blocked() -> None:
    wrong = [text for text in UNSEEN_BENIGN if blocked({"q": text})]
    assert len(wrong) <= len(UNSEEN_BENIGN) * 0.02, wrong


def test_few_texts_of_people_and_models_are_reported() -> None:
    texts = (*BENIGN, *UNSEEN_BENIGN)
    assert len([text for text in texts if reported({"q": text})]) <= len(texts) * 0.12


def test_attacks_are_blocked_by_their_rule() -> None:
    assert sum(map(len, ATTACKS.values())) >= 100
    # Two lines of which the second is a command are a list of names as often.
    assert missed(ATTACKS) == ["a\nwhoami"]


def test_most_attacks_that_the_rules_were_not_made_for_are_blocked() -> None:
    wrong = missed(UNSEEN_ATTACKS)
    assert len(wrong) <= sum(map(len, UNSEEN_ATTACKS.values())) * 0.16, wrong


@pytest.mark.parametrize("text", ["1; 2", "1; drop table x", TAUTOLOGY, "\0"])
def test_a_calculator_is_left_alone(text: str) -> None:
    verdict = POLICY.screen("calculator", {"operation": "add", "a": text, "b": 2})
    assert verdict.blocked == verdict.reported == ()


def test_a_text_to_people_is_reported_and_its_envelope_blocked() -> None:
    attack = "x'; DROP TABLE users; --"
    arguments = {"to": attack, "subject": attack, "body": attack}
    assert blocked(arguments, "email") == ["sql_injection to"]
    assert reported(arguments, "email") == ["sql_injection subject", "sql_injection body"]
    assert blocked({"body": "Please select a seat or drop me a line; thanks -- Ada"}, "email") == []
    assert blocked({"channel": attack, "text": attack}, "slack") == ["sql_injection channel"]


def test_the_url_of_a_request_is_blocked_and_its_body_reported() -> None:
    verdict = POLICY.screen(
        "http_request",
        {
            "url": "https://example.com/?id=1%27%20OR%20%271%27%3D%271",
            "params": {"file": "../../../etc/passwd", "html": "<script>alert(1)</script>"},
            "json": {"q": TAUTOLOGY},
            "headers": {"X-A": "a\0"},
        },
    )
    assert verdict.blocked == (
        Finding("sql_injection", "url"),
        Finding("path_traversal", "params.file"),
    )
    assert verdict.reported == (
        Finding("script_injection", "params.html"),
        Finding("sql_injection", "json.q"),
        Finding("control_characters", "headers.X-A"),
    )


def test_a_finding_says_where_and_never_what() -> None:
    arguments = {
        "a": [{"b": "fine"}, {"b": TAUTOLOGY}],
        "' or 1=1--": "x",
        "c": {"' or 1=1--": "\0"},
    }
    assert blocked(arguments) == [
        "sql_injection *",
        "sql_injection a[1].b",
        "sql_injection c.*",
        "control_characters c.*",
    ]


def test_what_is_no_text_is_passed_over() -> None:
    assert blocked({"a": 1, "b": None, "c": True, "d": [1.5, {}], "e": {}}) == []


def test_a_tool_has_modes_of_its_own() -> None:
    policy = ScreeningPolicy(
        {
            "search": {"sql_injection": "off"},
            "email": "block",
            "calculator": "report",
            "*": "report",
        }
    )
    assert blocked({"q": TAUTOLOGY}, "search", policy) == []
    assert reported({"q": TAUTOLOGY}, "search", policy) == []
    assert blocked({"q": "<script>alert(1)</script>"}, "search", policy) == ["script_injection q"]
    assert blocked({"body": TAUTOLOGY}, "email", policy) == ["sql_injection body"]
    assert reported({"a": TAUTOLOGY}, "calculator", policy) == ["sql_injection a"]
    assert blocked({"q": TAUTOLOGY}, "other", policy) == []
    assert reported({"q": TAUTOLOGY}, "other", policy) == ["sql_injection q"]


def test_one_policy_does_not_change_another() -> None:
    ScreeningPolicy({"search": "off", "email": "off", "*": "off"})
    assert blocked({"q": TAUTOLOGY})
    assert reported({"body": TAUTOLOGY}, "email")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"search": "blok"}, '"search" is block, report or off'),
        ({"search": {"sql": "off"}}, 'names the rule "sql"; the rules are sql_injection'),
        ({"search": {"sql_injection": True}}, '"search" is block, report or off'),
        ({"search": 5}, "a mode, or an object of modes"),
        ({"search": ["off"]}, "a mode, or an object of modes"),
    ],
)
def test_a_policy_that_is_none_says_why(overrides: Any, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        ScreeningPolicy(overrides)
    with pytest.raises(ValidationError, match=words):
        ToolRunnerSettings(screening=overrides)


def test_a_policy_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOL_RUNNER_SCREENING", '{"search": {"sql_injection": "report"}}')
    policy = ScreeningPolicy(ToolRunnerSettings().screening)
    assert reported({"q": TAUTOLOGY}, "search", policy) == ["sql_injection q"]


def test_what_is_too_long_to_look_at_is_reported() -> None:
    long = "x" * SCREENED_CHARACTERS_MAX
    assert reported({"a": long}) == []
    # Once is enough: nothing that follows is looked at either.
    assert reported({"a": long + TAUTOLOGY, "b": TAUTOLOGY}) == [f"{NOT_SCREENED} a"]
    assert reported({"a": long, "b": "", "c": "x"}) == [f"{NOT_SCREENED} c"]
    assert blocked({"a": TAUTOLOGY, "b": long}) == ["sql_injection a"]


@pytest.mark.parametrize("arguments", [{"a": ["'"] * 65_000}, {"a": [""] * 300_000}])
def test_the_time_for_many_short_texts_is_bounded(arguments: dict[str, Any]) -> None:
    # The least of a few, since what else runs on the machine slows each of them.
    assert min(_screening_seconds(arguments) for _ in range(3)) < 0.6


def _screening_seconds(arguments: dict[str, Any]) -> float:
    started = time.thread_time()
    POLICY.screen("search", arguments)
    return time.thread_time() - started


PIECES = [
    "' or ", ";", "; drop table a", "<a ", "{{", "../", ".", "<script>", "${", " ", "/*", "a/**/b",
    "%25", "'|sleep(", "union select ", "=javascript:", "'", '" onabcd=" ', "(", ")", "1", "<",
    "<a onaaaa= ", "${${a:-b", "a' or b", "__class__", "etc/passwd", "&#", "\n", "or ", "`$(", "| ",
    "' )", "--", "script:", "@@", "x=", "on" * 12, "É", "％２５", "\u0130",  # noqa: RUF001 -- full width
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_the_time_is_linear_whatever_the_text(piece: str) -> None:
    def seconds(length: int) -> float:
        text = (piece * length)[:length] + "'"
        best = 1e9
        for _ in range(3):
            started = time.thread_time()
            for judge in RULES.values():
                judge(text)
            best = min(best, time.thread_time() - started)
        return best

    short, long = seconds(4_000), seconds(64_000)
    # Quadratic time would be a factor of 256; the addend is for what one look costs at least.
    assert long < 64 * short + 0.02, (short, long)


def test_a_usual_call_takes_microseconds() -> None:
    arguments = {"q": "Don't forget: the report's due on Friday; please select a date & reply."}
    started = time.thread_time()
    for _ in range(500):
        POLICY.screen("search", arguments)
    # About 30 µs on one machine; the bound is what a busy one would not reach.
    assert (time.thread_time() - started) / 500 < 0.001
