"""A cheaper model is suggested for an agent whose runs are short, and for no other."""

from __future__ import annotations

from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.prices.rate_card import Tier
from agent_executor.ledger.suggestions.prices import CardOptions
from tests.unit.ledger.suggestions.recorded_usage import (
    LARGE,
    START_MS,
    FixedPrices,
    card,
    in_dollars,
    model_call,
    rates,
    suggest,
    suggest_one,
    tool_call,
)

CALL = TokenUsage(1_000, 200)


def runs(
    count: int = 20, *, model_calls: int = 1, tool_calls: int = 0, usage: TokenUsage = CALL
) -> list[UsageEntry]:
    """Returns runs that are all alike."""
    history = []
    for number in range(count):
        run_id = f"run-{number:03d}"
        history += [model_call(usage, START_MS + number, run_id=run_id) for _ in range(model_calls)]
        history += [
            tool_call(f"{number}-{call}", START_MS, 0, run_id=run_id) for call in range(tool_calls)
        ]
    return history


async def test_the_same_tokens_are_priced_at_the_next_cheaper_model() -> None:
    found = await suggest_one(runs(), "cheaper_model")
    # 20 x (1,000 x $3 + 200 x $15 a million) = $0.12, and $0.04 at a third of the price; with 30 %
    # more tokens $0.052.
    assert in_dollars(found) == (0.068, 0.074, 0.08)
    assert found is not None
    assert (found.subject.agent_id, found.subject.model) == ("agent", "claude-large")
    assert found.proposed == "claude-small"
    assert "$0.12 for them" in found.finding
    assert "$0.0400 with claude-small" in found.finding
    assert "30 % more tokens, the low end, $0.0520" in found.finding
    assert "claude-small" in found.change
    assert found.figures["run_count"] == 20
    assert found.figures["output_tokens_per_call"] == 200
    assert found.evidence.run_count == 20
    assert found.evidence.run_ids == tuple(f"run-{number:03d}" for number in range(10))


async def test_a_run_at_every_bound_is_short() -> None:
    usage = TokenUsage(1_000, 1_000)
    assert await suggest_one(runs(model_calls=4, tool_calls=3, usage=usage), "cheaper_model")


async def test_a_run_beyond_any_bound_is_not() -> None:
    for history in (
        runs(model_calls=5),
        runs(tool_calls=4),
        runs(usage=TokenUsage(1_000, 1_001)),
    ):
        assert await suggest_one(history, "cheaper_model") is None


async def test_one_long_run_in_ten_is_passed_over_and_two_are_not() -> None:
    # 18 short runs and 2 long ones, and then 17 and 3 of 20.
    long = [model_call(CALL, run_id=f"long-{run}") for run in range(3) for _ in range(5)]
    assert await suggest_one([*runs(18), *long[:10]], "cheaper_model")
    assert await suggest_one([*runs(17), *long], "cheaper_model") is None


async def test_nine_runs_say_nothing() -> None:
    assert await suggest_one(runs(10), "cheaper_model")
    assert await suggest_one(runs(9), "cheaper_model") is None


async def test_no_cheaper_model_no_suggestion() -> None:
    page = await suggest(runs(), prices=FixedPrices({LARGE.id: CardOptions(LARGE)}))
    assert page.suggestions == ()


async def test_a_model_that_is_cheaper_only_for_as_few_tokens_is_not_suggested() -> None:
    # $2.31 a million: with 30 % more tokens that is $3.003, which is more than $3.
    almost = card("claude-almost", rates(231, 0.01))
    prices = FixedPrices({LARGE.id: CardOptions(LARGE, cheaper=almost)})
    assert (await suggest(runs(), prices=prices)).suggestions == ()


async def test_a_tier_that_only_more_tokens_reach_counts_at_the_low_end() -> None:
    # A call of 80,000 tokens costs $0.24, and $0.08 with the cheaper model; with 30 % more tokens it
    # has 104,000, above the tier of that one, at $2: $0.208.
    small = card("claude-small", rates(1), (Tier(100_000, rates(2)),))
    prices = FixedPrices({LARGE.id: CardOptions(LARGE, cheaper=small)})
    (found,) = (await suggest(runs(usage=TokenUsage(80_000)), prices=prices)).suggestions
    assert in_dollars(found) == (0.64, 1.92, 3.2)
    # 76,923 x 1.3 = 99,999.9 is 100,000 at most, and not above the tier.
    below = runs(usage=TokenUsage(76_923))
    (found,) = (await suggest(below, prices=prices)).suggestions
    assert in_dollars(found)[0] == (20 * 76_923 * 3_000 - -(-20 * 76_923 * 13 // 10) * 1_000) / 1e9


async def test_the_cheaper_model_must_take_the_input_and_more() -> None:
    prices = FixedPrices()
    await suggest(runs(usage=TokenUsage(1_000, 200, 2_000)), prices=prices)
    assert [asked[2] for asked in prices.asked] == [3_900]


async def test_calls_without_an_agent_or_a_run_are_no_runs() -> None:
    nameless = [model_call(CALL, agent_id="", run_id=f"{run}") for run in range(20)]
    runless = [model_call(CALL, run_id="") for _ in range(20)]
    assert (await suggest([*nameless, *runless])).suggestions == ()
