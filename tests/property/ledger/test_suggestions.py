"""No suggestion promises more than was spent, and the same usage has the same suggestions."""

from __future__ import annotations

import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from agent_executor.ledger.accounting.entry import Purpose, UsageEntry
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.suggestions.suggestion import Subject
from tests.unit.ledger.suggestions.recorded_usage import (
    DAY_MS,
    HOUR_MS,
    LARGE,
    LARGE_BATCH,
    MINUTE_MS,
    NOW_MS,
    SMALL,
    TIERED,
    model_call,
    suggest,
    tool_call,
)

TOKENS = st.sampled_from((0, 1, 900, 4_096, 99_999, 100_001, 109_000, 2_000_000))
FEW_TOKENS = st.sampled_from((0, 0, 0, 1, 5_000))
USAGES = st.builds(TokenUsage, TOKENS, TOKENS, FEW_TOKENS, FEW_TOKENS, FEW_TOKENS)
PURPOSES = st.builds(
    Purpose,
    content_digest=st.sampled_from(("", "first", "second")),
    prefix_tokens=TOKENS,
    history_tokens=TOKENS,
    is_background=st.booleans(),
)
TIMES = st.builds(
    lambda days, hours, minutes: NOW_MS - days * DAY_MS - hours * HOUR_MS - minutes * MINUTE_MS - 1,
    *(st.integers(0, 2), st.integers(0, 2), st.integers(0, 59)),
)
MODEL_CALLS = st.builds(
    model_call,
    USAGES,
    TIMES,
    priced_by=st.sampled_from((LARGE, SMALL, TIERED, LARGE_BATCH)),
    run_id=st.sampled_from(("", "one", "two")),
    purpose=PURPOSES,
)
TOOL_CALLS = st.builds(
    tool_call, st.sampled_from(("one", "two")), TIMES, st.sampled_from((0, 1, 10_000_000))
)
# Runs that are alike, for which most kinds of suggestions are made.
ALIKE = st.builds(
    lambda call, count, gap_ms: [
        msgspec.structs.replace(
            call,
            id=f"{call.id}-{number}",
            run_id=f"run-{number % 16}",
            occurred_at_ms=call.occurred_at_ms - number * gap_ms,
        )
        for number in range(count)
    ],
    MODEL_CALLS | TOOL_CALLS,
    st.integers(10, 40),
    st.sampled_from((0, MINUTE_MS, 30 * MINUTE_MS)),
)
HISTORIES = st.builds(
    lambda mixed, alike: [*mixed, *(call for calls in alike for call in calls)],
    st.lists(MODEL_CALLS | TOOL_CALLS, max_size=10),
    st.lists(ALIKE, max_size=3),
)


@given(HISTORIES)
async def test_no_suggestion_promises_more_than_was_spent(history: list[UsageEntry]) -> None:
    page = await suggest(history)
    assert page.cost_nano_usd == sum(entry.cost_nano_usd for entry in history)
    for one in page.suggestions:
        saving = one.saving
        assert 0 < saving.low_nano_usd <= saving.expected_nano_usd <= saving.high_nano_usd
        spent = sum(
            entry.cost_nano_usd
            for entry in history
            if one.subject.tool_name in ("", entry.tool_name)
            if one.subject.tool_name or (entry.agent_id, entry.model) == _model_of(one.subject)
        )
        assert saving.high_nano_usd <= spent
        assert one.finding.endswith(".")
        assert one.change.endswith(".")


@given(HISTORIES, st.integers(0, 9))
async def test_ids_are_stable_and_unique(history: list[UsageEntry], seed: int) -> None:
    page = await suggest(history)
    ids = [one.id for one in page.suggestions]
    assert len(set(ids)) == len(ids)
    shuffled = [msgspec.structs.replace(entry, id=f"other-{entry.id}") for entry in history]
    random.Random(seed).shuffle(shuffled)
    # Calls of the same instant are in the order of their writing, which decides whose turn it is.
    if len({entry.occurred_at_ms for entry in history}) == len(history):
        assert [one.id for one in (await suggest(shuffled)).suggestions] == ids
    assert [one.id for one in (await suggest(history)).suggestions] == ids


def _model_of(subject: Subject) -> tuple[str, str]:
    return subject.agent_id, subject.model
