"""What the web process can be told, by environment variables with the prefix ``WEB_``."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from agent_executor.serving.settings import MEBIBYTE, Port, ProcessSettings


class WebSettings(ProcessSettings):
    """The web process's settings."""

    model_config = SettingsConfigDict(env_prefix="WEB_")

    http_port: Port = Field(
        default=0, description="The port that HTTP is served on; 0 for any that is free."
    )
    executor_address: str = Field(
        default="127.0.0.1:50051",
        description=(
            "Where the executor is, as host:port, or where several are, as "
            "ipv4:address:port,address:port; calls go to each in turn."
        ),
    )
    tool_runner_address: str = Field(
        default="127.0.0.1:50052", description="Where the tool-runner is, as host:port."
    )
    ledger_address: str = Field(
        default="127.0.0.1:50053", description="Where the ledger is, as host:port."
    )
    executor_tls_name: str = Field(
        default="",
        description=(
            "What an executor's certificate must be for, if not the host of its address; only with "
            "`WEB_TLS_CERTIFICATE_FILE`. It is needed where there are several addresses."
        ),
    )
    tool_runner_tls_name: str = Field(
        default="", description="The same of the tool-runner's certificate."
    )
    ledger_tls_name: str = Field(default="", description="The same of the ledger's certificate.")
    request_max_bytes: int = Field(
        default=MEBIBYTE + MEBIBYTE // 16,
        ge=1024,
        description="The largest body of a request, in bytes.",
    )
    request_timeout_seconds: float = Field(
        default=30,
        gt=0,
        description="The deadline of a call to a service that executes no agent, in seconds.",
    )
    execution_timeout_seconds: float = Field(
        default=300,
        gt=0,
        description="The deadline of a call to a service that executes an agent, in seconds.",
    )
    max_message_bytes: int = Field(
        default=8 * MEBIBYTE,
        ge=4 * MEBIBYTE,
        le=256 * MEBIBYTE,
        description="The largest gRPC message that is received from a service, in bytes.",
    )
    public_url: str = Field(
        default="",
        pattern="^(https?://[^/?#]+)?$",
        description=(
            "Where callers reach the gateway, as https://example.com, for the addresses in agent "
            "cards. Empty: where the caller of the card has reached it."
        ),
    )
    allowed_origins: tuple[str, ...] = Field(
        default=(),
        description=(
            "Origins whose pages may call /mcp and /a2a beside those of this machine, as a JSON "
            'list of "https://example.com".'
        ),
    )
    max_monitors: int = Field(
        default=1000,
        ge=1,
        description="How many WebSockets of the monitor are open at once.",
    )
    max_agent_requests: int = Field(
        default=1000,
        ge=1,
        description="How many requests to /mcp, and to /a2a, are served at once; streams count.",
    )
