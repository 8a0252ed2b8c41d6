"""What the tool-runner can be told, by environment variables with the prefix ``TOOL_RUNNER_``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from agent_executor.errors import InvalidArgumentError
from agent_executor.serving.redis_settings import RedisSettings
from agent_executor.serving.settings import ServiceSettings
from agent_executor.tool_runner.arguments import DEFAULT_ARGUMENTS_BYTES_MAX
from agent_executor.tool_runner.calls.dispatch import (
    DEFAULT_BLOCKING_CALLS_MAX,
    DEFAULT_RESULT_BYTES_MAX,
)
from agent_executor.tool_runner.calls.tool_calls import DEFAULT_CONCURRENT_CALLS_MAX
from agent_executor.tool_runner.calls.tool_execution import DEFAULT_TIMEOUT_SECONDS
from agent_executor.tool_runner.egress_settings import EgressSettings
from agent_executor.tool_runner.messaging_settings import MessagingSettings
from agent_executor.tool_runner.policy.rate_limit import CALLS_MAX, OnUnavailable
from agent_executor.tool_runner.policy.screening import ScreeningPolicy
from agent_executor.tool_runner.policy.screening_rules import RULES
from agent_executor.tool_runner.sandbox_settings import SandboxSettings
from agent_executor.tool_runner.schema import DATABASE_FILE


class ToolRunnerSettings(
    MessagingSettings, EgressSettings, SandboxSettings, RedisSettings, ServiceSettings
):
    """The tool-runner's settings."""

    model_config = SettingsConfigDict(env_prefix="TOOL_RUNNER_")

    service: ClassVar[str] = "tool-runner"

    call_timeout_seconds: float = Field(
        default=DEFAULT_TIMEOUT_SECONDS,
        gt=0,
        description="How long a tool may run, in seconds; a caller may ask for less.",
    )
    max_concurrent_calls: int = Field(
        default=DEFAULT_CONCURRENT_CALLS_MAX,
        ge=1,
        description="How many tool calls may run at the same time; beyond it they are refused.",
    )
    max_blocking_calls: int = Field(
        default=DEFAULT_BLOCKING_CALLS_MAX,
        ge=1,
        description="How many of them may run in threads at the same time; beyond it they wait.",
    )
    max_arguments_bytes: int = Field(
        default=DEFAULT_ARGUMENTS_BYTES_MAX,
        ge=1,
        le=DEFAULT_ARGUMENTS_BYTES_MAX,
        description="The largest arguments of a call, in bytes of JSON text.",
    )
    max_result_bytes: int = Field(
        default=DEFAULT_RESULT_BYTES_MAX,
        ge=1,
        le=DEFAULT_RESULT_BYTES_MAX,
        description="The largest result of a call, in bytes of JSON text.",
    )
    user_calls_per_minute: int = Field(
        default=0,
        ge=0,
        le=CALLS_MAX,
        description="How many calls of one tool each user may make per minute; 0 for no limit.",
    )
    organization_calls_per_minute: int = Field(
        default=0,
        ge=0,
        le=CALLS_MAX,
        description=(
            "How many calls of one tool each organization may make per minute; 0 for no limit."
        ),
    )
    tool_calls_per_minute: int = Field(
        default=0,
        ge=0,
        le=CALLS_MAX,
        description="How many calls of one tool may be made per minute; 0 for no limit.",
    )
    on_redis_unavailable: OnUnavailable = Field(
        default="share",
        description=(
            "What becomes of calls that have a rate limit while Redis is away: with `share` each "
            "tool-runner counts for itself, against the limit divided by how many there are; with "
            "`refuse` none is made."
        ),
    )
    screening: dict[str, Any] = Field(
        default={},
        description=(
            "What happens to arguments that look like an attack, as a JSON object: by tool, or "
            '"*" for all tools that are not named, either "block", "report" or "off", or that by '
            'rule, as in {"email": "report", "search": {"sql_injection": "off"}}. The rules are '
            f"{', '.join(RULES)}."
        ),
    )

    @field_validator("screening")
    @classmethod
    def _screening_is_a_policy(cls, overrides: dict[str, Any]) -> dict[str, Any]:
        try:
            ScreeningPolicy(overrides)
        except InvalidArgumentError as error:
            raise ValueError(error.message.removesuffix(".")) from None
        return overrides

    encryption_key_file: str = Field(
        default="",
        description=(
            "The file with the key of the credentials' secrets, made at the first start; replicas "
            "on one database need the same. Empty for `tool_runner/encryption.key` in the data "
            "folder."
        ),
    )

    @property
    def encryption_key_path(self) -> Path:
        """The key by which the secrets of credentials are encrypted."""
        if self.encryption_key_file:
            return Path(self.encryption_key_file)
        return self.data_dir / "tool_runner" / "encryption.key"

    @property
    def database_file(self) -> Path:
        """The SQLite file, used if there is no PostgreSQL database."""
        return self.data_dir / DATABASE_FILE
