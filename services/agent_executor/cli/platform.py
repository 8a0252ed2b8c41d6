"""A platform on this machine: its keys, its gateway's configuration and its processes."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent_executor.cli.certificate_authority import (
    issue_certificates,
    own_tls_files,
    tls_environment,
)
from agent_executor.cli.environment import database_url_of_process
from agent_executor.cli.gateway import write_configuration
from agent_executor.cli.gateway_settings import GatewaySettings
from agent_executor.cli.gateway_tls import check_tls_files
from agent_executor.cli.issuer import TokenClaims, issue_token
from agent_executor.cli.keys import Keys, ensure_keys
from agent_executor.cli.ports import WEB_OFFSET, PlatformPorts
from agent_executor.cli.probes import why_not_ready
from agent_executor.cli.processes import (
    LOOPBACK,
    addresses,
    gateway_configuration_file,
    process_groups,
)
from agent_executor.cli.rest import RestClient
from agent_executor.cli.supervisor import ChildEvent, Supervisor

READINESS_INTERVAL_SECONDS = 0.05
_PROBE_TOKEN_SECONDS = 3600


class PlatformError(Exception):
    """The platform cannot be started; the message is a sentence for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformOptions:
    """How a platform is started.

    Attributes:
        data_dir: Where everything is kept; made if it does not exist.
        ports: The ports it uses.
        environment: What its processes inherit.
        dotenv_file: A file with the gateway's further settings, which need not exist.
        tls: Whether its processes talk to each other over mutual TLS.
    """

    data_dir: Path
    ports: PlatformPorts
    environment: Mapping[str, str]
    dotenv_file: Path | None = None
    tls: bool = False


class Platform:
    """Starts a platform and keeps it running.

    Args:
        options: How it is started.
        on_event: Is told of every change of a process's state.
        on_waiting: Is told what the first request still lacks, each time it is tried.

    Raises:
        PlatformError: If there are to be several of a service whose database is a file of one process.
        ValueError: If a setting of the gateway is wrong.
    """

    def __init__(
        self,
        options: PlatformOptions,
        *,
        on_event: Callable[[ChildEvent], None] = lambda _: None,
        on_waiting: Callable[[str], None] = lambda _: None,
    ) -> None:
        _check_databases(options.ports, options.environment)
        self._ports = options.ports
        self._data_dir = options.data_dir.resolve()
        self._on_waiting = on_waiting
        self._settings = gateway_settings(options)
        self._issues_certificates = options.tls
        environment = dict(options.environment)
        if options.tls:
            environment |= tls_environment(self._data_dir)
        groups = process_groups(self._data_dir, self._ports, self._settings, environment)
        self._supervisor = Supervisor(groups, on_event=on_event)

    @property
    def url(self) -> str:
        """Where callers reach it."""
        scheme = "https" if self._settings.tls_certificate_file is not None else "http"
        return f"{scheme}://{LOOPBACK}:{self._ports.http}"

    async def run(self, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
        """Runs the platform until it is told to stop; no process outlives it.

        Args:
            stop: Is set by the caller to end it.
            on_ready: Is called once, when requests through the gateway succeed.

        Raises:
            CrashLoopError: If a process died too often in a row.
            PlatformError: If the data folder is in use or cannot be written.
            PortError: If a port is taken.
            StartupError: If a file of TLS cannot be used.
        """
        self._ports.check(self._settings.http_host)
        with claimed(self._data_dir):
            ensure_keys(self._data_dir)
            if self._issues_certificates:
                issue_certificates(self._data_dir)
            check_tls_files(self._settings)
            write_configuration(gateway_configuration_file(self._data_dir), self._settings)
            announcement = asyncio.create_task(self._announce(on_ready))
            try:
                await self._supervisor.run(stop)
            finally:
                announcement.cancel()
                await asyncio.gather(announcement, return_exceptions=True)

    def kill(self) -> None:
        """Kills every process at once."""
        self._supervisor.kill()

    def client(self, claims: TokenClaims) -> RestClient:
        """Makes a client of the gateway that bears a token."""
        keys = ensure_keys(self._data_dir)
        token = issue_token(keys.issuer.read_bytes(), claims)
        certificate_file = self._settings.tls_certificate_file
        return RestClient(
            host=LOOPBACK,
            port=self._ports.http,
            token=token,
            is_encrypted=certificate_file is not None,
            certificate_file=certificate_file,
        )

    async def _announce(self, on_ready: Callable[[], None]) -> None:
        """Waits until a real request succeeds, and says so."""
        await self._supervisor.wait_until_healthy()
        permissions = ("agent:read", "tool:read", "ledger:read")
        claims = TokenClaims(user="up", permissions=permissions, ttl_seconds=_PROBE_TOKEN_SECONDS)
        client = self.client(claims)
        while reason := await why_not_ready(client):
            self._on_waiting(reason)
            await asyncio.sleep(READINESS_INTERVAL_SECONDS)
        on_ready()


def gateway_settings(options: PlatformOptions) -> GatewaySettings:
    """Returns the gateway's settings for these options.

    Raises:
        ValueError: If a setting of the gateway is wrong.
    """
    ports = options.ports
    settings = GatewaySettings(
        _env_file=options.dotenv_file,
        http_port=ports.http,
        admin_port=ports.gateway_admin,
        executor_addresses=addresses(ports, ports.executor_offsets()),
        tool_runner_addresses=addresses(ports, ports.tool_runner_offsets()),
        ledger_addresses=addresses(ports, ports.ledger_offsets()),
        web_addresses=addresses(ports, [WEB_OFFSET]),
        jwks_file=Keys(options.data_dir.resolve() / "keys").jwks,
        otlp_endpoint=options.environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
    )
    if not options.tls:
        return settings
    own = own_tls_files(options.data_dir.resolve(), "gateway")
    return settings.model_copy(update={f"services_{name}": file for name, file in own.items()})


def _check_databases(ports: PlatformPorts, environment: Mapping[str, str]) -> None:
    """Refuses replicas that could not know of each other.

    Executors may share their SQLite file; budgets, holds and tool calls are in the memory of one
    process where there is no PostgreSQL.
    """
    for service, option, count in (
        ("tool-runner", "--tool-runners", ports.tool_runners),
        ("ledger", "--ledgers", ports.ledgers),
    ):
        if count > 1 and not database_url_of_process(service, environment):
            own = f"{service.replace('-', '_').upper()}_DATABASE_URL"
            msg = f"{option} {count} needs a PostgreSQL database: set DATABASE_URL, or {own}."
            raise PlatformError(msg)


@contextlib.contextmanager
def claimed(data_dir: Path) -> Iterator[None]:
    """Makes the data folder, and keeps a platform out of it while the block lasts.

    Raises:
        PlatformError: It is in use, or cannot be used.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(data_dir / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        msg = f"The data folder {data_dir} cannot be used: {error.strerror}."
        raise PlatformError(msg) from error
    with os.fdopen(descriptor, "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = f"The data folder {data_dir} is in use by another `agent-executor up`."
            raise PlatformError(msg) from error
        yield
