from __future__ import annotations

import asyncio
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest

from agent_executor import EmailTool
from agent_executor.errors import InvalidArgumentError
from agent_executor.json_schema.argument_schema import ArgumentSchema
from agent_executor.tool_runner.builtin.mail_address import RecipientAllowList, parse_address
from agent_executor.tool_runner.builtin.mail_message import Mail
from agent_executor.tool_runner.builtin.smtp_server import SmtpServer

ARGUMENTS: dict[str, Any] = {"to": "user@example.com", "subject": "Hi", "body": "Hello."}
NOWHERE = SmtpServer(host="127.0.0.1", port=1, sender="agent@example.com", tls="none")


def refusal(**arguments: Any) -> tuple[str, str]:
    answer = EmailTool(NOWHERE, allowed_recipients=["@example.com"]).execute(
        {**ARGUMENTS, **arguments}
    )
    assert not answer["success"], answer
    assert answer.keys() == {"success", "error", "tool_name", "code", "timestamp"}
    return answer["code"], answer["error"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ada@example.com", "ada@example.com"),
        ("Ada.L+tag@EXAMPLE.com", "Ada.L+tag@example.com"),
        ("o'brien@example.com", "o'brien@example.com"),
        ("ada@münchen.example", "ada@xn--mnchen-3ya.example"),
        ("ada@ＥＸＡＭＰＬＥ.com", "ada@example.com"),  # noqa: RUF001 -- the point of it
        ("ada@example。com", "ada@example.com"),
    ],
)
def test_an_address_has_one_form(text: str, expected: str) -> None:
    assert parse_address(text, "to") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@localhost",
        "ada@@example.com",
        "a b@example.com",
        "ada@example.com, eve@example.com",
        "ada@example.com;eve@example.com",
        "Ada <ada@example.com>",
        "<ada@example.com>",
        '"ada eve"@example.com',
        '"ada@evil.example"@example.com',
        "ada(comment)@example.com",
        "@relay.example:ada@example.com",
        "ada%evil.example@example.com",
        "evil.example!ada@example.com",
        "ada@[127.0.0.1]",
        "ada@127.0.0.1",
        "ada@*.example.com",
        "ada@example.com\r\nBcc: eve@example.com",
        "ada@example.com\n",
        "ada\0@example.com",
        "ada@exam\u200bple.com",
        "ada@stra\u00dfe.example",
        "äda@example.com",
        ".ada@example.com",
        "a..b@example.com",
        "x" * 65 + "@example.com",
        "ada@" + "x." * 130 + "com",
        None,
        5,
        ["ada@example.com"],
    ],
)
def test_what_is_not_one_plain_address_is_refused(text: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^to must be an e-mail address"):
        parse_address(text, "to")


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("ada@example.com", True),
        ("Ada@example.com", True),
        ("eve@example.com", False),
        ("eve@example.org", True),
        ("eve@sub.example.org", False),
        ("eve@sub.example.net", True),
        ("eve@a.b.example.net", True),
        ("eve@example.net", False),
        ("eve@badexample.net", False),
        ("eve@example.org.evil.example", False),
        ("eve@xn--mnchen-3ya.example", True),
    ],
)
def test_the_list_of_recipients_knows_addresses_and_domains(address: str, allowed: bool) -> None:
    entries = ["Ada@Example.com", "@example.org", "@*.example.net", "@xn--mnchen-3ya.example"]
    assert RecipientAllowList(entries).allows(address) is allowed


@pytest.mark.parametrize("entry", ["", "*", "@", "@*", "example.com", "@example.com/x", "a b@c.de"])
def test_an_entry_that_allows_nothing_in_particular_is_refused(entry: str) -> None:
    with pytest.raises(InvalidArgumentError, match="An allowed recipient is"):
        RecipientAllowList([entry])


def test_by_default_nobody_is_written_to() -> None:
    answer = EmailTool(NOWHERE).execute(ARGUMENTS)
    assert answer["code"] == "PERMISSION_DENIED"
    assert "TOOL_RUNNER_EMAIL_ALLOWED_RECIPIENTS" in answer["error"]


def test_without_a_server_the_answer_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOOL_RUNNER_EMAIL_SMTP_HOST", raising=False)
    answer = EmailTool().execute(ARGUMENTS)
    assert answer["code"] == "FAILED_PRECONDITION"
    assert "TOOL_RUNNER_EMAIL_SMTP_HOST" in answer["error"]


def test_wrong_variables_are_named_without_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOL_RUNNER_EMAIL_SMTP_HOST", "mail.example")
    monkeypatch.setenv("TOOL_RUNNER_EMAIL_SENDER", "nobody-in-particular")
    answer = EmailTool().execute(ARGUMENTS)
    assert answer["code"] == "FAILED_PRECONDITION"
    assert "TOOL_RUNNER_EMAIL_SENDER" in answer["error"]
    assert "nobody" not in answer["error"]


