"""Tool results, batches, histories and tiers: each saving to the cent, and none beyond a bound."""

from __future__ import annotations

import pytest

from agent_executor.ledger.accounting.entry import Purpose, UsageEntry
from agent_executor.ledger.accounting.token_usage import TokenUsage
from tests.unit.ledger.suggestions.recorded_usage import (
    HOUR_MS,
    LARGE,
    LARGE_BATCH,
    MINUTE_MS,
    SMALL,
    START_MS,
    TIERED,
    in_dollars,
    model_call,
    suggest_one,
    tool_call,
)

CENT = 10_000_000
BACKGROUND = Purpose(is_background=True)


async def test_equal_tool_calls_within_an_hour_are_paid_for_once() -> None:
    # 6 calls 25 minutes apart, from the beginning of an hour: at 0, 25, 50 | 75, 100 | 125 minutes.
    history = [
        tool_call("digest", START_MS + number * 25 * MINUTE_MS, CENT, run_id=f"run-{number}")
        for number in range(6)
    ]
    found = await suggest_one(history, "tool_result_cache")
    # By the clock 2 + 1 are repeated for certain, and at best the 5 that follow another.
    assert in_dollars(found) == (0.03, 0.04, 0.05)
    assert found is not None
    assert (found.subject.tool_name, found.subject.agent_id) == ("search", "")
    assert "5 calls of 6" in found.finding
    assert "only fees are counted" in found.finding
    assert found.evidence.run_ids == ("run-1", "run-2", "run-3", "run-4", "run-5")


async def test_a_repeat_after_more_than_an_hour_is_none() -> None:
    at_the_hour = [tool_call("digest", START_MS + late, CENT) for late in (0, HOUR_MS)]
    same_hour = [tool_call("other", START_MS, CENT) for _ in range(2)]
    found = await suggest_one([*at_the_hour, *same_hour], "tool_result_cache")
    assert in_dollars(found) == (0.01, 0.015, 0.02)
    later = [tool_call("digest", START_MS + late, CENT) for late in (0, HOUR_MS + 1)]
    found = await suggest_one([*later, *same_hour], "tool_result_cache")
    assert in_dollars(found) == (0.01, 0.01, 0.01)
    assert await suggest_one(later, "tool_result_cache") is None


@pytest.mark.parametrize(
    ("digest", "fee"), [("digest", 0), ("", CENT)], ids=["without a fee", "unknown arguments"]
)
async def test_a_tool_is_not_suggested(digest: str, fee: int) -> None:
    history = [tool_call(digest, START_MS, fee) for _ in range(20)]
    assert await suggest_one(history, "tool_result_cache") is None


async def test_other_arguments_or_another_tool_are_no_repeat() -> None:
    history = [tool_call(f"{number}", START_MS, CENT) for number in range(20)]
    assert await suggest_one(history, "tool_result_cache") is None
    tools = [tool_call("digest", START_MS, CENT, tool_name=f"tool-{each}") for each in range(20)]
    assert await suggest_one(tools, "tool_result_cache") is None


async def test_work_in_the_background_is_priced_as_a_batch() -> None:
    usage = TokenUsage(10_000, 2_000)
    waiting = [
        model_call(usage, run_id=f"run-{number}", purpose=BACKGROUND) for number in range(10)
    ]
    found = await suggest_one([*waiting, model_call(usage, run_id="now")], "batch")
    # 10 x (10,000 x $3 + 2,000 x $15 a million) = $0.60, half of it in batches; at least half of
    # the calls can wait.
    assert in_dollars(found) == (0.15, 0.225, 0.3)
    assert found is not None
    assert "10 calls" in found.finding
    assert "now" not in found.evidence.run_ids


