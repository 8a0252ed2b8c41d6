"""What the executor can be told about API keys and sessions."""

from __future__ import annotations

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from agent_executor.executor.api_keys.api_keys import DEFAULT_SESSION_SECONDS


class ApiKeySettings(BaseSettings):
    """The part of the executor's settings that is about API keys and sessions."""

    model_config = SettingsConfigDict(env_prefix="EXECUTOR_")

    token_key_file: str = Field(
        default="",
        description=(
            "The private key, P-256 as PEM, that signs the tokens of a few seconds which API keys "
            "and sessions are exchanged for; its public half is in `keys/jwks.json`. Empty: "
            "`keys/token.pem` in the data folder. Without the file neither is accepted."
        ),
    )
    session_seconds: float = Field(
        default=DEFAULT_SESSION_SECONDS,
        ge=60,
        le=31_536_000,
        description=(
            "How long a browser that signed in stays so, in seconds; never longer than the "
            "credential that it signed in with."
        ),
    )
    session_origins: tuple[str, ...] = Field(
        default=(),
        description=(
            "Origins from which a browser's session is accepted beside the gateway's own, as a "
            'JSON list of origins such as "https://console.example.com".'
        ),
    )
    session_secure: bool = Field(
        default=False,
        description=(
            "Whether the session's cookie is always for https alone: for a gateway that sees plain "
            "HTTP, since TLS ends before it. A request that comes to the gateway by https gets such "
            "a cookie in any case."
        ),
    )

    @field_validator("session_origins")
    @classmethod
    def _origins_are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            scheme, _, host = origin.partition("://")
            if scheme not in {"http", "https"} or not host or "/" in host:
                raise ValueError("an origin is of the form https://host or https://host:port")
        return origins