@pytest.mark.parametrize(
    "subject",
    ["a\r\nBcc: eve@example.com", "a\nb", "a\rb", "a\0b", "a\x0bb", "a\x85b", "a\u2028b", " ", ""],
)
def test_a_subject_is_one_line_of_text(subject: str) -> None:
    code, error = refusal(subject=subject)
    assert code == "INVALID_ARGUMENT"
    assert error.startswith("subject must be")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ({"to": []}, "INVALID_ARGUMENT", "to must be"),
        ({"to": None}, "INVALID_ARGUMENT", "to must be"),
        ({"to": {"a": 1}}, "INVALID_ARGUMENT", "to must be"),
        ({"cc": "x"}, "INVALID_ARGUMENT", "cc must be"),
        ({"bcc": "a@example.com\nb"}, "INVALID_ARGUMENT", "bcc must be"),
        ({"body": None}, "INVALID_ARGUMENT", "body must be"),
        ({"body": "a\0b"}, "INVALID_ARGUMENT", "body must not"),
        ({"host": "evil.example"}, "INVALID_ARGUMENT", "no other"),
        ({"password": "x"}, "INVALID_ARGUMENT", "no other"),
        ({"from": "eve@example.com"}, "INVALID_ARGUMENT", "no other"),
        ({"subject": "x" * 999}, "LIMIT_EXCEEDED", "at most 998"),
        ({"to": [f"a{n}@example.com" for n in range(51)]}, "LIMIT_EXCEEDED", "at most 50"),
        ({"body": "é" * 524_289}, "LIMIT_EXCEEDED", "at most 1048576"),
    ],
)
def test_wrong_arguments_are_refused(arguments: Any, code: str, words: str) -> None:
    found, error = refusal(**arguments) if "body" not in arguments else body_refusal(arguments)
    assert (found, words in error) == (code, True), error


def body_refusal(arguments: dict[str, Any]) -> tuple[str, str]:
    """As ``refusal``, but past the cap on all arguments, which is no larger than the body's."""
    try:
        Mail.of({**ARGUMENTS, **arguments})
    except Exception as error:  # noqa: BLE001 -- it is looked at by the test
        return getattr(error, "reason", ""), str(error)
    raise AssertionError


def test_a_login_is_never_in_the_clear() -> None:
    with pytest.raises(InvalidArgumentError, match="needs encryption"):
        SmtpServer(host="mail.example", sender="a@example.com", tls="none", username="ada")


def test_a_user_without_a_password_is_a_clear_error() -> None:
    server = SmtpServer(host="mail.example", sender="a@example.com", username="ada")
    answer = EmailTool(server, allowed_recipients=["@example.com"]).execute(ARGUMENTS)
    assert answer["code"] == "FAILED_PRECONDITION"
    assert 'credential "smtp"' in answer["error"]


@pytest.mark.parametrize("body", ["", "x" * 10_000, "a\r\nb\rc\n", "\x1b[31m", "From me\n.\n", "é"])
def test_every_body_is_sent_in_short_lines_of_ascii(body: str) -> None:
    raw = Mail.of({**ARGUMENTS, "body": body}).message("agent@example.com", "<1@example.com>")
    assert raw.isascii()
    assert max(map(len, raw.splitlines())) <= 998
    got = message_from_bytes(raw, policy=default).get_content()
    assert got.splitlines() == (body.splitlines() or [""])


@pytest.mark.parametrize(
    "subject",
    [
        "Ärger " * 166,
        "x" * 998,
        "word " * 199,
        "=?utf-8?q?hidden?=",
        "Hi",
        "日本語" * 300,
        " a  b ",
    ],
)
def test_every_subject_is_read_as_it_was_written(subject: str) -> None:
    raw = Mail.of({**ARGUMENTS, "subject": subject}).message("a@example.com", "<1@example.com>")
    assert max(map(len, raw.splitlines())) <= 78
    assert message_from_bytes(raw, policy=default)["Subject"].strip() == subject.strip()


def test_the_schema_takes_what_the_tool_takes() -> None:
    schema = ArgumentSchema(EmailTool().input_schema)
    schema.check(ARGUMENTS)
    schema.check({**ARGUMENTS, "to": ["a@example.com"], "cc": "b@example.com", "bcc": []})
    for wrong in ({"to": 5}, {"host": "x"}, {"subject": ""}, {"cc": ["a@example.com"] * 51}):
        with pytest.raises(InvalidArgumentError):
            schema.check({**ARGUMENTS, **wrong})


def test_it_works_where_a_loop_runs() -> None:
    async def call() -> dict[str, Any]:
        return EmailTool(NOWHERE, allowed_recipients=["@example.com"]).execute(ARGUMENTS)

    answer = asyncio.run(call())
    assert answer["code"] == "TOOL_EXECUTION_ERROR"
    assert answer["error"] == "The mail server cannot be reached. Nothing was sent."
