"""Caching is suggested for a beginning that is sent again soon enough, often enough, uncached."""

from __future__ import annotations

from agent_executor.ledger.accounting.entry import Purpose, UsageEntry
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.prices.rate_card import Rates
from agent_executor.ledger.suggestions.prices import CardOptions
from tests.unit.ledger.suggestions.recorded_usage import (
    HOUR_MS,
    LARGE,
    LARGE_BATCH,
    MINUTE_MS,
    SMALL,
    START_MS,
    FixedPrices,
    card,
    in_dollars,
    model_call,
    rates,
    suggest,
    suggest_one,
)

PREFIX = Purpose("digest", prefix_tokens=10_000)


def calls(
    count: int, gap_ms: int, usage: TokenUsage | None = None, purpose: Purpose = PREFIX
) -> list[UsageEntry]:
    """Returns calls with the same beginning, so long after one another."""
    return [
        model_call(
            usage or TokenUsage(10_500, 10),
            START_MS + number * gap_ms,
            run_id=f"run-{number:03d}",
            purpose=purpose,
        )
        for number in range(count)
    ]


async def test_a_beginning_that_repeats_within_5_minutes_is_written_once_and_read() -> None:
    found = await suggest_one(calls(11, 5 * MINUTE_MS), "prompt_caching")
    # Each read saves 10,000 x ($3 - $0.30) = $0.027, a write costs 10,000 x $0.75 = $0.0075 more.
    # 10 reads and 1 write save $0.2625; with 2 of the reads missed, 8 and 3, $0.1935.
    assert in_dollars(found) == (0.1935, 0.228, 0.2625)
    assert found is not None
    assert found.subject.part == "digest"
    assert "for 5 minutes, and" in found.change
    assert "a write pays off after 1 re-read;" in found.finding
    assert "written 1 times and read 10 times" in found.finding
    assert found.figures["break_even_reread_count"] == 1
    assert found.figures["lifetime_seconds"] == 300
    assert found.figures["prefix_tokens"] == 10_000
    assert found.evidence.run_count == 11


async def test_beyond_5_minutes_it_is_kept_for_an_hour() -> None:
    found = await suggest_one(calls(11, 5 * MINUTE_MS + 1), "prompt_caching")
    # A write for an hour costs 10,000 x $3 = $0.03 more: 10 reads and 1 write save $0.24; 8 and 3
    # save $0.126.
    assert in_dollars(found) == (0.126, 0.183, 0.24)
    assert found is not None
    assert "for 1 hour, and" in found.change
    assert "a write pays off after 2 re-reads;" in found.finding
    assert found.figures["break_even_reread_count"] == 2


async def test_beyond_an_hour_nothing_is_suggested() -> None:
    assert await suggest_one(calls(11, HOUR_MS), "prompt_caching")
    assert await suggest_one(calls(11, HOUR_MS + 1), "prompt_caching") is None


async def test_pairs_within_an_hour_do_not_pay_off_for_an_hour() -> None:
    # Each pair is one write and one re-read 10 minutes later: below the break-even of two.
    pairs = [
        model_call(
            TokenUsage(10_500, 10),
            START_MS + pair * 3 * HOUR_MS + second * 10 * MINUTE_MS,
            purpose=PREFIX,
        )
        for pair in range(20)
        for second in range(2)
    ]
    assert await suggest_one(pairs, "prompt_caching") is None


async def test_who_caches_already_is_left_alone() -> None:
    # 10 % of all is a ninth of the 11 x 10,000 plain tokens: 12,222.
    little = model_call(TokenUsage(0, 10, 12_222), START_MS - 1, purpose=PREFIX)
    more = model_call(TokenUsage(0, 10, 12_223), START_MS - 1, purpose=PREFIX)
    assert await suggest_one([little, *calls(11, MINUTE_MS)], "prompt_caching")
    assert await suggest_one([more, *calls(11, MINUTE_MS)], "prompt_caching") is None


async def test_a_call_that_used_the_cache_gives_others_a_close_one_and_saves_nothing_itself() -> (
    None
):
    written = model_call(
        TokenUsage(500, 10, 0, 10_000), START_MS - MINUTE_MS, purpose=PREFIX, run_id="cached"
    )
    found = await suggest_one([written, *calls(11, MINUTE_MS)], "prompt_caching")
    # All 11 read, none writes: 11 x $0.027; with a fifth, 22,000 tokens, missed and written,
    # 88,000 x $2.70 - 22,000 x $0.75 a million.
    assert in_dollars(found)[0] == 0.2211
    assert in_dollars(found)[2] == 0.297
    assert found is not None
    assert "cached" not in found.evidence.run_ids


async def test_a_prompt_below_the_model_s_minimum_is_not_cached() -> None:
    exact = calls(40, MINUTE_MS, purpose=Purpose("digest", prefix_tokens=1_024))
    short = calls(40, MINUTE_MS, purpose=Purpose("digest", prefix_tokens=1_023))
    assert await suggest_one(exact, "prompt_caching")
    assert await suggest_one(short, "prompt_caching") is None


async def test_no_more_than_the_plain_input_is_cached() -> None:
    # The prefix is said to be longer than the input was: what was not paid for is not saved.
    found = await suggest_one(calls(11, MINUTE_MS, TokenUsage(5_000, 10), PREFIX), "prompt_caching")
    assert in_dollars(found)[2] == 0.13125


async def test_another_digest_another_prompt() -> None:
    history = [
        model_call(
            TokenUsage(10_500, 10),
            START_MS + number * MINUTE_MS,
            purpose=Purpose(f"{number}", prefix_tokens=10_000),
        )
        for number in range(20)
    ]
    assert await suggest_one(history, "prompt_caching") is None
    unknown = calls(20, MINUTE_MS, purpose=Purpose("", prefix_tokens=10_000))
    assert await suggest_one(unknown, "prompt_caching") is None


async def test_a_model_without_a_price_for_the_cache_is_left_out() -> None:
    plain = rates(3)
    flat = card("claude-flat", Rates(plain.input, plain.output, *(plain.input,) * 3))
    history = [
        model_call(
            TokenUsage(10_500, 10), START_MS + number * MINUTE_MS, priced_by=flat, purpose=PREFIX
        )
        for number in range(20)
    ]
    page = await suggest(history, prices=FixedPrices({flat.id: CardOptions(flat)}))
    assert page.suggestions == ()


async def test_calls_at_batch_price_do_not_count() -> None:
    history = [
        model_call(
            TokenUsage(10_500, 10),
            START_MS + number * MINUTE_MS,
            priced_by=LARGE_BATCH,
            purpose=PREFIX,
        )
        for number in range(20)
    ]
    assert await suggest_one(history, "prompt_caching") is None


async def test_calls_at_two_prices_are_one_suggestion() -> None:
    # The price fell in between: the same prompt, read at what each call would have cost.
    dear = calls(11, MINUTE_MS)
    later = [
        model_call(
            TokenUsage(10_500, 10),
            call.occurred_at_ms + 11 * MINUTE_MS,
            priced_by=SMALL,
            purpose=PREFIX,
            model=LARGE.model,
        )
        for call in dear
    ]
    found = await suggest_one([*dear, *later], "prompt_caching")
    # $0.2625 as above, and 11 reads that save 10,000 x $0.90 = $0.009 each.
    assert in_dollars(found)[2] == 0.3615
