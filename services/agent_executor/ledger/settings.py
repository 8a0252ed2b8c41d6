"""What the ledger can be told, by environment variables with the prefix ``LEDGER_``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from agent_executor.ledger.prices.rate_cards import UnknownModelPolicy
from agent_executor.ledger.usage.checks import MAX_TTL_SECONDS
from agent_executor.ledger.usage.reserving import DEFAULT_TTL_SECONDS
from agent_executor.serving.settings import MEBIBYTE, ServiceSettings

# A batch of 100,000 rows with ids of usual lengths is 20 to 30 MiB.
DEFAULT_MAX_MESSAGE_BYTES: Final = 64 * MEBIBYTE


class LedgerSettings(ServiceSettings):
    """The ledger's settings."""

    model_config = SettingsConfigDict(env_prefix="LEDGER_")

    service: ClassVar[str] = "ledger"

    max_message_bytes: int = Field(
        default=DEFAULT_MAX_MESSAGE_BYTES,
        ge=4 * MEBIBYTE,
        le=256 * MEBIBYTE,
        description=(
            "The largest gRPC message that is received or sent, in bytes: as large as a batch of "
            "100,000 usage records."
        ),
    )
    unknown_model: UnknownModelPolicy = Field(
        default="refuse",
        description=(
            "What becomes of a call of a model without a price: `refuse`, or `record_at_zero`, "
            "which lets it pass every budget and raises an alarm."
        ),
    )
    reservation_ttl_seconds: int = Field(
        default=DEFAULT_TTL_SECONDS,
        ge=1,
        le=MAX_TTL_SECONDS,
        description=(
            "How long money is held for a model call whose end nobody reports, in seconds, unless "
            "the caller says otherwise."
        ),
    )

    @property
    def database_file(self) -> Path:
        """The database of reservations, entries and budgets."""
        return self.data_dir / "ledger" / "ledger.sqlite3"
