from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_executor.errors import InvalidArgumentError, PermissionDeniedError
from agent_executor.ledger.accounting.entry import Purpose, UsageEntry
from agent_executor.ledger.accounting.token_usage import TokenCounts
from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.reports.exports import CHUNK_BYTES, ExportFormat, UsageExports
from agent_executor.ledger.reports.store import ReportStore
from agent_executor.ledger.reports.usage_query import EVERY_ENTRY, EntryFilter
from agent_executor.serving.security import SecurityContext
from tests.unit.ledger.accounting_samples import NOW_MS, priced, tool_entry

ADA = SecurityContext("acme", "ada", frozenset({"ledger:read"}))
WRITER = SecurityContext("acme", "ada", frozenset({"ledger:write"}))

# The columns that FOCUS 1.2 demands of every dataset, and those that this one has besides.
FOCUS_COLUMNS = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "SubAccountType",
    "Tags",
]
COSTS = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")


class Recorded:
    """Stands for a store: it makes entries as they are asked for."""

    def __init__(self, count: int, make: Callable[[int], UsageEntry]) -> None:
        self.asked = 0
        self.is_closed = False
        self._count = count
        self._make = make

    async def scan(
        self, organization_id: str, entry_filter: EntryFilter
    ) -> AsyncGenerator[Sequence[UsageEntry], None]:
        assert (organization_id, entry_filter) == ("acme", EVERY_ENTRY)
        try:
            for first in range(0, self._count, 500):
                self.asked += 1
                yield [self._make(one) for one in range(first, min(first + 500, self._count))]
        finally:
            self.is_closed = True


def exports_of(*entries: UsageEntry) -> UsageExports:
    return UsageExports(cast("ReportStore", Recorded(len(entries), lambda one: entries[one])))


async def rows(file_format: ExportFormat, *entries: UsageEntry) -> list[dict[str, str]]:
    """Returns the rows of an export by column."""
    pieces = [one async for one in exports_of(*entries).export(ADA, EVERY_ENTRY, file_format)]
    text = io.StringIO(b"".join(pieces).decode(), newline="")
    return list(csv.DictReader(text, strict=True))


def entry_of(row: dict[str, str]) -> UsageEntry:
    """Returns the entry that a row of the format ``csv`` was made of."""
    values: dict[str, Any] = {
        name: text.removeprefix("'") for name, text in row.items() if name != "cost_usd"
    }
    for name in ("occurred_at", "created_at"):
        moment = datetime.fromisoformat(values.pop(name))
        values[f"{name}_ms"] = (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000
        values[f"{name}_ms"] = round(values[f"{name}_ms"])
    for name in ("estimated", "is_test", "is_background"):
        values[name] = {"true": True, "false": False}[values[name]]
    for name in (*TokenCounts.__struct_fields__, "cost_nano_usd", "attempt"):
        values[name] = int(values[name])
    for name in ("prefix_tokens", "history_tokens"):
        values[name] = int(values[name])
    usage = TokenCounts(*(values.pop(name) for name in TokenCounts.__struct_fields__))
    purpose = Purpose(*(values.pop(name) for name in Purpose.__struct_fields__))
    return UsageEntry(usage=usage, purpose=purpose, **values)


TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
TRICKY = TEXTS | st.sampled_from(
    ["=1+1", "+1", "-1", "@x", "'", "''=", "\t=", "\r\n", '"', ",", "a\nb", "\uff1d1", " =1"]
)


@given(
    texts=st.lists(TRICKY, min_size=8, max_size=8),
    counts=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=5, max_size=5),
    cost=st.integers(-(9 * 10**15), 9 * 10**15),
    is_it=st.booleans(),
    time_ms=st.integers(-62_135_596_800_000, 253_402_300_799_999),
)
async def test_csv_that_is_read_again_is_what_was_recorded(
    texts: list[str], counts: list[int], cost: int, *, is_it: bool, time_ms: int
) -> None:
    recorded = UsageEntry(
        id=texts[0],
        organization_id="acme",
        user_id=texts[1],
        agent_id=texts[2],
        run_id=texts[3],
        model=texts[4],
        tool_name=texts[5],
        description=texts[6],
        usage=TokenCounts(*counts),
        purpose=Purpose(texts[7], 1, 2, is_it),
        cost_nano_usd=NanoUsd(cost),
        estimated=is_it,
        is_test=not is_it,
        occurred_at_ms=time_ms,
        created_at_ms=time_ms,
    )
    [row] = await rows("csv", recorded)
    assert entry_of(row) == recorded
    assert Decimal(row["cost_usd"]) == Decimal(cost).scaleb(-9)
    assert "E" not in row["cost_usd"]


async def test_every_field_is_a_column() -> None:
    [row] = await rows("csv", priced())
    parts = {"usage", "purpose", "occurred_at_ms", "created_at_ms"}
    fields = set(UsageEntry.__struct_fields__) - parts
    fields |= {"cost_usd", "occurred_at", "created_at"}
    assert set(row) == fields | {*TokenCounts.__struct_fields__, *Purpose.__struct_fields__}


@pytest.mark.parametrize("file_format", ["csv", "focus"])
async def test_no_text_is_a_formula_and_every_number_is_a_number(file_format: ExportFormat) -> None:
    texts = ["=cmd|' /C calc'!A0", "+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\uff1d1"]
    for text in texts:
        [row] = await rows(
            file_format,
            priced(
                text,
                -5,
                user_id=text,
                agent_id=text,
                run_id=text,
                model=text,
                description=text,
                rate_card_id=text,
                usage=TokenCounts(-1, 2),
                kind="correction",
            ),
        )
        for name, cell in row.items():
            is_number = name in (*COSTS, "cost_nano_usd", "cost_usd", "input_tokens")
            is_number |= name in ("PricingQuantity", "x_CostNanoUsd", "x_InputTokens")
            if is_number:
                Decimal(cell)
            else:
                assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d")), name


