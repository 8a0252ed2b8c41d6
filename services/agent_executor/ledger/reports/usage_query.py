"""Which entries are asked about, and what an answer about them looks like."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.money import NanoUsd

Dimension: TypeAlias = Literal[
    "user", "agent", "model", "tool", "run", "kind", "hour", "day", "month"
]
"""What entries are grouped by; hours, days and months are those of a time zone."""

TimeBucket: TypeAlias = Literal["hour", "day", "month"]

TIME_BUCKETS: Final[tuple[TimeBucket, ...]] = ("hour", "day", "month")

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

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """What it looks at besides the time."""
        values: dict[Dimension, str] = {
            "run": self.run_id,
            "agent": self.agent_id,
            "user": self.user_id,
            "model": self.model,
            "tool": self.tool_name,
            "kind": self.kind,
        }
        return tuple(dimension for dimension, value in values.items() if value)


EVERY_ENTRY: Final = EntryFilter()


class EntryPlace(msgspec.Struct, frozen=True, order=True):
    """Where an entry is in the order of occurrence; of those of one instant the older is first.

    Attributes:
        occurred_at_ms: When it occurred.
        position: Its position: the order of writing in an organization.
    """

    occurred_at_ms: int
    position: int


class PlacedEntry(msgspec.Struct, frozen=True):
    """An entry and where it is."""

    position: int
    entry: UsageEntry

    @property
    def place(self) -> EntryPlace:
        """Where it is in the order of occurrence."""
        return EntryPlace(self.entry.occurred_at_ms, self.position)


class SummaryQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What sums are asked for.

    Attributes:
        group_by: The dimensions, at most one of them an hour, day or month; none: one row for all,
            also if there are no entries.
        time_zone: The IANA time zone of hours, days and months. The two hours of one name in
            autumn are one group.
        order_by: In which order; ``time`` needs an hour, day or month.
    """

    entry_filter: EntryFilter = EVERY_ENTRY
    group_by: tuple[Dimension, ...] = ()
    time_zone: str = "UTC"
    order_by: SummaryOrder = "cost"

    @property
    def bucket(self) -> TimeBucket | None:
        """The dimension that is a time, if there is one."""
        return next((one for one in TIME_BUCKETS if one in self.group_by), None)

    @property
    def names_runs(self) -> bool:
        """Whether runs are told apart, of which roll-ups know nothing."""
        return "run" in (*self.group_by, *self.entry_filter.dimensions)


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


SUMS: Final = (
    "entry_count",
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens_5m",
    "cache_creation_input_tokens_1h",
    "cost_nano_usd",
)
"""The fields of ``UsageSummary`` that are sums."""


class SummaryRows(msgspec.Struct, frozen=True):
    """Groups in their order, and the sum over all groups, not over these rows alone."""

    rows: tuple[UsageSummary, ...]
    total: UsageSummary


class RunCost(msgspec.Struct, frozen=True):
    """What a run cost, as of one instant.

    Attributes:
        run_id: The run.
        entries: Its entries by occurrence, oldest first; of many the first.
        reservations: What was held for it, oldest first, whatever became of it; of many the first.
        total: The sum of all its entries.
        estimated_nano_usd: Of that, what calls cost whose usage was recorded as an estimate, with
            what has corrected it since.
        reserved_nano_usd: What is held for it now. What draws from a hold of the run itself is part
            of that one.
    """

    run_id: str
    entries: tuple[UsageEntry, ...]
    reservations: tuple[Reservation, ...]
    total: UsageSummary
    estimated_nano_usd: NanoUsd
    reserved_nano_usd: NanoUsd
