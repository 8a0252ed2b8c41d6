"""Batches of usage through gRPC: 100,000 rows in one message, checked and written while others go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from agent_executor.api.ledger.v1 import (
    rate_card_service_pb2,
    usage_pb2,
    usage_service_pb2,
    usage_service_pb2_grpc,
)
from agent_executor.error_status import from_rpc_error
from agent_executor.errors import EntryConflictError, InvalidArgumentError, PermissionDeniedError
from agent_executor.serving.grants import GRANT_METADATA_KEY
from tests.integration.ledger.running_ledger import MODEL, RunningLedger, running_ledger

ROWS_MAX = 100_000
# What a batch may keep others waiting at most; on a busy machine many times what it does.
PATIENCE_SECONDS = 5.0


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[RunningLedger]:
    async with running_ledger(tmp_path) as ledger:
        yield ledger


def rows(count: int) -> list[usage_service_pb2.UsageRecord]:
    """Returns model calls of $0.00105 each."""
    return [
        usage_service_pb2.UsageRecord(
            id=f"row-{number}",
            agent_id="agent",
            run_id=f"run-{number // 100}",
            model=MODEL,
            usage=usage_pb2.TokenUsage(input_tokens=100, output_tokens=50),
        )
        for number in range(count)
    ]


async def record(
    ledger: RunningLedger, entries: list[usage_service_pb2.UsageRecord], *permissions: str
) -> usage_service_pb2.RecordUsageResponse:
    # The channel of the stream takes no message of this size.
    grant = ledger.grant(*(permissions or ("ledger:write",)))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ledger.running.grpc_port}") as channel:
        stub = usage_service_pb2_grpc.UsageServiceStub(channel)
        try:
            return await stub.RecordUsage(
                usage_service_pb2.RecordUsageRequest(entries=entries),
                metadata=((GRANT_METADATA_KEY, grant.SerializeToString()),),
                timeout=600,
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error


async def entry_count(ledger: RunningLedger) -> int:
    answer = await ledger.ask(
        "SummarizeUsage", usage_service_pb2.SummarizeUsageRequest(), "ledger:read"
    )
    return int(answer.total.entry_count)


async def test_one_bad_row_of_a_hundred_thousand_is_named_and_none_recorded(
    ledger: RunningLedger,
) -> None:
    entries = rows(ROWS_MAX)
    entries[57_123].usage.input_tokens = -1
    with pytest.raises(InvalidArgumentError) as refused:
        await record(ledger, entries)
    assert refused.value.field_violations[0][0] == "entries[57123].usage.input_tokens"
    assert "entries[57123].usage.input_tokens" in refused.value.message
    assert await entry_count(ledger) == 0


async def test_a_batch_keeps_nobody_waiting_and_may_be_sent_again(
    ledger: RunningLedger, *, full: bool
) -> None:
    entries = rows(ROWS_MAX if full else 20_000)
    began = time.perf_counter()
    recording = asyncio.create_task(record(ledger, entries))
    grant, longest_seconds, calls = ledger.grant("ledger:write"), 0.0, 0
    while not recording.done():
        calls += 1
        settling: Any = usage_service_pb2.SettleUsageRequest(
            entry_id=f"call-{calls}",
            agent_id="agent",
            run_id="run",
            model=MODEL,
            usage=usage_pb2.TokenUsage(input_tokens=1),
        )
        started = time.perf_counter()
        await ledger.write("stream", "settle", settling, grant)
        longest_seconds = max(longest_seconds, time.perf_counter() - started)
    answer = await recording
    whole_seconds = time.perf_counter() - began
    assert (answer.recorded_count, answer.repeated_count) == (len(entries), 0)
    assert answer.cost_nano_usd == len(entries) * 1_050_000
    # Where all of it takes long, so may a part.
    assert longest_seconds < max(PATIENCE_SECONDS, whole_seconds / 2)
    assert calls > 10
    again = await record(ledger, entries)
    assert (again.recorded_count, again.repeated_count, again.cost_nano_usd) == (
        0,
        len(entries),
        0,
    )
    assert await entry_count(ledger) == len(entries) + calls


async def test_a_conflict_in_the_last_row_is_found_before_anything_is_written(
    ledger: RunningLedger,
) -> None:
    first = rows(1)
    first[0].id = "row-2999"
    await record(ledger, first)
    with pytest.raises(EntryConflictError) as refused:
        await record(ledger, rows(3_000))
    assert refused.value.metadata["row"] == "entries[2999]"
    assert await entry_count(ledger) == 1


async def test_adjustments_and_fees_are_recorded(ledger: RunningLedger) -> None:
    card = rate_card_service_pb2.CreateRateCardRequest(tool_name="search", fee_usd=0.005)
    await ledger.ask("CreateRateCard", card, "ledger:admin")
    entries = [
        usage_service_pb2.UsageRecord(id="fee", tool_name="search"),
        usage_service_pb2.UsageRecord(id="free", tool_name="search", cost_nano_usd=0),
        usage_service_pb2.UsageRecord(
            id="credit", cost_nano_usd=-1_000, currency="USD", description="goodwill"
        ),
    ]
    with pytest.raises(PermissionDeniedError):
        await record(ledger, entries)
    answer = await record(ledger, entries, "ledger:write", "ledger:admin")
    assert answer.cost_nano_usd == 5_000_000 - 1_000


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"currency": "EUR", "description": "d", "cost_nano_usd": 1}, "currency"),
        ({"model": MODEL, "usage": {}, "occurred_at": {"seconds": -62135596800}}, "occurred_at"),
        ({"model": MODEL, "usage": {}, "occurred_at": {"seconds": 253402300799}}, "occurred_at"),
        ({"model": MODEL, "usage": {"output_tokens": -(2**31)}}, "usage.output_tokens"),
        ({"tool_name": "t", "cost_nano_usd": 2**63 - 1}, "cost_nano_usd"),
        ({"description": "d", "cost_nano_usd": -(2**63)}, "cost_nano_usd"),
        ({"model": "unheard-of", "usage": {}}, "model"),
        ({}, "cost_nano_usd"),
    ],
)
async def test_a_row_that_cannot_be_is_named(
    ledger: RunningLedger, changes: dict[str, Any], field: str
) -> None:
    entries = [*rows(2), usage_service_pb2.UsageRecord(id="bad", **changes)]
    with pytest.raises(InvalidArgumentError) as refused:
        await record(ledger, entries, "ledger:*")
    assert refused.value.field_violations[0][0] == f"entries[2].{field}"
    assert await entry_count(ledger) == 0


async def test_a_model_call_is_priced_again_by_a_card_that_was_made_later(
    ledger: RunningLedger,
) -> None:
    await record(ledger, rows(30))
    card = rate_card_service_pb2.CreateRateCardRequest(
        model=MODEL,
        rates=rate_card_service_pb2.TokenRates(
            input_usd_per_million_tokens=1, output_usd_per_million_tokens=2
        ),
        valid_from={"seconds": 1_577_836_800},
    )
    await ledger.ask("CreateRateCard", card, "ledger:admin")
    request = usage_service_pb2.RerateUsageRequest(
        model=MODEL, start_time={"seconds": 1_577_836_800}, dry_run=True, description="negotiated"
    )
    for dry_run, changed in ((True, 30), (False, 30), (False, 0)):
        request.dry_run = dry_run
        answer = await ledger.ask("RerateUsage", request, "ledger:admin")
        assert (answer.examined_count, answer.changed_count) == (30, changed)
        assert answer.difference_nano_usd == changed * (200_000 - 1_050_000)
    total = await ledger.ask(
        "SummarizeUsage", usage_service_pb2.SummarizeUsageRequest(), "ledger:read"
    )
    assert total.total.cost_nano_usd == 30 * 200_000
