"""A small internet on the loopback: hosts that record what reaches them, names that lie, TLS.

``127.0.0.1`` is admitted and stands for a public address. ``127.0.0.2`` is not, and stands for
the inside: what listens there must never see a connection.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from ipaddress import IPv4Network, ip_address
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent_executor.egress.addresses import Address, Network
from agent_executor.egress.client import EgressClient
from agent_executor.egress.exchange import AttachedHeader, EgressRequest, EgressResponse
from agent_executor.egress.policy import EgressPolicy

OUTSIDE = "127.0.0.1"
INSIDE = "127.0.0.2"
ADMITTED: tuple[Network, ...] = (IPv4Network(f"{OUTSIDE}/32"),)
TIMEOUT_SECONDS = 60.0


@dataclass
class Received:
    """A request as it was on the wire."""

    head: bytes
    body: bytes
    reader: asyncio.StreamReader = field(repr=False)

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")

    @property
    def headers(self) -> list[tuple[str, str]]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return [
            (name.lower(), value.strip())
            for name, _, value in (line.partition(":") for line in lines if line)
        ]

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1
        return values[0] if values else None


Answer = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


def answer(body: bytes = b"hello", status: str = "200 OK", **headers: str) -> Answer:
    """Returns what answers every request alike."""

    async def respond(received: Received, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        lines.append(f"Content-Length: {len(body)}")
        writer.write("\r\n".join((*lines, "", "")).encode("latin-1"))
        writer.write(body if not received.line.startswith("HEAD") else b"")
        await writer.drain()

    return respond


def redirect(location: str, status: str = "302 Found") -> Answer:
    return answer(b"", status, Location=location)


@dataclass
class Host:
    """A server and what it saw.

    Attributes:
        connections: How many it accepted, whether or not anything was sent.
        bytes_sent: How much of an endless answer was taken off its hands.
    """

    port: int
    connections: int = 0
    server_names: list[str | None] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    default: Answer = field(default_factory=answer)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    bytes_sent: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                received = Received(head, b"", reader)
                self.received.append(received)
                self.reached.set()
                received.body = await reader.readexactly(
                    int(received.header("content-length") or 0)
                )
                path = received.line.split(" ")[1].partition("?")[0]
                await self.answers.get(path, self.default)(received, writer)
                if received.header("connection") == "close":
                    return
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            return
        finally:
            writer.close()
            self.closed.set()


class World:
    """Hosts, names, and a client whose resolver knows only those names."""

    def __init__(self, tls: Tls) -> None:
        self._stack = AsyncExitStack()
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self.names: dict[str, list[Address]] = {}
        self.lookups: list[str] = []
        self.client = EgressClient(ssl_context=tls.client(), resolver=self.resolve)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    async def resolve(self, host: str, port: int) -> list[Address]:
        self.lookups.append(host)
        if host not in self.names:
            raise OSError("no such name")
        return self.names[host]

    def name(self, name: str, *addresses: str) -> None:
        self.names[name] = [ip_address(address) for address in addresses or (OUTSIDE,)]

    async def host(self, *, address: str = OUTSIDE, tls: bool = False) -> Host:
        host = Host(0)

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            host.connections += 1
            task = asyncio.get_running_loop().create_task(host.serve(reader, writer))
            self._tasks.add(task)

        context = self._tls.server(host.server_names) if tls else None
        server = await asyncio.start_server(accept, address, 0, ssl=context)
        self._stack.push_async_callback(self._stop, server)
        host.port = server.sockets[0].getsockname()[1]
        return host

    async def _stop(self, server: asyncio.Server) -> None:
        server.close()
        await server.wait_closed()

    async def request(
        self,
        url: str,
        method: str = "GET",
        *,
        attached: AttachedHeader | None = None,
        policy: EgressPolicy | None = None,
        domains: tuple[str, ...] = ("*.test",),
        **more: Any,
    ) -> EgressResponse:
        return await self.client.request(
            EgressRequest(method, url, **{"timeout_seconds": TIMEOUT_SECONDS, **more}),
            policy or EgressPolicy(frozenset(domains), allowed_networks=ADMITTED),
            attached=attached,
        )


class Tls:
    """An authority of its own, and a certificate for ``*.test`` and ``a.test``."""

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Authority of tests")])
        self._authority = (
            self._certificate(name, name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        key = ec.generate_private_key(ec.SECP256R1())
        hosts = [x509.DNSName(host) for host in ("a.test", "b.test", "c.test")]
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a.test")])
        leaf = (
            self._certificate(subject, name, key.public_key())
            .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        self._file = folder / "server.pem"
        self._file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + leaf.public_bytes(serialization.Encoding.PEM)
        )

    def client(self) -> ssl.SSLContext:
        pem = self._authority.public_bytes(serialization.Encoding.PEM).decode()
        return ssl.create_default_context(cadata=pem)

    def server(self, server_names: list[str | None]) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._file)

        def note(_socket: object, server_name: str | None, _context: object) -> None:
            server_names.append(server_name)

        context.sni_callback = note
        return context

    def _certificate(
        self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
        )


def rebinding(world: World, name: str, *answers: str) -> None:
    """Makes a name give another address at each lookup, and the last one from then on."""
    sequence: Iterator[str] = iter(answers)
    last = answers[-1]
    resolve = world.resolve

    async def lie(host: str, port: int) -> list[Address]:
        if host != name:
            return await resolve(host, port)
        world.lookups.append(host)
        return [ip_address(next(sequence, last))]

    world.client = EgressClient(ssl_context=world._tls.client(), resolver=lie)
