"""Mail servers on loopback that do what a test tells them to, and remember what they got."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USERNAME = "agent"
PASSWORD = "correct horse battery staple"


@dataclass
class Received:
    """A message and its envelope, as a server got them."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    raw: bytes
    is_encrypted: bool


@dataclass
class MailServer:
    """What a server does and has got.

    Attributes:
        refused: Recipients that it refuses, with the answer.
        data_answer: Its answer to a message.
        drops_after_data: It takes the message and closes the connection without an answer.
        hangs_after_data: It takes the message and does not answer.
    """

    port: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    data_answer: str = "250 OK"
    login_answer: str = ""
    drops_after_data: bool = False
    hangs_after_data: bool = False
    received: list[Received] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    data_arrived: asyncio.Event = field(default_factory=asyncio.Event)
    connections_lost: int = 0
    connections: int = 0

    async def handle_RCPT(  # noqa: N802 -- aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 -- aiosmtpd's name
        content = envelope.content
        assert isinstance(content, bytes)
        parsed = message_from_bytes(content, policy=default)
        assert isinstance(parsed, EmailMessage)
        self.received.append(
            Received(
                str(envelope.mail_from),
                list(envelope.rcpt_tos),
                parsed,
                content,
                session.ssl is not None,
            )
        )
        self.data_arrived.set()
        if self.hangs_after_data:
            await asyncio.Event().wait()
        if self.drops_after_data:
            _abort(server)
        return self.data_answer

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        login = (data.login.decode(), data.password.decode())
        self.logins.append(login)
        if self.login_answer:
            return AuthResult(
                success=False, handled=False, message=self.login_answer.format(*login)
            )
        return AuthResult(success=login == (USERNAME, PASSWORD))


@contextlib.asynccontextmanager
async def running(
    server: MailServer,
    *,
    starttls: ssl.SSLContext | None = None,
    implicit: ssl.SSLContext | None = None,
    authenticates: bool = False,
) -> AsyncIterator[MailServer]:
    """Serves on a free port."""
    loop = asyncio.get_running_loop()
    protocols: list[SMTP] = []

    def make() -> SMTP:
        protocol = _Counting(
            server,
            hostname="mail.test",
            tls_context=starttls,
            require_starttls=False,
            authenticator=server.authenticate if authenticates else None,
            auth_require_tls=implicit is None,
            loop=loop,
            ident="test",
        )
        protocols.append(protocol)
        server.connections += 1
        return protocol

    listener = await loop.create_server(make, "127.0.0.1", 0, ssl=implicit)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for protocol in protocols:
            await _end(protocol)
        await listener.wait_closed()


class _Counting(SMTP):
    """Counts connections that are gone."""

    def connection_lost(self, error: Exception | None) -> None:
        self.event_handler.connections_lost += 1
        super().connection_lost(error)


async def _end(protocol: SMTP) -> None:
    task = getattr(protocol, "_handler_coroutine", None)
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    _abort(protocol)


def _abort(protocol: SMTP) -> None:
    if isinstance(protocol.transport, asyncio.WriteTransport):
        protocol.transport.abort()


@contextlib.asynccontextmanager
async def raw_server(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any],
) -> AsyncIterator[int]:
    """Serves a function of the two ends of a connection, and yields the port."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()


def certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """Returns a file with a certificate for a name, and a server's context that shows it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    issued = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file = folder / f"{name}.pem"
    certificate_file.write_bytes(issued.public_bytes(serialization.Encoding.PEM))
    key_file = folder / f"{name}.key"
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate_file, key_file)
    return certificate_file, context