@pytest.mark.parametrize(
    "call",
    [
        model_call(TokenUsage(1_000_000)),
        model_call(TokenUsage(1_000_000), priced_by=LARGE_BATCH, purpose=BACKGROUND),
        model_call(TokenUsage(1_000_000), priced_by=SMALL, purpose=BACKGROUND),
    ],
    ids=["someone waits", "it is one", "the model has no batch price"],
)
async def test_no_batch_is_suggested(call: UsageEntry) -> None:
    assert await suggest_one([call], "batch") is None


def long_run(
    calls: int = 21, *, history_percent: int = 60, read_tokens: int = 0, attempt: int = 1
) -> list[UsageEntry]:
    """Returns a run in which each call has 10,000 input tokens, so many of them history."""
    usage = TokenUsage(10_000 - read_tokens, 0, read_tokens)
    purpose = Purpose(history_tokens=100 * history_percent)
    return [
        model_call(usage, START_MS + number, purpose=purpose, attempt=attempt)
        for number in range(calls)
    ]


async def test_a_history_is_trimmed_to_its_last_turns() -> None:
    found = await suggest_one(long_run(), "history_trimming")
    # Call number k has k - 1 earlier turns in 6,000 tokens, of which n turns keep n / (k - 1).
    low = sum(6_000 - -(-6_000 * 10 // turns) for turns in range(11, 21))
    high = sum(6_000 - -(-6_000 * 5 // turns) for turns in range(6, 21))
    assert in_dollars(found)[0] == pytest.approx(low * 3 / 1e6)
    assert in_dollars(found)[2] == pytest.approx(high * 3 / 1e6)
    assert found is not None
    assert "60 % of the input" in found.finding
    assert found.evidence.run_ids == ("run",)


async def test_a_shorter_run_is_not_long() -> None:
    assert await suggest_one(long_run(15), "history_trimming")
    assert await suggest_one(long_run(14), "history_trimming") is None


async def test_a_history_below_half_of_the_input_does_not_dominate() -> None:
    assert await suggest_one(long_run(history_percent=50), "history_trimming")
    assert await suggest_one(long_run(history_percent=49), "history_trimming") is None


async def test_a_history_that_is_read_from_the_cache_is_left_alone() -> None:
    assert await suggest_one(long_run(read_tokens=1), "history_trimming") is None


async def test_repeated_attempts_do_not_make_a_run_long() -> None:
    history = [*long_run(14), *long_run(14, attempt=2)]
    assert await suggest_one(history, "history_trimming") is None


def calls_of(input_tokens: int, **classes: int) -> list[UsageEntry]:
    """Returns calls of the model whose price doubles above 100,000 input tokens."""
    usage = TokenUsage(input_tokens, 1_000, **classes)
    return [model_call(usage, priced_by=TIERED, run_id=f"run-{number}") for number in range(10)]


async def test_a_call_just_above_a_tier_could_stay_below() -> None:
    found = await suggest_one(calls_of(110_000), "tier_cliff")
    # 10 x (110,000 x $6 + 1,000 x $30 a million) = $6.90, and half of it below; half of the calls
    # may be avoided at least.
    assert in_dollars(found) == (1.725, 2.5875, 3.45)
    assert found is not None
    assert found.subject.part == "100000"
    assert "$6.90 instead of $3.45" in found.finding
    assert found.evidence.run_count == 10


@pytest.mark.parametrize("input_tokens", [100_000, 110_001])
async def test_a_call_at_the_tier_or_far_above_it_is_not_just_above(input_tokens: int) -> None:
    assert await suggest_one(calls_of(input_tokens), "tier_cliff") is None


async def test_cached_input_counts_for_the_tier() -> None:
    found = await suggest_one(calls_of(1, cache_read_input_tokens=100_000), "tier_cliff")
    # 10 x (1 x $6 + 1,000 x $30 + 100,000 x $0.60 a million) = $0.90006.
    assert in_dollars(found)[2] == 0.45003


async def test_a_model_without_tiers_has_no_cliff() -> None:
    history = [model_call(TokenUsage(100_001), priced_by=LARGE) for _ in range(10)]
    assert await suggest_one(history, "tier_cliff") is None
