"""The settings that every service has, each from one environment variable."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from agent_executor.serving.database_url import SCHEME, database_url_of
from agent_executor.serving.metrics import DEFAULT_MAX_NAMES
from agent_executor.serving.startup import StartupError
from agent_executor.serving.tls_files import TlsFiles

LOCAL_ISSUER: Final = "agent-executor"
"""The ``iss`` of the tokens that ``agent-executor token`` prints."""

TOKEN_AUDIENCE: Final = "agent-executor"
"""The ``aud`` of every token that is meant for this platform."""

MEBIBYTE: Final = 1024 * 1024

Port = Annotated[int, Field(ge=0, le=65535)]


class IssuerSettings(BaseModel):
    """A further issuer whose tokens are trusted, for some organizations.

    Its keys are in a file or behind a URI; without either, the issuer is a URL whose
    ``/.well-known/openid-configuration`` says where they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(min_length=1, description="The `iss` of its tokens.")
    jwks_file: Path | None = Field(
        default=None, description="A file with its public keys, as a JSON Web Key Set."
    )
    jwks_uri: str = Field(
        default="",
        pattern="^(https?://.+)?$",
        description="Where its public keys are fetched from, `https` or `http`.",
    )
    audience: str = Field(
        default=TOKEN_AUDIENCE, min_length=1, description="What the `aud` of its tokens must name."
    )
    organizations: tuple[str, ...] = Field(
        default=(),
        description='The organizations that it may speak for; `"*"` is any.',
    )
    organization: str = Field(
        default="", description="The organization of all its tokens, in place of a claim."
    )
    organization_claim: str = Field(
        default="org",
        min_length=1,
        description="The claim with the organization; dots lead into objects.",
    )
    user_claim: str = Field(default="sub", min_length=1, description="The claim with the user.")
    permissions_claim: str = Field(
        default="permissions",
        description="The claim with permissions, a list or words; empty if they do not count.",
    )
    roles_claim: str = Field(
        default="roles", min_length=1, description="The claim with roles, a list or words."
    )
    roles: dict[str, tuple[str, ...]] = Field(
        default={}, description="The permissions of each role; other roles have none."
    )

    @property
    def is_discovered(self) -> bool:
        """Whether the issuer itself is asked where its keys are."""
        return self.jwks_file is None and not self.jwks_uri

    @model_validator(mode="after")
    def _can_be_trusted(self) -> IssuerSettings:
        if self.jwks_file is not None and self.jwks_uri:
            raise ValueError("an issuer has either jwks_file or jwks_uri")
        if self.is_discovered and not self.issuer.startswith(("https://", "http://")):
            raise ValueError("an issuer that is no URL needs jwks_file or jwks_uri")
        if self.issuer == LOCAL_ISSUER:
            raise ValueError(f"the issuer {LOCAL_ISSUER!r} is the local one")
        if bool(self.organization) == bool(self.organizations):
            raise ValueError(
                'an issuer needs either organization, or organizations: ["*"] lets it speak for any'
            )
        return self


