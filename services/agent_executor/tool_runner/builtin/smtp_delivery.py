"""Hands one message to a mail server, and says for certain what became of it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import aiosmtplib

from agent_executor.errors import FailedPreconditionError, OutcomeUnknownError, ToolExecutionError
from agent_executor.tool_runner.builtin.smtp_server import SmtpServer
from agent_executor.tool_runner.credentials.scrubbing import scrub
from agent_executor.tool_runner.credentials.secret import Secret

REASON_CHARACTERS_MAX: Final = 200

_TOOL_NAME: Final = "email"
# What a program that does not know its own name says; the machine's name is nobody's business.
_LOCAL_HOSTNAME: Final = "[127.0.0.1]"
_QUIT_TIMEOUT_SECONDS: Final = 2.0
_REFUSALS: Final = range(400, 600)
_NOT_PRINTABLE: Final = re.compile(r"[^ -~]+")
_NOT_SENT: Final = "Nothing was sent."


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a server has taken on.

    Attributes:
        accepted: The recipients that it delivers to.
        refused: Why it refuses the others, by recipient.
    """

    accepted: tuple[str, ...]
    refused: dict[str, str]


class SmtpDelivery:
    """One connection for one message.

    Args:
        server: Where it goes.
        password: For the login; needed if the server has a user name.
    """

    def __init__(self, server: SmtpServer, password: Secret | None) -> None:
        self._server = server
        self._password = password
        self._message_sent = False

    async def send(self, recipients: Sequence[str], message: bytes) -> Delivery:
        """Sends a message to whom the server accepts; a caller that is cancelled cuts it off.

        Raises:
            ToolExecutionError: The server refused, or was not reached in time; nothing was sent.
            OutcomeUnknownError: The connection was lost, or time was up, after the message was
                on its way and before the server answered.
            FailedPreconditionError: The certificates to check against cannot be read.
        """
        client = self._client()
        timeout = asyncio.timeout(self._server.timeout_seconds)
        try:
            async with timeout:
                delivery = await self._converse(client, recipients, message)
            await _say_goodbye(client)
        except aiosmtplib.SMTPResponseException as error:
            raise self._refusal(error) from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise self._failure(error, is_late=timeout.expired()) from None
        else:
            return delivery
        finally:
            _cut(client.transport)
            client.close()

    def _client(self) -> aiosmtplib.SMTP:
        server = self._server
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            local_hostname=_LOCAL_HOSTNAME,
            # The whole has a timeout; one step has no other.
            timeout=None,
            use_tls=server.tls == "implicit",
            start_tls=server.tls == "starttls",
            tls_context=None if server.tls == "none" else _tls_context(server.ca_file),
        )

    async def _converse(
        self, client: aiosmtplib.SMTP, recipients: Sequence[str], message: bytes
    ) -> Delivery:
        await client.connect()
        if self._server.username and self._password is not None:
            # As bytes, for it may hold letters that are not ASCII.
            await client.login(self._server.username.encode(), self._password.reveal().encode())
        await client.mail(self._server.sender)
        refused: dict[str, str] = {}
        for recipient in recipients:
            try:
                await client.rcpt(recipient)
            except aiosmtplib.SMTPRecipientRefused as error:
                refused[recipient] = self._reason(error)
        accepted = tuple(each for each in recipients if each not in refused)
        if not accepted:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
            raise ToolExecutionError(
                f"The mail server refuses every recipient: {reasons}", tool_name=_TOOL_NAME
            )
        self._message_sent = True
        await client.data(message)
        return Delivery(accepted, refused)

    def _refusal(self, error: aiosmtplib.SMTPResponseException) -> ToolExecutionError:
        if self._message_sent and error.code not in _REFUSALS:
            return self._unknown("The mail server's answer cannot be read.")
        if isinstance(error, aiosmtplib.SMTPAuthenticationError):
            # Some servers put into it what they were given.
            return ToolExecutionError(
                f"The mail server refuses the login with the code {error.code}. {_NOT_SENT}",
                metadata={"smtpCode": str(error.code)},
                tool_name=_TOOL_NAME,
            )
        return ToolExecutionError(
            f"The mail server refuses the message: {self._reason(error)} {_NOT_SENT}",
            metadata={"smtpCode": str(error.code)},
            tool_name=_TOOL_NAME,
        )

    def _failure(self, error: Exception, *, is_late: bool) -> ToolExecutionError:
        if self._message_sent:
            return self._unknown(
                f"The mail server did not answer within {self._server.timeout_seconds:g} s."
                if is_late
                else "The connection to the mail server was lost."
            )
        return ToolExecutionError(
            f"{self._explain(error, is_late=is_late)} {_NOT_SENT}", tool_name=_TOOL_NAME
        )

    def _explain(self, error: Exception, *, is_late: bool) -> str:
        server = self._server
        if is_late:
            return f"The mail server did not answer within {server.timeout_seconds:g} s."
        if isinstance(error, ssl.SSLCertVerificationError) or isinstance(
            error.__cause__, ssl.SSLCertVerificationError
        ):
            return "The mail server's certificate is not trusted."
        # A host that is no name at all is a ValueError.
        if isinstance(error, aiosmtplib.SMTPConnectError | ValueError):
            return "The mail server cannot be reached."
        if isinstance(error, OSError):
            return "The connection to the mail server was lost."
        lacking = (
            "STARTTLS" if "STARTTLS extension" in str(error) else "a login that this tool knows"
        )
        return f"The mail server does not offer {lacking}."

    def _unknown(self, reason: str) -> OutcomeUnknownError:
        return OutcomeUnknownError(
            f"{reason} Whether the message was sent is not known.", tool_name=_TOOL_NAME
        )

    def _reason(self, error: aiosmtplib.SMTPResponseException) -> str:
        """Returns a server's own words as one line of ASCII that holds no secret."""
        secrets = () if self._password is None else (self._password,)
        words = _NOT_PRINTABLE.sub(" ", scrub(error.message, secrets))[:REASON_CHARACTERS_MAX]
        return f"{error.code} {words.strip()}".strip().rstrip(".") + "."


async def _say_goodbye(client: aiosmtplib.SMTP) -> None:
    """Ends a conversation that is over; how the server takes it changes nothing."""
    transport = client.transport
    try:
        with contextlib.suppress(aiosmtplib.SMTPException):
            await client.quit(timeout=_QUIT_TIMEOUT_SECONDS)
    finally:
        _cut(transport)


def _cut(transport: asyncio.BaseTransport | None) -> None:
    """Closes a connection at once; what waits to be written is dropped."""
    abort = getattr(transport, "abort", None)
    if abort is not None:
        abort()


@cache
def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError):
        raise FailedPreconditionError(
            "The file with the certificates of the mail server's issuer cannot be read.",
            tool_name=_TOOL_NAME,
        ) from None