@pytest.mark.parametrize("file_format", ["csv", "focus"])
async def test_lines_end_as_rfc_4180_wants_and_none_is_all_there_is_of_nothing(
    file_format: ExportFormat,
) -> None:
    [header] = [one async for one in exports_of().export(ADA, EVERY_ENTRY, file_format)]
    assert header.endswith(b"\r\n")
    assert header.count(b"\n") == 1
    pieces = exports_of(priced(), priced("b")).export(ADA, EVERY_ENTRY, file_format)
    file = b"".join([one async for one in pieces])
    assert file.count(b"\r\n") == file.count(b"\n") == 3


async def test_focus_has_all_columns_and_our_own() -> None:
    [row] = await rows("focus", priced())
    assert [name for name in row if not name.startswith("x_")] == FOCUS_COLUMNS
    assert sorted(FOCUS_COLUMNS) == FOCUS_COLUMNS
    assert len([name for name in row if name.startswith("x_")]) > 10
    assert None not in row.values()


async def test_focus_of_a_model_call() -> None:
    called = priced(
        "one",
        1_234_567_890_123,
        usage=TokenCounts(1, 2, 3, 4, 5),
        rate_card_id="anthropic/claude@123",
        model="claude",
        processing="batch",
        user_id="ada",
        agent_id="helper",
        run_id="r-1",
    )
    [row] = await rows("focus", called)
    for cost in COSTS:
        assert row[cost] == "1234.567890123"
    expected = {
        "BillingCurrency": "USD",
        "BillingAccountId": "acme",
        "SubAccountId": "ada",
        "BillingPeriodStart": "2026-02-01T00:00:00Z",
        "BillingPeriodEnd": "2026-03-01T00:00:00Z",
        "ChargePeriodStart": "2026-02-23T10:00:00Z",
        "ChargePeriodEnd": "2026-02-23T11:00:00Z",
        "ChargeCategory": "Usage",
        "ChargeClass": "",
        "ChargeDescription": "Model call: claude, batch",
        "ChargeFrequency": "Usage-Based",
        "ConsumedQuantity": "15",
        "ConsumedUnit": "Tokens",
        "PricingQuantity": "15",
        "PricingUnit": "Tokens",
        "ProviderName": "anthropic",
        "PublisherName": "anthropic",
        "InvoiceIssuerName": "anthropic",
        "ServiceCategory": "AI and Machine Learning",
        "SkuId": "claude/batch",
        "SkuPriceId": "anthropic/claude@123",
        "ResourceId": "helper",
        "x_EntryId": "one",
        "x_CacheCreationInputTokens1h": "5",
    }
    assert {name: row[name] for name in expected} == expected
    assert json.loads(row["Tags"]) == {"agent_id": "helper", "run_id": "r-1", "user_id": "ada"}


@pytest.mark.parametrize(
    ("changes", "category", "quantity"),
    [
        ({}, "Usage", "60"),
        ({"kind": "correction"}, "Adjustment", ""),
        ({"kind": "rerating"}, "Adjustment", ""),
        ({"kind": "adjustment", "model": ""}, "Adjustment", ""),
        ({"kind": "adjustment", "model": "", "cost_nano_usd": -1}, "Credit", ""),
    ],
)
async def test_focus_tells_usage_adjustments_and_credits_apart(
    changes: dict[str, Any], category: str, quantity: str
) -> None:
    [row] = await rows("focus", msgspec.structs.replace(priced(), **changes))
    assert (row["ChargeCategory"], row["ConsumedQuantity"]) == (category, quantity)
    # What must not be null in any row.
    for name in (*COSTS, "ChargeDescription", "ProviderName", "ServiceName", "BillingPeriodStart"):
        assert row[name]


async def test_focus_of_a_tool_call() -> None:
    [row] = await rows("focus", tool_entry("one", 5))
    assert (row["SkuId"], row["SkuPriceId"]) == ("search", "search")
    assert (row["ConsumedQuantity"], row["ConsumedUnit"]) == ("1", "Calls")
    assert row["BilledCost"] == "0.000000005"


@pytest.mark.timeout(1_800)
async def test_a_file_of_any_size_needs_little_memory(*, full: bool) -> None:
    count = 1_000_000 if full else 20_000
    entry = priced()
    recorded = Recorded(count, lambda _: entry)
    exports = UsageExports(cast("ReportStore", recorded))
    lines = 0
    tracemalloc.start()
    async for piece in exports.export(ADA, EVERY_ENTRY, "csv"):
        assert len(piece) < 2 * CHUNK_BYTES
        lines += piece.count(b"\r\n")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert lines == count + 1
    assert peak < 4 * 1024 * 1024


async def test_nothing_is_read_before_it_is_asked_for() -> None:
    recorded = Recorded(1_000_000, lambda one: priced(f"entry-{one}"))
    exports = UsageExports(cast("ReportStore", recorded))
    async with aclosing(exports.export(ADA, EVERY_ENTRY, "csv")) as pieces:
        for _ in range(3):
            await anext(pieces)
        assert recorded.asked <= 3
        assert not recorded.is_closed
    # A caller that goes away ends the reading.
    assert recorded.is_closed


async def test_refusals() -> None:
    for asked, error in (
        (exports_of().export(WRITER, EVERY_ENTRY, "csv"), PermissionDeniedError),
        (
            exports_of().export(ADA, EntryFilter(start_ms=NOW_MS, end_ms=0), "csv"),
            InvalidArgumentError,
        ),
    ):
        with pytest.raises(error):
            await anext(asked)