class ProcessSettings(BaseSettings):
    """What every Python process of the platform can be told; its own settings extend it.

    A field's variable is the prefix and the field's name in upper case; the variables that all
    processes share have no prefix and are named in their field.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True
    )

    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="The address that calls and the metrics are served on.",
    )
    metrics_host: str = Field(
        default="",
        description=(
            "The address that metrics are served on, without TLS, if it is another one than that "
            "of calls."
        ),
    )
    metrics_port: Port = Field(
        default=0, description="The port that metrics are served on; 0 for any that is free."
    )
    tls_certificate_file: Path | None = Field(
        default=None,
        description=(
            "The process's certificate, as PEM, which it shows to the services that it calls and to "
            "callers; with it, gRPC is served over TLS alone, and only to callers with a "
            "certificate of `*_TLS_CA_FILE`. The three files are given together, and read again "
            "when they change."
        ),
    )
    tls_key_file: Path | None = Field(
        default=None,
        description="The private key of that certificate, as PEM without a password, mode 0600.",
    )
    tls_ca_file: Path | None = Field(
        default=None,
        description=(
            "The certificates of the authorities, as PEM, that sign the certificates of the "
            "platform's own processes and of nobody else."
        ),
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe level that is logged."
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="`json`, one object per line, or `console`, for people."
    )
    debug: bool = Field(
        default=False,
        validation_alias="DEBUG",
        description="Log everything from level `debug` on, in the console format.",
    )
    drain_seconds: float = Field(
        default=0.5,
        ge=0,
        le=600,
        description=(
            "How long calls are still accepted after the process was told to stop, in seconds, so "
            "that load balancers see it leave."
        ),
    )
    shutdown_grace_seconds: float = Field(
        default=10,
        ge=0,
        le=3600,
        description="How long calls in flight may go on when the process stops, in seconds.",
    )
    otel_exporter_otlp_endpoint: str = Field(
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
    span_export_delay_ms: int = Field(
        default=1_000,
        ge=1,
        validation_alias="OTEL_BSP_SCHEDULE_DELAY",
        description="How long spans wait to be exported together, in milliseconds.",
    )
    span_queue_size: int = Field(
        default=8_192,
        ge=1,
        validation_alias="OTEL_BSP_MAX_QUEUE_SIZE",
        description="How many spans may wait; those beyond it are dropped.",
    )
    metrics_max_names: int = Field(
        default=DEFAULT_MAX_NAMES,
        ge=0,
        le=10_000,
        validation_alias="METRICS_MAX_NAMES",
        description=(
            "How many agents, models and tools each have series of their own in a process's metrics; "
            "those that come later count together as `other`."
        ),
    )
    metrics_sample_seconds: float = Field(
        default=5.0,
        ge=0.1,
        le=300,
        validation_alias="METRICS_SAMPLE_SECONDS",
        description=(
            "How often metrics that tell of a database or a queue are looked up, in seconds."
        ),
    )

    message_content: Literal["no_content", "false", "span_only", "true"] = Field(
        default="no_content",
        validation_alias="OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
        description=(
            "Whether spans show prompts, answers, arguments and results, cut and without what "
            "looks like a credential: `no_content` or `span_only`; `false` and `true` mean the same."
        ),
    )

    @field_validator("message_content", mode="before")
    @classmethod
    def _in_lower_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @property
    def shows_content(self) -> bool:
        """Whether spans show prompts, answers, arguments and results."""
        return self.message_content in {"span_only", "true"}

    @classmethod
    def load(cls) -> Self:
        """Reads the settings from the environment.

        Raises:
            StartupError: A variable's value cannot be; the message names the variables, not the
                values.
        """
        try:
            return cls()
        except ValidationError as error:
            wrong = [
                # Only the files of TLS are looked at together, and their rule has no field.
                f"{cls._variable(str((*each['loc'], 'tls_certificate_file')[0]))}: {each['msg']}"
                for each in error.errors(include_input=False, include_url=False)
            ]
            raise StartupError(f"The settings are wrong: {'; '.join(wrong)}.") from None
        except SettingsError as error:
            # Its text is the only place that names the field.
            field = re.search(r'field "(\w+)"', str(error))
            variable = cls._variable(field[1]) if field else "a variable"
            raise StartupError(f"The settings are wrong: {variable} is not JSON.") from None

    @classmethod
    def _variable(cls, name: str) -> str:
        """Returns the variable of a field; one that has no prefix goes by its own name already."""
        if name not in cls.model_fields:
            return name
        return f"{cls.model_config.get('env_prefix', '')}{name}".upper()

    @model_validator(mode="after")
    def _tls_files_come_together(self) -> Self:
        _ = self.tls_files
        return self

    @property
    def tls_files(self) -> TlsFiles | None:
        """What the process proves itself with to its peers; None for gRPC without TLS.

        Raises:
            ValueError: Only some of the files are given.
        """
        return tls_files_of(self.tls_certificate_file, self.tls_key_file, self.tls_ca_file)


class ServiceSettings(ProcessSettings):
    """What every service can be told, beside what every process can."""

    service: ClassVar[str]
    """The service's name: "executor", "tool-runner" or "ledger"."""

    accepts_grants: ClassVar[bool] = True
    """Whether other services may act for a caller here, by a grant."""

    data_dir: Path = Field(
        default=Path(".agent-executor"),
        description="The platform's data folder, in which each service has its own.",
    )
    grpc_port: Port = Field(
        default=0, description="The port that gRPC is served on; 0 for any that is free."
    )
    auth_issuers: tuple[IssuerSettings, ...] = Field(
        default=(),
        description=(
            "Further issuers whose tokens are trusted, as a JSON list of "
            '{"issuer": ..., "organizations": [...]}; see deploy/docs/security.md.'
        ),
    )
    auth_clock_skew_seconds: float = Field(
        default=30, ge=0, le=600, description="How far an issuer's clock may be off, in seconds."
    )
    max_message_bytes: int = Field(
        default=8 * MEBIBYTE,
        ge=4 * MEBIBYTE,
        le=256 * MEBIBYTE,
        description="The largest gRPC message that is received or sent, in bytes.",
    )
    database_url: SecretStr = Field(
        default=SecretStr(""),
        description=(
            "The PostgreSQL database of this service alone, as "
            "postgresql://user:password@host:port/database; its replicas share it. Default (empty): "
            "what `DATABASE_URL` says."
        ),
    )
    shared_database_url: SecretStr = Field(
        default=SecretStr(""),
        validation_alias="DATABASE_URL",
        description=(
            "The PostgreSQL database of all three services and their replicas, each of which has a "
            "schema in it: executor, tool_runner and ledger. Default (empty): SQLite files in the "
            "data folder."
        ),
    )
    reflection: bool = Field(
        default=True, description="Whether gRPC reflection tells clients the contracts."
    )

    @field_validator("database_url", "shared_database_url")
    @classmethod
    def _names_a_postgresql_database(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not value.get_secret_value().startswith(SCHEME):
            raise ValueError(f"it must begin with {SCHEME}")
        return value

    @property
    def postgres_url(self) -> str:
        """The service's PostgreSQL database, with its password; empty for a SQLite file."""
        return database_url_of(
            self.service,
            self.database_url.get_secret_value(),
            self.shared_database_url.get_secret_value(),
        )

    @property
    def service_key_file(self) -> Path:
        """The key by which the services sign grants to each other."""
        return self.data_dir / "keys" / "service.key"

    @property
    def jwks_file(self) -> Path:
        """The public keys of the local issuer."""
        return self.data_dir / "keys" / "jwks.json"


def tls_files_of(
    certificate: Path | None, key: Path | None, authorities: Path | None
) -> TlsFiles | None:
    """Returns the files of TLS, which are all given or none.

    Raises:
        ValueError: Only some of them are.
    """
    if certificate is not None and key is not None and authorities is not None:
        return TlsFiles(certificate, key, authorities)
    if certificate is None and key is None and authorities is None:
        return None
    raise ValueError("the TLS certificate, its key and the authority's certificate go together")
