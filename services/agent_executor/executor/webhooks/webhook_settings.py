"""How ends of runs are told, by environment variables."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from agent_executor.egress.addresses import Network
from agent_executor.egress.policy import EgressPolicy
from agent_executor.executor.webhooks.deliveries import (
    DEFAULT_MAX_CONCURRENT,
    DEFAULT_MAX_CONCURRENT_PER_RECEIVER,
    DEFAULT_SWEEP_SECONDS,
    DEFAULT_TIMEOUT_SECONDS,
    DeliveryLimits,
)
from agent_executor.executor.webhooks.retries import (
    DEFAULT_GIVE_UP_SECONDS,
    DEFAULT_MAX_RETRY_SECONDS,
    DEFAULT_RETRY_SECONDS,
    RetryPolicy,
)


class WebhookSettings(BaseSettings):
    """The part of the executor's settings that is about webhooks."""

    model_config = SettingsConfigDict(env_prefix="EXECUTOR_")

    webhook_allowed_cidrs: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(),
        description=(
            "Internal networks in which receivers of webhooks may be, over plain http and on every "
            'port too, as a JSON list such as ["10.1.0.0/16"]. Any other receiver has a public '
            "address and speaks https on port 443."
        ),
    )
    webhook_timeout_seconds: float = Field(
        default=DEFAULT_TIMEOUT_SECONDS,
        gt=0,
        le=60,
        description="How long a receiver may take for one attempt, in seconds.",
    )
    webhook_retry_seconds: float = Field(
        default=DEFAULT_RETRY_SECONDS,
        gt=0,
        description=(
            "How long after an attempt that failed the second one is made, in seconds, more or less "
            "by a fifth; each further wait is four times the one before."
        ),
    )
    webhook_max_retry_seconds: float = Field(
        default=DEFAULT_MAX_RETRY_SECONDS,
        gt=0,
        description="How long such a wait is at most, in seconds.",
    )
    webhook_give_up_seconds: float = Field(
        default=DEFAULT_GIVE_UP_SECONDS,
        gt=0,
        description="How long after a run's end the last attempt is made, in seconds.",
    )
    webhook_max_concurrent: int = Field(
        default=DEFAULT_MAX_CONCURRENT,
        ge=1,
        description="How many attempts this executor makes at the same time.",
    )
    webhook_max_concurrent_per_receiver: int = Field(
        default=DEFAULT_MAX_CONCURRENT_PER_RECEIVER,
        ge=1,
        description="How many of these may go to one host and port.",
    )
    webhook_sweep_seconds: float = Field(
        default=DEFAULT_SWEEP_SECONDS,
        ge=1,
        description=(
            "How often an executor looks for webhooks that another one has left, in seconds. It tells "
            "the ends of its own runs at once."
        ),
    )

    def webhook_policy(self, denied: tuple[Network, ...]) -> EgressPolicy:
        """Returns where receivers may be, which is never in the ``denied`` networks."""
        return EgressPolicy(
            allowed_domains=None,
            allowed_networks=self.webhook_allowed_cidrs,
            denied_networks=denied,
        )

    def webhook_retries(self) -> RetryPolicy:
        """Returns how often and how long it is tried."""
        return RetryPolicy(
            retry_seconds=self.webhook_retry_seconds,
            max_retry_seconds=self.webhook_max_retry_seconds,
            give_up_seconds=self.webhook_give_up_seconds,
        )

    def webhook_limits(self) -> DeliveryLimits:
        """Returns how much is done at once."""
        return DeliveryLimits(
            timeout_seconds=self.webhook_timeout_seconds,
            max_concurrent=self.webhook_max_concurrent,
            max_concurrent_per_receiver=self.webhook_max_concurrent_per_receiver,
            sweep_seconds=self.webhook_sweep_seconds,
        )
