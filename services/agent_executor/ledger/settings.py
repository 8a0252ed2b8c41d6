"""What the ledger can be told, by environment variables with the prefix ``LEDGER_``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from agent_executor.ledger.usage.reservations import DEFAULT_TTL_SECONDS, MAX_TTL_SECONDS
from agent_executor.serving.settings import ServiceSettings


class LedgerSettings(ServiceSettings):
    """The ledger's settings."""

    model_config = SettingsConfigDict(env_prefix="LEDGER_")

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
    def ledger_file(self) -> Path:
        """The database of reservations, entries and budgets."""
        return self.data_dir / "ledger" / "ledger.sqlite3"
