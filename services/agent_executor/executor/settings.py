"""What the executor can be told, by environment variables with the prefix ``EXECUTOR_``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from agent_executor.executor.api_keys.key_settings import ApiKeySettings
from agent_executor.executor.driving.engine import (
    DEFAULT_MAX_PARALLEL_TOOL_CALLS,
    DEFAULT_MAX_PAUSE_SECONDS,
    DEFAULT_PAUSE_RETRY_SECONDS,
    DEFAULT_RUN_TIMEOUT_SECONDS,
    DEFAULT_TOOL_TIMEOUT_SECONDS,
)
from agent_executor.executor.driving.leases import DEFAULT_LEASE_SECONDS, DEFAULT_RENEWAL_SECONDS
from agent_executor.executor.driving.scheduler import DEFAULT_MAX_ACTIVE_RUNS
from agent_executor.executor.model_calls.late_answers import DEFAULT_LATE_ANSWER_SECONDS
from agent_executor.executor.model_calls.model_call import (
    DEFAULT_LEDGER_PATIENCE_SECONDS,
    DEFAULT_MAX_MODEL_TRIES,
    DEFAULT_MODEL_TIMEOUT_SECONDS,
    MODEL_TIMEOUT_SECONDS_MAX,
)
from agent_executor.executor.model_settings import ModelSettings
from agent_executor.executor.monitor.monitor import DEFAULT_MAX_WATCHERS
from agent_executor.executor.provider_batches.collector import (
    DEFAULT_CREATE_TIMEOUT_SECONDS,
    DEFAULT_POLL_SECONDS,
    DEFAULT_WINDOW_SECONDS,
    BatchTimes,
)
from agent_executor.executor.runs.admission import (
    DEFAULT_MAX_WAITING_RUNS,
    DEFAULT_MAX_WAITING_RUNS_PER_ORGANIZATION,
)
from agent_executor.executor.runs.idempotency import DEFAULT_TTL_SECONDS
from agent_executor.executor.schema import DATABASE_FILE
from agent_executor.executor.webhooks.webhook_settings import WebhookSettings
from agent_executor.serving.redis_settings import RedisSettings
from agent_executor.serving.settings import ServiceSettings

_ADDRESSES: Final = r"^\s*[^,\s]+:\d+\s*(,\s*[^,\s]+:\d+\s*)*$"


class ExecutorSettings(
    ModelSettings, WebhookSettings, ApiKeySettings, RedisSettings, ServiceSettings
):
    """The executor's settings."""

    model_config = SettingsConfigDict(env_prefix="EXECUTOR_")

    service: ClassVar[str] = "executor"

    # It issues grants, and nobody issues one for it.
    accepts_grants = False

    tool_runner_address: str = Field(
        default="127.0.0.1:50052",
        pattern=_ADDRESSES,
        description=(
            "Where the tool-runner is, as host:port, or its replicas are, with commas between; a "
            "host's name may stand for several, and is looked up again every 2 seconds."
        ),
    )
    ledger_address: str = Field(
        default="127.0.0.1:50053",
        pattern=_ADDRESSES,
        description="Where the ledger is, or its replicas are, in the same form.",
    )
    tool_runner_tls_name: str = Field(
        default="",
        description=(
            "What the tool-runner's certificate must be for, if not the host of its address; only "
            "with `EXECUTOR_TLS_CERTIFICATE_FILE`."
        ),
    )
    ledger_tls_name: str = Field(
        default="",
        description="The same of the ledger's certificate.",
    )
    worker: str = Field(
        default="",
        max_length=128,
        pattern=r"^[^/]*$",
        description=(
            "This executor's name among those that share a journal; runs that a process of this "
            "name has left are taken over at its next start. Empty: its host and gRPC port."
        ),
    )
    run_timeout_seconds: float = Field(
        default=DEFAULT_RUN_TIMEOUT_SECONDS,
        gt=0,
        description=(
            "How long a run may take from its start to its end, in seconds, if neither it nor its "
            "agent says; the time that it waits for its turn or is paused does not count."
        ),
    )
    model_timeout_seconds: float = Field(
        default=DEFAULT_MODEL_TIMEOUT_SECONDS,
        gt=0,
        le=MODEL_TIMEOUT_SECONDS_MAX,
        description="How long one model call may take, in seconds.",
    )
    max_model_tries: int = Field(
        default=DEFAULT_MAX_MODEL_TRIES,
        ge=1,
        description="How often one model turn is tried when its provider is busy or failing.",
    )
    batch_window_seconds: float = Field(
        default=DEFAULT_WINDOW_SECONDS,
        ge=0,
        le=3600,
        description=(
            "How long model calls of runs with the processing `batch` are collected before they are "
            "given to their provider as one batch, in seconds; 1,000 calls are one at once."
        ),
    )
    batch_poll_seconds: float = Field(
        default=DEFAULT_POLL_SECONDS,
        gt=0,
        description="How often a provider is asked whether a batch has ended, in seconds.",
    )
    batch_create_timeout_seconds: float = Field(
        default=DEFAULT_CREATE_TIMEOUT_SECONDS,
        gt=0,
        description=(
            "How long the making of a batch may take, in seconds. One of which nobody heard that it "
            "was made is looked for in the provider's list 5 seconds after that."
        ),
    )
    late_answer_seconds: float = Field(
        default=DEFAULT_LATE_ANSWER_SECONDS,
        ge=0,
        le=600,
        description=(
            "How long a model call that missed its deadline is waited for, not by its run but to "
            "correct the estimate of its cost, in seconds. 0: it is broken off at its deadline."
        ),
    )
    on_ledger_unavailable: Literal["refuse", "proceed"] = Field(
        default="refuse",
        description=(
            "What becomes of a model call while the ledger is away for longer than "
            "`EXECUTOR_LEDGER_PATIENCE_SECONDS`: `refuse` fails its run; `proceed` makes it without "
            "holding money for it, so that budgets can be overshot, and settles it once the ledger "
            "is back."
        ),
    )
    storage_patience_seconds: float = Field(
        default=60.0,
        ge=0,
        description=(
            "How long a run that is under way waits for a database that fails, for example while a "
            "standby takes over, in seconds, before it ends as `failed`. New runs are refused at "
            "once."
        ),
    )
    ledger_patience_seconds: float = Field(
        default=DEFAULT_LEDGER_PATIENCE_SECONDS,
        gt=0,
        description=(
            "How long a model call waits for a ledger that is away, for example while it starts "
            "again, in seconds."
        ),
    )
    pause_retry_seconds: float = Field(
        default=DEFAULT_PAUSE_RETRY_SECONDS,
        gt=0,
        description=(
            "How often a run that is paused for want of money tries again, in seconds. It also does "
            "when the budget resets, if that is sooner."
        ),
    )
    max_pause_seconds: float = Field(
        default=DEFAULT_MAX_PAUSE_SECONDS,
        gt=0,
        description=(
            "After how long a paused run ends as `budget_exceeded`, in seconds; from the reset of the "
            "budget, if the budget then covers the call."
        ),
    )
    tool_timeout_seconds: float = Field(
        default=DEFAULT_TOOL_TIMEOUT_SECONDS,
        gt=0,
        description="How long one tool call may take, in seconds.",
    )
    max_parallel_tool_calls: int = Field(
        default=DEFAULT_MAX_PARALLEL_TOOL_CALLS,
        ge=1,
        description="How many tool calls of one run go on at the same time.",
    )
    max_active_runs: int = Field(
        default=DEFAULT_MAX_ACTIVE_RUNS,
        ge=1,
        description=(
            "How many runs this executor drives at the same time; more wait for their turn in the "
            "journal, and hold no memory."
        ),
    )
    max_waiting_runs: int = Field(
        default=DEFAULT_MAX_WAITING_RUNS,
        ge=0,
        description=(
            "How many runs may wait for their turn, of all executors that share the journal; beyond "
            "it new ones are refused. One executor never passes it; several may, by what the others "
            "take in within a second."
        ),
    )
    max_waiting_runs_per_organization: int = Field(
        default=DEFAULT_MAX_WAITING_RUNS_PER_ORGANIZATION,
        ge=0,
        description=(
            "How many of these may be one organization's, so that none keeps the others out; as exact."
        ),
    )
    max_watchers_per_organization: int = Field(
        default=DEFAULT_MAX_WATCHERS,
        ge=1,
        description="How many of one organization watch its runs at this executor at once.",
    )
    idempotency_key_ttl_seconds: float = Field(
        default=DEFAULT_TTL_SECONDS,
        gt=0,
        description=(
            "How long the repeat of a request under the same idempotency key is known as such, in "
            "seconds; up to an hour longer."
        ),
    )
    lease_seconds: float = Field(
        default=DEFAULT_LEASE_SECONDS,
        gt=0,
        description="After how long without a sign of life runs are taken over, in seconds.",
    )
    lease_renewal_seconds: float = Field(
        default=DEFAULT_RENEWAL_SECONDS,
        gt=0,
        description="How often a sign of life is given, in seconds.",
    )

    @model_validator(mode="after")
    def _lease_outlives_its_renewal(self) -> Self:
        if self.lease_renewal_seconds >= self.lease_seconds:
            raise ValueError("lease_renewal_seconds must be less than lease_seconds")
        return self

    def batch_times(self) -> BatchTimes:
        """Returns how long what takes with batches of model calls."""
        return BatchTimes(
            window=self.batch_window_seconds,
            poll=self.batch_poll_seconds,
            create_timeout=self.batch_create_timeout_seconds,
        )

    @property
    def token_signing_key_file(self) -> Path:
        """The key that signs the tokens which API keys are exchanged for."""
        given = self.token_key_file
        return Path(given) if given else self.data_dir / "keys" / "token.pem"

    @property
    def journal_file(self) -> Path:
        """The database of agents, runs and events."""
        return self.data_dir / DATABASE_FILE

    @property
    def encryption_key_file(self) -> Path:
        """The key that encrypts agents' API keys and webhooks' secrets."""
        return self.data_dir / "executor" / "encryption.key"
