"""Which entries are asked about, and what an answer about them looks like."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from agent_executor.ledger.money import NanoUsd

Dimension: TypeAlias = Literal[
    "user", "agent", "model", "tool", "run", "kind", "hour", "day", "month"
]
"""What entries are grouped by; hours, days and months are those of a time zone."""

SummaryOrder: TypeAlias = Literal["cost", "time"]
"""Highest cost first, or earliest first; ties by the dimensions in their order."""


class EntryFilter(msgspec.Struct, frozen=True):
    """Which entries are meant. What is set must all match.

    Attributes:
        start_ms: Occurred at or after it, in milliseconds since 1970-01-01 UTC; None: any time.
        end_ms: Occurred before it; None: any time.
    """

    run_id: str = ""
    agent_id: str = ""
    user_id: str = ""
    model: str = ""
    tool_name: str = ""
    kind: str = ""
    start_ms: int | None = None
    end_ms: int | None = None


class UsageSummary(msgspec.Struct, frozen=True):
    """Sums over a group of entries. A dimension that is not grouped by is empty.

    Attributes:
        hour: YYYY-MM-DDTHH.
        day: YYYY-MM-DD.
        month: YYYY-MM.
    """

    entry_count: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens_5m: int = 0
    cache_creation_input_tokens_1h: int = 0
    cost_nano_usd: NanoUsd = NanoUsd(0)
    user: str = ""
    agent: str = ""
    model: str = ""
    tool: str = ""
    run: str = ""
    kind: str = ""
    hour: str = ""
    day: str = ""
    month: str = ""

    @property
    def tokens_used(self) -> int:
        """The sum of all token classes."""
        return (
            self.input_tokens
            + self.output_tokens
            + self.cache_read_input_tokens
            + self.cache_creation_input_tokens_5m
            + self.cache_creation_input_tokens_1h
        )


class SummaryRows(msgspec.Struct, frozen=True):
    """Groups in their order, and the sum over all groups, not over these rows alone."""

    rows: tuple[UsageSummary, ...]
    total: UsageSummary
