"""Recording usage in bulk: all rows of a batch, or none if one of them is bad."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeVar

import msgspec

from agent_executor.errors import EntryConflictError, InvalidArgumentError
from agent_executor.ledger.accounting.commands import Record, Recorded
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.accounting.token_usage import TokenCounts
from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.prices.rate_cards import RateCards
from agent_executor.ledger.usage.checks import ADMIN_PERMISSION, WRITE_PERMISSION, invalid
from agent_executor.ledger.usage.metrics import Happened
from agent_executor.ledger.usage.rows import UsageRow, at_row, check_row
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.security import SecurityContext

RowT = TypeVar("RowT")

MAX_ROWS: Final = 100_000

# So many are checked, or written in one transaction, before others have their turn: both take some
# tens of milliseconds at most.
CHUNK_ROWS: Final = 500


class RecordedBatch(msgspec.Struct, frozen=True):
    """What recording a batch came to.

    Attributes:
        recorded_count: Rows that were recorded now.
        repeated_count: Rows that had been recorded before, with the same content.
        cost_nano_usd: What the new rows cost together.
    """

    recorded_count: int
    repeated_count: int
    cost_nano_usd: NanoUsd


class RecordUsage:
    """Records rows that are priced by the ledger, or carry an amount.

    Args:
        store: Where entries go.
        rate_cards: Knows the prices.
        clock: Seconds since 1970-01-01 UTC.
        metrics: Counts what is recorded.
    """

    def __init__(
        self,
        store: AccountingStore,
        rate_cards: RateCards,
        clock: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._rate_cards = rate_cards
        self._clock = clock
        self._metrics = metrics

    async def record(self, rows: Iterable[UsageRow], security: SecurityContext) -> RecordedBatch:
        """Records all rows, unless one of them is bad; then none.

        If it is broken off half-way, the same batch may be sent again: what is recorded counts once.

        Args:
            rows: 1 to 100,000. They are taken as they are checked.
            security: The caller. Other users' rows and adjustments need ``ledger:admin``.

        Raises:
            PermissionDeniedError: The caller lacks a permission.
            InvalidArgumentError: A row cannot be; the error names it and its field.
            UnknownModelError: A row's model has no price.
            EntryConflictError: A row's id records something else; the error names the row.
        """
        security.require(WRITE_PERMISSION)
        rows_by_id, row_count = await self._check(rows, security)
        new = await self._leave_out_recorded(rows_by_id.values())
        recorded_count, cost = 0, 0
        for chunk in _chunks(new):
            for entry in await self._write(chunk):
                recorded_count += 1
                cost += entry.cost_nano_usd
        return RecordedBatch(recorded_count, row_count - recorded_count, NanoUsd(cost))

    async def _check(
        self, rows: Iterable[UsageRow], security: SecurityContext
    ) -> tuple[dict[str, _CheckedRow], int]:
        """Returns the first row of each id, and how many rows there are with those repeated."""
        now_ms = self._now_ms()
        checked: dict[str, _CheckedRow] = {}
        row_count = 0
        for chunk in _chunks(rows):
            for row in chunk:
                if row_count >= MAX_ROWS:
                    raise invalid("entries", f"may have {MAX_ROWS} rows at most.")
                try:
                    entry = await self._entry(row, security, now_ms)
                except InvalidArgumentError as error:
                    raise at_row(row_count, error) from None
                this = _CheckedRow(row_count, row, entry)
                if not this.is_recorded_as(checked.setdefault(row.id, this).entry):
                    raise this.conflict()
                row_count += 1
            await asyncio.sleep(0)
        if not row_count:
            raise invalid("entries", "must have a row at least.")
        return checked, row_count

    async def _entry(self, row: UsageRow, security: SecurityContext, now_ms: int) -> UsageEntry:
        check_row(row, now_ms)
        user_id = row.user_id or security.user_id
        if row.is_adjustment or user_id != security.user_id:
            security.require(ADMIN_PERMISSION)
        occurred_at_ms = now_ms if row.occurred_at_ms is None else row.occurred_at_ms
        rate_card_id, cost = await self._price(row, security.organization_id, occurred_at_ms)
        return UsageEntry(
            id=row.id,
            organization_id=security.organization_id,
            kind="model_call" if row.model else "tool_call" if row.tool_name else "adjustment",
            user_id=user_id,
            agent_id=row.agent_id,
            run_id=row.run_id,
            model=row.model,
            tool_name=row.tool_name,
            usage=row.usage or TokenCounts(),
            cost_nano_usd=cost,
            rate_card_id=rate_card_id,
            processing=row.processing,
            speed=row.speed,
            estimated=row.estimated,
            is_test=row.is_test,
            description=row.description,
            occurred_at_ms=occurred_at_ms,
            created_at_ms=now_ms,
        )

    async def _price(
        self, row: UsageRow, organization_id: str, occurred_at_ms: int
    ) -> tuple[str, NanoUsd]:
        """Returns the card and the cost of a row that was checked."""
        if row.cost_nano_usd is not None:
            return "", NanoUsd(row.cost_nano_usd)
        if row.usage is None:
            return await self._rate_cards.tool_fee(organization_id, row.tool_name, occurred_at_ms)
        card = await self._rate_cards.find(
            organization_id,
            row.model,
            occurred_at_ms,
            processing=row.processing,
            speed=row.speed,
        )
        return card.id, card.cost(row.usage)

    async def _leave_out_recorded(self, rows: Iterable[_CheckedRow]) -> list[_CheckedRow]:
        """Returns the rows that are not recorded yet.

        Raises:
            EntryConflictError: The id of one of them records something else.
        """
        new: list[_CheckedRow] = []
        for chunk in _chunks(rows):
            entries = await self._store.get_entries(
                chunk[0].entry.organization_id, [row.entry.id for row in chunk]
            )
            recorded = {entry.id: entry for entry in entries}
            for row in chunk:
                entry = recorded.get(row.entry.id)
                if entry is None:
                    new.append(row)
                elif not row.is_recorded_as(entry):
                    raise row.conflict()
        return new

    async def _write(self, rows: Sequence[_CheckedRow]) -> list[UsageEntry]:
        """Records rows and returns those that were new; others may have recorded some meanwhile."""
        commands = [Record(row.entry) for row in rows]
        happened = Happened()
        outcomes = await self._store.apply(commands, self._now_ms())
        for row, outcome in zip(rows, outcomes, strict=True):
            if not isinstance(outcome, Recorded):
                raise TypeError(outcome)
            if outcome.is_new:
                happened.entries.append(outcome.entry)
                happened.events += outcome.events
            elif not row.is_recorded_as(outcome.entry):
                raise row.conflict()
        happened.tell(self._metrics)
        return happened.entries

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


class _CheckedRow(msgspec.Struct, frozen=True):
    """A row that was found good, its number, and the entry that it is."""

    number: int
    row: UsageRow
    entry: UsageEntry

    def is_recorded_as(self, recorded: UsageEntry) -> bool:
        """Tells whether an entry of the same id says the same as the row.

        Cost and time are part of what a row says only where it names them.
        """
        row = self.row
        return (
            recorded.records_the_same(self.entry)
            and recorded.description == row.description
            and row.cost_nano_usd in (None, recorded.cost_nano_usd)
            and row.occurred_at_ms in (None, recorded.occurred_at_ms)
        )

    def conflict(self) -> EntryConflictError:
        """Returns the error that the row's id is taken by something else."""
        row = f"entries[{self.number}]"
        return EntryConflictError(
            f"{row}.id is that of an entry that records something else.",
            metadata={"row": row, "entry_id": self.entry.id},
        )


def _chunks(rows: Iterable[RowT]) -> Iterator[list[RowT]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, CHUNK_ROWS)):
        yield chunk
