"""What an operator can set about the gateway, with units and defaults."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from agent_executor.serving.settings import MEBIBYTE, IssuerSettings, tls_files_of
from agent_executor.serving.tls_files import TlsFiles


class GatewaySettings(BaseSettings):
    """The gateway's settings, from variables that begin with `GATEWAY_`."""

    model_config = SettingsConfigDict(
        env_prefix="GATEWAY_",
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        env_ignore_empty=True,
    )

    http_host: str = Field(
        default="127.0.0.1", description="The address that REST and native gRPC are served on."
    )
    http_port: int = Field(
        default=8080,
        ge=1,
        le=65535,
        description="The port that REST and native gRPC are served on.",
    )
    admin_port: int = Field(
        default=9467,
        ge=1,
        le=65535,
        description="The port of Envoy's own pages and metrics, on 127.0.0.1 only.",
    )
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description=(
            "A port on GATEWAY_HTTP_HOST for /metrics and /ready alone, for collectors and probes on "
            "other machines; 0: none."
        ),
    )
    executor_addresses: tuple[str, ...] = Field(
        default=("127.0.0.1:50051",), description="Every executor, as host:port."
    )
    tool_runner_addresses: tuple[str, ...] = Field(
        default=("127.0.0.1:50052",), description="Every tool-runner, as host:port."
    )
    ledger_addresses: tuple[str, ...] = Field(
        default=("127.0.0.1:50053",), description="Every ledger, as host:port."
    )
    web_addresses: tuple[str, ...] = Field(
        default=("127.0.0.1:50055",), description="Every web process, as host:port."
    )
    tls_certificate_file: Path | None = Field(
        default=None,
        description=(
            "The certificate, as PEM, that callers are shown, followed by those between it and its "
            "authority; with it, REST and native gRPC are served over TLS alone. It is given "
            "together with its key, and both are read again when they are replaced."
        ),
    )
    tls_key_file: Path | None = Field(
        default=None, description="Its private key, as PEM without a password, mode 0600."
    )
    services_tls_certificate_file: Path | None = Field(
        default=None,
        description=(
            "The gateway's certificate, as PEM, which it shows to the services; with it, they are "
            "called over TLS alone. The three files are given together, and read again when they "
            "are replaced."
        ),
    )
    services_tls_key_file: Path | None = Field(
        default=None,
        description="The private key of that certificate, as PEM without a password, mode 0600.",
    )
    services_tls_ca_file: Path | None = Field(
        default=None,
        description="The certificates of the authorities, as PEM, that sign the services' own.",
    )
    executor_tls_name: str = Field(
        default="",
        description=(
            "What every executor's certificate must be for, if not the host of one of their "
            "addresses."
        ),
    )
    tool_runner_tls_name: str = Field(
        default="", description="The same of the tool-runners' certificates."
    )
    ledger_tls_name: str = Field(default="", description="The same of the ledgers' certificates.")
    otlp_endpoint: str = Field(
        default="",
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="Where spans go, over OTLP/gRPC, as http://host:port; empty for nowhere.",
    )
    trace_sample_ratio: float = Field(
        default=1.0,
        ge=0,
        le=1,
        validation_alias="OTEL_TRACES_SAMPLER_ARG",
        description=(
            "The share of the traces begun here that is recorded, 0 to 1; "
            "a caller's own decision is followed."
        ),
    )
    jwks_file: Path = Field(
        default=Path(".agent-executor/keys/jwks.json"),
        description="The public keys of the local issuer.",
    )
    auth_issuers: tuple[IssuerSettings, ...] = Field(
        default=(),
        description=(
            "Further issuers whose tokens are trusted, here and by every service that is not told "
            'otherwise, as a JSON list of {"issuer": ..., "organizations": [...]}; see '
            "deploy/docs/security.md."
        ),
    )
    auth_clock_skew_seconds: int = Field(
        default=30, ge=1, le=600, description="How far an issuer's clock may be off, in seconds."
    )
    access_log: str = Field(
        default="",
        description="A file for one JSON line per request, `stdout`, or empty for none.",
    )
    ca_file: Path = Field(
        default=Path("/etc/ssl/certs/ca-certificates.crt"),
        description="The certificates that `https` issuers and collectors are checked against.",
    )
    request_max_bytes: int = Field(
        default=MEBIBYTE + MEBIBYTE // 16,
        ge=1024,
        description="The largest body of a REST request, in bytes.",
    )
    response_max_bytes: int = Field(
        default=16 * MEBIBYTE,
        ge=1024,
        description="The largest body of a REST answer, in bytes.",
    )
    # As `grpc-timeout` has eight digits for milliseconds.
    request_timeout_seconds: float = Field(
        default=30,
        gt=0,
        le=86_400,
        description="The deadline of a call that sets none, in seconds.",
    )
    execution_timeout_seconds: float = Field(
        default=300,
        gt=0,
        le=86_400,
        description="The deadline of a call that executes an agent and sets none, in seconds.",
    )
    stream_idle_timeout_seconds: float = Field(
        default=330, gt=0, description="How long a stream may be silent, in seconds."
    )
    stream_heartbeat_seconds: int = Field(
        default=15,
        ge=1,
        le=3600,
        description=(
            "After how many seconds of silence a stream of server-sent events gets a comment, so "
            "that no proxy on its way takes it for dead."
        ),
    )
    request_arrival_timeout_seconds: float = Field(
        default=60,
        gt=0,
        description="How long a request, its body included, may take to arrive, in seconds.",
    )
    connection_idle_timeout_seconds: float = Field(
        default=120,
        gt=0,
        description="After how many seconds without a request a caller's connection is closed.",
    )
    max_connections: int = Field(
        default=15_000, ge=1, description="How many callers' connections are open at once."
    )
    max_concurrent_streams: int = Field(
        default=1_000,
        ge=1,
        le=2_147_483_647,
        description="How many requests of one HTTP/2 connection are under way at once.",
    )
    refuse_unknown_fields: bool = Field(
        default=True,
        description=(
            "Whether a REST request is refused whose body has a field that the route does not "
            "know; otherwise the field is ignored."
        ),
    )
    cors_origins: tuple[str, ...] = Field(
        default=(),
        description=(
            "The origins whose pages may call with a bearer token, as a JSON list such as "
            '["https://app.example"]; ["*"] for all, empty for none.'
        ),
    )
    compression_min_bytes: int = Field(
        default=4096,
        ge=30,
        description="From which size on a JSON answer is compressed for who accepts gzip, in bytes.",
    )
    rate_limit_per_caller: int = Field(
        default=2_000,
        ge=0,
        le=1_000_000,
        description=(
            "How many requests one user of an organization may make per second, at each gateway or "
            "at all (GATEWAY_RATE_LIMIT_SCOPE); 0: any number."
        ),
    )
    rate_limit_per_caller_burst: int = Field(
        default=4_000,
        ge=1,
        le=10_000_000,
        description="How many requests one user may make at once after a pause.",
    )
    rate_limit_per_organization: int = Field(
        default=10_000,
        ge=0,
        le=1_000_000,
        description=(
            "How many requests all users of an organization may make per second, at each gateway or "
            "at all; 0: any number."
        ),
    )
    rate_limit_per_organization_burst: int = Field(
        default=20_000,
        ge=1,
        le=10_000_000,
        description="How many requests an organization may make at once after a pause.",
    )
    rate_limit_scope: Literal["local", "shared"] = Field(
        default="local",
        description=(
            "Who counts these limits: with `local` each gateway for itself, at no cost; with `shared` "
            "the tool-runners, for all gateways together, exactly if the tool-runners share a Redis "
            "(REDIS_URL)."
        ),
    )
    rate_limit_timeout_seconds: float = Field(
        default=0.1,
        gt=0,
        le=10,
        description=(
            "How long a request waits to be counted where limits are shared, in seconds; then it "
            "passes with the gateway's own count alone."
        ),
    )
    rate_limit_max_callers: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description=(
            "Of how many callers and organizations it is remembered how much they called; those "
            "who called last are kept."
        ),
    )
    service_max_connections: int = Field(
        default=1_000, ge=1, description="How many connections to one service are open at once."
    )
    service_max_requests: int = Field(
        default=10_000,
        ge=1,
        description="How many short calls to one service are under way at once.",
    )
    service_max_executions: int = Field(
        default=10_000,
        ge=1,
        description="How many executions and streams of one service are under way at once.",
    )
    worker_threads: int = Field(
        default=2, ge=1, le=128, description="How many threads serve requests."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="error", description="The least severe level that Envoy logs."
    )
    drain_seconds: float = Field(
        default=10,
        ge=0,
        le=3600,
        description="How long requests under way may go on when the gateway stops, in seconds.",
    )
    heap_max_bytes: int = Field(
        default=1024 * MEBIBYTE,
        ge=64 * MEBIBYTE,
        description="The memory at whose 95 % new requests are refused, in bytes.",
    )

    @field_validator(
        "executor_addresses", "tool_runner_addresses", "ledger_addresses", "web_addresses"
    )
    @classmethod
    def _addresses_have_ports(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            split_address(address)
        return addresses

    @field_validator("cors_origins")
    @classmethod
    def _origins_have_no_path(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            parts = urlsplit(origin)
            if origin not in {"*", f"{parts.scheme}://{parts.netloc}"}:
                msg = f"{origin!r} is not an origin of the form https://host[:port]"
                raise ValueError(msg)
        return origins

    @field_validator("otlp_endpoint")
    @classmethod
    def _endpoint_is_a_url(cls, endpoint: str) -> str:
        if endpoint:
            split_endpoint(endpoint)
        return endpoint

    @model_validator(mode="after")
    def _tls_files_come_together(self) -> Self:
        _ = self.services_tls_files
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("the gateway's TLS certificate and its key go together")
        return self

    @property
    def services_tls_files(self) -> TlsFiles | None:
        """What the gateway proves itself with to the services; None for gRPC without TLS.

        Raises:
            ValueError: Only some of the files are given.
        """
        return tls_files_of(
            self.services_tls_certificate_file,
            self.services_tls_key_file,
            self.services_tls_ca_file,
        )


def split_address(address: str) -> tuple[str, int]:
    """Splits `host:port`, with an IPv6 host in brackets.

    Raises:
        ValueError: If it has no host or no port.
    """
    parts = urlsplit(f"//{address}")
    if not parts.hostname or parts.port is None:
        msg = f"{address!r} is not an address of the form host:port"
        raise ValueError(msg)
    return parts.hostname, parts.port


def split_endpoint(endpoint: str) -> SplitResult:
    """Splits an OTLP endpoint, `http://host:port` or `https://host:port`; a bare one is http.

    Raises:
        ValueError: If it has another scheme or no host.
    """
    parts = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = f"{endpoint!r} is not an endpoint of the form http://host:port"
        raise ValueError(msg)
    return parts


def is_ip_address(host: str) -> bool:
    """Whether a host is an address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
