from __future__ import annotations

from typing import Any

import pytest

from agent_executor import SlackTool
from agent_executor.errors import InvalidArgumentError
from agent_executor.json_schema.argument_schema import ArgumentSchema
from agent_executor.tool_runner.builtin.slack_workspace import (
    ChannelAllowList,
    SlackWorkspace,
    normalise_channel,
)
from agent_executor.tool_runner.credentials.secret import Secret

ARGUMENTS: dict[str, Any] = {"channel": "#general", "text": "Hello."}
NOWHERE = SlackWorkspace(base_url="http://127.0.0.1:1/api/")


def execute(**arguments: Any) -> dict[str, Any]:
    slack = SlackTool(NOWHERE, token=Secret("xoxb-123"), allowed_channels=["#general"])
    return slack.execute({**ARGUMENTS, **arguments})


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ({"channel": ""}, "INVALID_ARGUMENT", "channel must be"),
        ({"channel": None}, "INVALID_ARGUMENT", "channel must be"),
        ({"channel": "#general\n#random"}, "INVALID_ARGUMENT", "channel must be"),
        ({"channel": "#general,#random"}, "INVALID_ARGUMENT", "channel must be"),
        ({"channel": "@ada"}, "INVALID_ARGUMENT", "channel must be"),
        ({"channel": ["#general"]}, "INVALID_ARGUMENT", "channel must be"),
        ({"text": ""}, "INVALID_ARGUMENT", "text must be"),
        ({"text": 5}, "INVALID_ARGUMENT", "text must be"),
        ({"text": "x" * 40_001}, "LIMIT_EXCEEDED", "at most 40000"),
        ({"thread_ts": "timestamp"}, "INVALID_ARGUMENT", "thread_ts must be"),
        ({"thread_ts": "1712345678"}, "INVALID_ARGUMENT", "thread_ts must be"),
        ({"thread_ts": 1712345678.123456}, "INVALID_ARGUMENT", "thread_ts must be"),
        ({"thread_ts": "1.2\n"}, "INVALID_ARGUMENT", "thread_ts must be"),
        ({"username": "admin"}, "INVALID_ARGUMENT", "no other"),
        ({"icon_url": "https://a.example"}, "INVALID_ARGUMENT", "no other"),
        ({"token": "xoxb-1"}, "INVALID_ARGUMENT", "no other"),
        ({"channel": "#random"}, "PERMISSION_DENIED", "ALLOWED_CHANNELS"),
    ],
)
def test_wrong_arguments_are_refused(arguments: Any, code: str, words: str) -> None:
    answer = execute(**arguments)
    assert answer.keys() == {"success", "error", "tool_name", "code", "timestamp"}
    assert (answer["code"], words in answer["error"]) == (code, True), answer


@pytest.mark.parametrize("thread", [None, ""])
def test_no_thread_may_be_said_in_several_ways(thread: Any) -> None:
    assert execute(thread_ts=thread)["code"] == "TOOL_EXECUTION_ERROR"


def test_by_default_it_posts_nowhere_and_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOOL_RUNNER_SLACK_ALLOWED_CHANNELS", raising=False)
    answer = SlackTool().execute(ARGUMENTS)
    assert answer["code"] == "PERMISSION_DENIED"
    assert "TOOL_RUNNER_SLACK_ALLOWED_CHANNELS" in answer["error"]
    answer = SlackTool(allowed_channels=["#general"]).execute(ARGUMENTS)
    assert answer["code"] == "FAILED_PRECONDITION"
    assert "TOOL_RUNNER_SLACK_TOKEN_FILE" in answer["error"]


@pytest.mark.parametrize(
    "token", ["xoxb-1\r\nX-Evil: 1", "xoxb 1", "xoxb-ü", "", "x" * 5_000], ids=range(5)
)
def test_a_token_that_is_none_is_not_shown(token: str) -> None:
    slack = SlackTool(NOWHERE, token=Secret(token), allowed_channels=["#general"])
    answer = slack.execute(ARGUMENTS)
    assert answer["code"] == "FAILED_PRECONDITION"
    assert not token or token not in answer["error"]


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "slack.com",
        "http://slack.com/api/",
        "ftp://slack.com/",
        "https://user@slack.com/",
        "https://slack.com:x/",
        "https:///api/",
        "https://slack.com/api/?x=1",
    ],
)
def test_a_token_goes_over_https_only(base_url: str) -> None:
    with pytest.raises(InvalidArgumentError, match="base URL"):
        SlackWorkspace(base_url=base_url)


@pytest.mark.parametrize(
    ("base_url", "origin"),
    [
        ("https://slack.com/api/", "https://slack.com"),
        ("https://SLACK.com:443/api/", "https://slack.com"),
        ("https://slack.example:8443/", "https://slack.example:8443"),
        ("http://[::1]:80/", "http://[::1]"),
    ],
)
def test_an_origin_has_one_form(base_url: str, origin: str) -> None:
    assert SlackWorkspace(base_url=base_url).origin == origin


def test_channels_are_compared_in_one_form() -> None:
    assert normalise_channel("General") == "#general"
    assert normalise_channel("C0123456789") == "C0123456789"
    allowed = ChannelAllowList(["#Général", "C0123456789"])
    assert allowed.allows(normalise_channel("général"))
    assert not allowed.allows(normalise_channel("c0123456789"))
    with pytest.raises(InvalidArgumentError):
        ChannelAllowList(["*"])


def test_the_schema_takes_what_the_tool_takes() -> None:
    schema = ArgumentSchema(SlackTool().input_schema)
    schema.check({**ARGUMENTS, "thread_ts": "1.2"})
    for wrong in ({"channel": 5}, {"text": ""}, {"username": "x"}):
        with pytest.raises(InvalidArgumentError):
            schema.check({**ARGUMENTS, **wrong})
