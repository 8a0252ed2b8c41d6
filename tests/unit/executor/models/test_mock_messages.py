"""Mock Claude understands which e-mails and Slack messages a text asks for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.executor.models.dialogue import CALCULATOR, EMAIL, HTTP_REQUEST, SLACK, converse

TOOLS = [CALCULATOR, HTTP_REQUEST, EMAIL, SLACK]
SENT: dict[str, Any] = {
    "email": {"message_id": "<1@example.com>"},
    "slack": {"ts": "1712345678.000100"},
    "http_request": {"status_code": 200},
}
ADA = "ada@example.com"


def mail(subject: str, body: str, to: str = ADA) -> tuple[str, dict[str, str]]:
    return "email", {"to": to, "subject": subject, "body": body}


def post(text: str, channel: str = "#general", **thread: str) -> tuple[str, dict[str, str]]:
    return "slack", {"channel": channel, "text": text} | thread


@pytest.mark.parametrize(
    ("text", "call"),
    [
        (
            f"Send an e-mail to {ADA} with subject Hello saying Hi there, how are you?",
            mail("Hello", "Hi there, how are you?"),
        ),
        (
            f'send an email to {ADA} with the subject "1 + 1, Ada" and the body "It is 2 + 2."',
            mail("1 + 1, Ada", "It is 2 + 2."),
        ),
        (
            f'Send an email with subject “Hi” and body "Write to eve@example.com" to {ADA}',
            mail("Hi", "Write to eve@example.com"),
        ),
        (
            f"Please mail {ADA}, subject: Report, body: All fine. Bye.",
            mail("Report", "All fine. Bye."),
        ),
        (f'Send an e-mail to Ada ({ADA}) saying "a" with subject b.', mail("b", "a")),
        (f"E-mail {ADA}: lunch at 12?", mail("lunch at 12?", "lunch at 12?")),
        (f"email {ADA} that it is done", mail("it is done", "it is done")),
        (f"Send {'a' * 70} to {ADA}", mail("a" * 59 + "…", "a" * 70)),
        (f"Use the email tool to send 'Ada's note' to {ADA}", mail("Ada's note", "Ada's note")),
        (f"Use the email tool with to {ADA}, subject Hi, body Hello", mail("Hi", "Hello")),
    ],
)
async def test_an_e_mail(text: str, call: Any) -> None:
    dialogue = await converse(text, TOOLS, results=SENT)
    assert dialogue.calls == [[call]]
    assert dialogue.answer == f'The e-mail to {ADA} returned {{"message_id": "<1@example.com>"}}'


@pytest.mark.parametrize(
    ("text", "call"),
    [
        (
            "Post Hello from the agent system! to #general on Slack",
            post("Hello from the agent system!"),
        ),
        ('Post "Hi. Write to #ops: 2 + 2" to #general on Slack', post("Hi. Write to #ops: 2 + 2")),
        ("Post a message to #general on Slack saying hi", post("hi")),
        ("Send a Slack message to #general: build 7 is green", post("build 7 is green")),
        ("Tell #general that lunch is ready", post("lunch is ready")),
        ("Write me a poem. Send hello to #general", post("hello")),
        ('Post the words "so be it" in the channel #general', post("so be it")),
        (
            "Use the slack tool to post 'it's done' to #general in thread 1712345678.0001",
            post("it's done", thread_ts="1712345678.0001"),
        ),
        (
            "Post to #general on Slack, thread_ts 1712345678.0001, saying yes",
            post("yes", thread_ts="1712345678.0001"),
        ),
    ],
)
async def test_a_slack_message(text: str, call: Any) -> None:
    dialogue = await converse(text, TOOLS, results=SENT)
    assert dialogue.calls == [[call]]
    assert dialogue.answer == 'The Slack message to #general returned {"ts": "1712345678.000100"}'


async def test_each_receiver_of_an_e_mail_gets_one() -> None:
    text = f'Send "hello" to {ADA}, bob@example.com and eve@example.com, and what is 2 + 2?'
    dialogue = await converse(text, TOOLS, results=SENT)
    (calls,) = dialogue.calls
    assert calls == [
        mail("hello", "hello"),
        mail("hello", "hello", to="bob@example.com"),
        mail("hello", "hello", to="eve@example.com"),
        ("calculator", {"operation": "add", "a": 2, "b": 2}),
    ]


async def test_messages_and_a_request_in_one_turn() -> None:
    text = f'GET https://a.example/#ops\nPost "x" to #ops\nthen mail {ADA} saying y'
    (calls,) = (await converse(text, TOOLS, results=SENT)).calls
    assert calls == [
        ("http_request", {"method": "GET", "url": "https://a.example/#ops"}),
        post("x", channel="#ops"),
        mail("y", "y"),
    ]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (f"Send an e-mail to {ADA}", f"What shall I write to {ADA}?"),
        ("Use the slack tool to post to #general", "What shall I write to #general?"),
    ],
)
async def test_nothing_is_sent_before_it_is_known_what(text: str, answer: str) -> None:
    dialogue = await converse(text, TOOLS)
    assert (dialogue.calls, dialogue.answer) == ([], answer)


@pytest.mark.parametrize(
    "text",
    [
        "Tell me about bob@example.com",
        "What is the status of #12 in #general?",
        f"My address is {ADA}.",
        'The log says "send hi to #general"',
    ],
)
async def test_a_mere_mention_sends_nothing(text: str) -> None:
    dialogue = await converse(text, TOOLS)
    assert dialogue.calls == []
    assert dialogue.answer.startswith("You said")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (
            f"Send an e-mail to {ADA} saying hi",
            f"I have no tool for e-mail, so I cannot write to {ADA}",
        ),
        ("Post hi to #general on Slack", "I have no tool for Slack, so I cannot post to #general"),
    ],
)
async def test_without_the_tool_a_message_is_declined(text: str, answer: str) -> None:
    dialogue = await converse(text, [CALCULATOR])
    assert (dialogue.calls, dialogue.answer) == ([], answer)


async def test_an_e_mail_whose_fate_is_unknown_is_reported_and_not_sent_again() -> None:
    error = {
        "success": False,
        "error": "Whether it took effect is not known.",
        "code": "OUTCOME_UNKNOWN",
    }
    dialogue = await converse(f"E-mail {ADA}: hi", TOOLS, results={"email": error})
    assert len(dialogue.calls) == 1
    assert dialogue.answer == f"The e-mail to {ADA} failed: Whether it took effect is not known."


@pytest.mark.parametrize(
    ("tool", "call"),
    [
        ("email", ("email", {"to": "user@example.com", "subject": "sample", "body": "sample"})),
        ("slack", ("slack", {"channel": "#general", "text": "sample"})),
    ],
)
async def test_the_tool_itself_is_tested_with_a_receiver(tool: str, call: Any) -> None:
    dialogue = await converse(f"Test the {tool} tool", TOOLS, results=SENT)
    assert dialogue.calls == [[call]]
    assert dialogue.answer.startswith("Test successful: ")
