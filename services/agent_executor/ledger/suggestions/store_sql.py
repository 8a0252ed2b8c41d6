"""What was recorded, added up by the ledger's database on a reader's thread or connection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Select

from agent_executor.ledger.accounting.token_usage import TokenCounts
from agent_executor.ledger.overflow import sqlite_overflow_refused
from agent_executor.ledger.suggestions import statements
from agent_executor.ledger.suggestions.evidence import (
    CallSums,
    CardSpending,
    HistorySums,
    Period,
    PrefixRepeats,
    RunShape,
    Spending,
    ToolRepeats,
)
from agent_executor.ledger.suggestions.evidence_statements import evidence
from agent_executor.ledger.suggestions.suggestion import Evidence, Kind, Subject
from agent_executor.storage.statements import Row, StatementRunner

T = TypeVar("T", bound=msgspec.Struct)


class SqlEvidenceStore:
    """``EvidenceStore`` in the ledger's database. Each question is a snapshot of its own."""

    def __init__(self, runner: StatementRunner) -> None:
        self._runner = runner

    async def occurrence_of_newest(self, period: Period, number: int) -> int | None:
        """See ``EvidenceStore``."""
        rows = await self._rows(statements.newest(period, number))
        return rows[0]["occurred_at_ms"] if rows else None

    async def spending(self, period: Period) -> Spending:
        """See ``EvidenceStore``."""
        rows = await self._rows(statements.spending(period))
        cards = tuple(
            CardSpending(row["rate_card_id"], row["cost_nano_usd"], row["max_input_tokens"])
            for row in rows
        )
        return Spending(rows[0]["all_nano_usd"] if rows else 0, cards)

    async def call_sums(self, period: Period, edges: Sequence[int]) -> list[CallSums]:
        """See ``EvidenceStore``."""
        return [
            CallSums(
                agent_id=row["agent_id"],
                model=row["model"],
                rate_card_id=row["rate_card_id"],
                is_background=bool(row["is_background"]),
                above_input_tokens=row["band"],
                call_count=row["call_count"],
                tokens=TokenCounts(*(row[name] for name in statements.TOKEN_CLASSES)),
                cost_nano_usd=row["cost_nano_usd"],
            )
            for row in await self._rows(statements.call_sums(period, edges))
        ]

    async def run_shapes(self, period: Period) -> list[RunShape]:
        """See ``EvidenceStore``."""
        return _structs(RunShape, await self._rows(statements.run_shapes(period)))

    async def prefix_repeats(self, period: Period, edges: Sequence[int]) -> list[PrefixRepeats]:
        """See ``EvidenceStore``."""
        rows = await self._rows(statements.prefix_repeats(period, edges))
        return _structs(PrefixRepeats, rows)

    async def history_sums(self, period: Period, edges: Sequence[int]) -> list[HistorySums]:
        """See ``EvidenceStore``."""
        return _structs(HistorySums, await self._rows(statements.history_sums(period, edges)))

    async def tool_repeats(self, period: Period) -> list[ToolRepeats]:
        """See ``EvidenceStore``."""
        return _structs(ToolRepeats, await self._rows(statements.tool_repeats(period)))

    async def evidence(
        self, period: Period, kind: Kind, subjects: Collection[Subject]
    ) -> Mapping[Subject, Evidence]:
        """See ``EvidenceStore``."""
        if not subjects:
            return {}
        run_ids: dict[Subject, list[str]] = defaultdict(list)
        counts: dict[Subject, int] = {}
        for row in await self._rows(evidence(period, kind, subjects)):
            subject = Subject(*(row[name] for name in Subject.__struct_fields__))
            run_ids[subject].append(row["run_id"])
            counts[subject] = row["run_count"]
        return {key: Evidence(tuple(found), counts[key]) for key, found in run_ids.items()}

    async def _rows(self, statement: Select[Any]) -> list[Row]:
        with sqlite_overflow_refused():
            (rows,) = await self._runner.run(statement)
        return rows


_COLUMNS = {"above_input_tokens": "band", "prefix_digest": "content_digest"}


def _structs(kind: type[T], rows: Sequence[Row]) -> list[T]:
    """Returns rows as structs whose fields are columns, some by another name."""
    columns = {field: _COLUMNS.get(field, field) for field in kind.__struct_fields__}
    return [kind(**{field: row[name] for field, name in columns.items()}) for row in rows]
