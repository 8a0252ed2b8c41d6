"""The e-mail tool against real mail servers; what they received is what counts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agent_executor import EmailTool
from agent_executor.errors import (
    AgentExecutorError,
    FailedPreconditionError,
    OutcomeUnknownError,
    PermissionDeniedError,
    ToolExecutionError,
)
from agent_executor.tool_runner.builtin.smtp_server import SmtpServer
from agent_executor.tool_runner.calls.context import CallContext, current_call
from agent_executor.tool_runner.credentials.credential import Credential
from agent_executor.tool_runner.credentials.secret import Secret
from tests.integration.tool_runner.mail_servers import (
    PASSWORD,
    USERNAME,
    MailServer,
    certificate,
    raw_server,
    running,
)
from tests.unit.tool_runner.vault import Vault

ARGUMENTS = {"to": "user@example.com", "subject": "Test Email", "body": "Hello."}
ALLOWED = ("@example.com", "@*.example.org")


def tool(port: int, *, password: str = "", **server: Any) -> EmailTool:
    settings = {"host": "127.0.0.1", "sender": "agent@sender.example", "tls": "none", **server}
    return EmailTool(
        SmtpServer(port=port, **settings),
        password=Secret(password) if password else None,
        allowed_recipients=ALLOWED,
    )


async def send(email: EmailTool, **arguments: Any) -> dict[str, Any]:
    result: dict[str, Any] = await email._execute_impl({**ARGUMENTS, **arguments})
    json.dumps(result)
    return result


async def test_a_message_arrives_as_it_was_asked_for() -> None:
    async with running(MailServer()) as server:
        result = await send(
            tool(server.port),
            to=["user@example.com", "ada@a.example.org"],
            cc="eve@example.com",
            bcc=["secret@example.com", "user@example.com"],
            subject="Grüße an alle — bis bald",
            body="Zeile 1\n.\n..dot\nλ" + "x" * 2_000,
        )
    [got] = server.received
    everyone = ["user@example.com", "ada@a.example.org", "eve@example.com", "secret@example.com"]
    assert got.sender == "agent@sender.example"
    assert got.recipients == everyone
    assert result["accepted"] == everyone
    assert result["refused"] == {}
    assert got.message["From"] == "agent@sender.example"
    assert got.message["To"] == "user@example.com, ada@a.example.org"
    assert got.message["Cc"] == "eve@example.com"
    assert got.message["Subject"] == "Grüße an alle — bis bald"
    assert got.message["Message-ID"] == result["message_id"]
    assert got.message["Date"].datetime is not None
    assert got.message.get_content_type() == "text/plain"
    text = got.message.get_content().replace("\r\n", "\n")
    assert text == "Zeile 1\n.\n..dot\nλ" + "x" * 2_000 + "\n"
    assert got.raw.isascii()
    assert b"secret@example.com" not in got.raw
    assert server.connections_lost == server.connections == 1


async def test_a_repeat_of_a_call_has_the_same_message_id_and_another_call_has_another() -> None:
    async with running(MailServer()) as server:
        ids = []
        for organization, call in (("acme", "1"), ("acme", "1"), ("acme", "2"), ("other", "1")):
            token = current_call.set(CallContext(organization, "email", call))
            ids.append((await send(tool(server.port)))["message_id"])
            current_call.reset(token)
        ids.append((await send(tool(server.port)))["message_id"])
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4
    assert all(name.endswith("@sender.example>") for name in ids)
    assert [got.message["Message-ID"] for got in server.received] == ids


async def test_starttls_is_used_and_the_password_comes_from_the_vault(tmp_path: Path) -> None:
    file, context = certificate(tmp_path, "localhost")
    vault = Vault(Credential("smtp", Secret(PASSWORD)))
    token = current_call.set(CallContext("acme", "email", "1", credentials=vault))
    async with running(MailServer(), starttls=context, authenticates=True) as server:
        await send(
            tool(server.port, host="localhost", tls="starttls", ca_file=file, username=USERNAME)
        )
    current_call.reset(token)
    assert vault.opened == [("acme", "smtp")]
    assert server.logins == [(USERNAME, PASSWORD)]
    assert [got.is_encrypted for got in server.received] == [True]


async def test_encryption_from_the_first_byte_and_a_password_in_a_file(tmp_path: Path) -> None:
    file, context = certificate(tmp_path, "localhost")
    password_file = tmp_path / "password"
    password_file.write_text(f"{PASSWORD}\n")
    async with running(MailServer(), implicit=context, authenticates=True) as server:
        await send(
            tool(
                server.port,
                host="localhost",
                tls="implicit",
                ca_file=file,
                username=USERNAME,
                password_file=password_file,
            )
        )
    assert server.logins == [(USERNAME, PASSWORD)]
    assert len(server.received) == 1


@pytest.mark.parametrize("login", [{}, {"username": USERNAME, "password": PASSWORD}])
async def test_without_starttls_nothing_is_sent(login: dict[str, str]) -> None:
    async with running(MailServer(), authenticates=True) as server:
        with pytest.raises(ToolExecutionError, match=r"STARTTLS\. Nothing was sent\.$"):
            await send(tool(server.port, tls="starttls", **login))
    assert server.received == []
    assert server.logins == []


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("problem", ["unknown issuer", "another name"])
async def test_a_certificate_that_does_not_hold_ends_it(
    tmp_path: Path, tls: str, problem: str
) -> None:
    name = "localhost" if problem == "unknown issuer" else "other.example"
    file, context = certificate(tmp_path, name)
    trusted = None if problem == "unknown issuer" else file
    arguments = {"starttls": context} if tls == "starttls" else {"implicit": context}
    async with running(MailServer(), authenticates=True, **arguments) as server:
        with pytest.raises(ToolExecutionError, match="certificate is not trusted"):
            await send(
                tool(
                    server.port,
                    host="localhost",
                    tls=tls,
                    ca_file=trusted,
                    username=USERNAME,
                    password=PASSWORD,
                )
            )
    assert server.logins == []
    assert server.received == []


async def test_refused_recipients_are_reported_and_the_others_get_it() -> None:
    answers = {"bad@example.com": "550 5.1.1 No\tsuch user."}
    async with running(MailServer(refused=answers)) as server:
        result = await send(tool(server.port), to=["bad@example.com", "good@example.com"])
    assert result["accepted"] == ["good@example.com"]
    assert result["refused"] == {"bad@example.com": "550 5.1.1 No such user."}
    assert [got.recipients for got in server.received] == [["good@example.com"]]


async def test_if_everyone_is_refused_nothing_is_sent() -> None:
    async with running(MailServer(refused={"user@example.com": "551 gone"})) as server:
        with pytest.raises(ToolExecutionError, match=r"user@example\.com: 551 gone"):
            await send(tool(server.port))
    assert server.received == []


async def test_a_refused_message_is_a_failure_with_the_code() -> None:
    async with running(MailServer(data_answer="554 5.7.1 Spam " + "x" * 1_000)) as server:
        with pytest.raises(ToolExecutionError, match=r"554 5\.7\.1 Spam.* Nothing was") as raised:
            await send(tool(server.port))
    assert not isinstance(raised.value, OutcomeUnknownError)
    assert raised.value.metadata == {"smtpCode": "554"}
    assert len(raised.value.message) < 400


async def test_what_a_server_says_of_a_login_is_not_passed_on(tmp_path: Path) -> None:
    file, context = certificate(tmp_path, "localhost")
    angry = MailServer(login_answer="535 wrong password {1} of {0}")
    async with running(angry, starttls=context, authenticates=True) as server:
        with pytest.raises(ToolExecutionError) as raised:
            await send(
                tool(
                    server.port,
                    host="localhost",
                    tls="starttls",
                    ca_file=file,
                    username=USERNAME,
                    password=PASSWORD,
                )
            )
    assert PASSWORD not in str(vars(raised.value))
    assert "535" in raised.value.message


async def test_a_password_in_a_servers_words_is_masked(tmp_path: Path) -> None:
    file, context = certificate(tmp_path, "localhost")
    echo = MailServer(data_answer=f"554 you said {PASSWORD}")
    async with running(echo, starttls=context, authenticates=True) as server:
        with pytest.raises(ToolExecutionError, match=r"you said \*+") as raised:
            await send(
                tool(
                    server.port,
                    host="localhost",
                    tls="starttls",
                    ca_file=file,
                    username=USERNAME,
                    password=PASSWORD,
                )
            )
    assert PASSWORD not in str(vars(raised.value))


async def test_a_connection_lost_after_the_message_is_an_unknown_outcome() -> None:
    async with running(MailServer(drops_after_data=True)) as server:
        with pytest.raises(OutcomeUnknownError, match="not known"):
            await send(tool(server.port))
    assert len(server.received) == 1


async def test_an_answer_that_is_none_is_an_unknown_outcome() -> None:
    async with running(MailServer(data_answer="what?")) as server:
        with pytest.raises(OutcomeUnknownError, match="not known"):
            await send(tool(server.port))


async def test_time_runs_out_after_the_message_as_an_unknown_outcome() -> None:
    async with running(MailServer(hangs_after_data=True)) as server:
        with pytest.raises(OutcomeUnknownError, match=r"within 0\.5 s.*not known"):
            await send(tool(server.port, timeout_seconds=0.5))
    assert len(server.received) == 1


async def test_time_runs_out_before_the_message_and_nothing_is_sent() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_server(silent) as port:
        with pytest.raises(ToolExecutionError, match=r"within 0\.3 s\. Nothing was sent") as raised:
            await send(tool(port, timeout_seconds=0.3))
    assert not isinstance(raised.value, OutcomeUnknownError)


async def test_a_server_that_talks_without_end_does_not_keep_us_longer() -> None:
    async def chatty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"220-hello\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with raw_server(chatty) as port, asyncio.timeout(60):
        with pytest.raises(ToolExecutionError, match="Nothing was sent"):
            await send(tool(port, timeout_seconds=0.5))


async def test_a_server_that_is_not_there_is_a_failure() -> None:
    async with running(MailServer()) as server:
        port = server.port
    with pytest.raises(ToolExecutionError, match=r"cannot be reached\. Nothing was sent\.$"):
        await send(tool(port))


async def test_bytes_slipped_in_before_the_encryption_are_not_taken_for_an_answer(
    tmp_path: Path,
) -> None:
    said: list[bytes] = []

    async def attacker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.test\r\n")
        said.append(await reader.readline())
        writer.write(b"250-mail.test\r\n250 STARTTLS\r\n")
        said.append(await reader.readline())
        writer.write(b"220 go\r\n250-mail.test\r\n250 AUTH PLAIN\r\n235 in\r\n250 ok\r\n")
        said.append(await reader.read(1))

    async with raw_server(attacker) as port:
        with pytest.raises(ToolExecutionError, match="Nothing was sent"):
            await send(
                tool(port, tls="starttls", username=USERNAME, password=PASSWORD, timeout_seconds=2)
            )
    # What follows is a TLS record, and the password in none that anyone can read.
    assert said[1:] == [b"STARTTLS\r\n", b"\x16"]


async def test_a_caller_that_is_cancelled_cuts_the_connection() -> None:
    async with running(MailServer(hangs_after_data=True)) as server:
        task = asyncio.create_task(send(tool(server.port)))
        await server.data_arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(60):
            while not server.connections_lost:  # noqa: ASYNC110 -- the protocol sets no event
                await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    "recipient",
    ["eve@other.example", "user@example.com.evil.example", "x@example.org", "a@b.c.example.net"],
)
@pytest.mark.parametrize("field", ["to", "cc", "bcc"])
async def test_who_is_not_on_the_list_gets_nothing(recipient: str, field: str) -> None:
    async with running(MailServer()) as server:
        with pytest.raises(PermissionDeniedError, match="ALLOWED_RECIPIENTS"):
            await send(tool(server.port), **{field: [recipient]})
    assert server.connections == 0


@pytest.mark.parametrize(
    ("credential", "error"),
    [
        (Credential("smtp", Secret(PASSWORD), tools=frozenset({"slack"})), PermissionDeniedError),
        (
            Credential("smtp", Secret(PASSWORD), allowed_origins=frozenset({"https://a.example"})),
            PermissionDeniedError,
        ),
        (Credential("other", Secret(PASSWORD)), FailedPreconditionError),
    ],
)
async def test_a_credential_for_something_else_is_not_used(
    credential: Credential, error: type[AgentExecutorError]
) -> None:
    context = CallContext("acme", "email", "1", credentials=Vault(credential))
    token = current_call.set(context)
    async with running(MailServer()) as server:
        with pytest.raises(error):
            await send(tool(server.port, tls="starttls", username=USERNAME))
    current_call.reset(token)
    assert server.connections == 0


def test_the_documented_example_sends_an_email(monkeypatch: pytest.MonkeyPatch) -> None:
    async def example() -> tuple[MailServer, dict[str, Any]]:
        async with running(MailServer()) as server:
            monkeypatch.setenv("TOOL_RUNNER_EMAIL_SMTP_HOST", "127.0.0.1")
            monkeypatch.setenv("TOOL_RUNNER_EMAIL_SMTP_PORT", str(server.port))
            monkeypatch.setenv("TOOL_RUNNER_EMAIL_SMTP_TLS", "none")
            monkeypatch.setenv("TOOL_RUNNER_EMAIL_SENDER", "agent@sender.example")
            monkeypatch.setenv("TOOL_RUNNER_EMAIL_ALLOWED_RECIPIENTS", '["@example.com"]')
            return server, await asyncio.to_thread(run)

    def run() -> dict[str, Any]:
        email_tool = EmailTool()
        return email_tool.execute(
            {
                "to": "user@example.com",
                "subject": "Test Email",
                "body": "This is a test email from the agent system.",
            }
        )

    server, result = asyncio.run(example())
    assert result["success"], result
    assert result["tool_name"] == "email"
    [got] = server.received
    assert got.message.get_content().strip() == "This is a test email from the agent system."
