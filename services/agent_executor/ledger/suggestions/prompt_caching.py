"""A beginning that many prompts share may be read from the provider's cache."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from agent_executor.ledger.money import NanoUsd, to_usd
from agent_executor.ledger.prices.rate_card import Rates
from agent_executor.ledger.suggestions.evidence import PrefixRepeats
from agent_executor.ledger.suggestions.prices import CardOptions
from agent_executor.ledger.suggestions.suggestion import Saving, Subject, Suggestion
from agent_executor.ledger.suggestions.wording import counted, dollars, of_agent, percent

# Above it the agent caches already, and what it misses has other reasons.
MAX_CACHED_PERCENT: Final = 10
# A prefix is written again where the cache has lost it, or two calls began at once.
MISSED_PERCENT: Final = 20


class _Lifetime(msgspec.Struct, frozen=True):
    """One way to cache, and what it would have come to.

    Attributes:
        low_pico_usd: What would be saved with ``MISSED_PERCENT`` of the re-reads missed.
        high_pico_usd: What would be saved if every call that follows closely reads.
        break_even_rereads: After how many re-reads of what was written it has paid off.
    """

    name: str
    low_pico_usd: int
    high_pico_usd: int
    reread_count: int
    write_count: int
    break_even_rereads: int


def find(repeats: Sequence[PrefixRepeats], options: Mapping[str, CardOptions]) -> list[Suggestion]:
    """Returns a suggestion for each agent, model and prefix that would pay off to be cached.

    Args:
        repeats: Of all agents.
        options: By id of the card.
    """
    by_prefix: dict[tuple[str, str, str], list[tuple[PrefixRepeats, Rates]]] = defaultdict(list)
    for one in repeats:
        option = options.get(one.rate_card_id)
        if option is not None:
            rates = option.card.rates_for(one.above_input_tokens + 1)
            by_prefix[one.agent_id, one.model, one.prefix_digest].append((one, rates))
    return [
        _suggestion(Subject(agent_id, model, part=digest), priced)
        for (agent_id, model, digest), priced in by_prefix.items()
        if _is_cacheable(priced[0][0], options) and not _is_cached([one for one, _ in priced])
    ]


def _is_cacheable(one: PrefixRepeats, options: Mapping[str, CardOptions]) -> bool:
    return one.prefix_tokens >= options[one.rate_card_id].min_cacheable_tokens


def _is_cached(repeats: Sequence[PrefixRepeats]) -> bool:
    cached = sum(one.cache_read_tokens for one in repeats)
    plain = sum(one.repeated_tokens for one in repeats)
    return cached * 100 > (cached + plain) * MAX_CACHED_PERCENT


def _suggestion(subject: Subject, priced: Sequence[tuple[PrefixRepeats, Rates]]) -> Suggestion:
    spent = sum(one.cost_nano_usd for one, _ in priced)
    calls = sum(one.call_count for one, _ in priced)
    tokens = min(one.prefix_tokens for one, _ in priced)
    close_5m = sum(one.close_5m_count for one, _ in priced)
    best = max(_for_5_minutes(priced), _for_1_hour(priced), key=lambda one: one.low_pico_usd)
    rereads = "re-read" if best.break_even_rereads == 1 else "re-reads"
    return Suggestion(
        kind="prompt_caching",
        subject=subject,
        finding=(
            f"{of_agent(subject.agent_id)} sent the same {tokens:,} tokens at the beginning of "
            f"{counted(calls, 'call')} of {subject.model} for {dollars(spent)}, {close_5m:,} of "
            f"them within 5 minutes after another. Cached for {best.name} they are written "
            f"{best.write_count:,} times and read {best.reread_count:,} times, where a write pays "
            f"off after {best.break_even_rereads} {rereads}; the low end is with {MISSED_PERCENT} "
            "% of the reads missed."
        ),
        change=(
            f"Mark the end of system prompt and tools for the cache, for {best.name}, and keep what "
            "changes from call to call behind it."
        ),
        saving=Saving.between(best.low_pico_usd, best.high_pico_usd, spent),
        figures={
            "prefix_tokens": float(tokens),
            "call_count": float(calls),
            "close_within_5_minutes_percent": float(percent(close_5m, calls)),
            "reread_count": float(best.reread_count),
            "write_count": float(best.write_count),
            "break_even_reread_count": float(best.break_even_rereads),
            "lifetime_seconds": 300.0 if best.name == "5 minutes" else 3600.0,
            "spent_usd": to_usd(NanoUsd(spent)),
        },
    )


def _for_5_minutes(priced: Sequence[tuple[PrefixRepeats, Rates]]) -> _Lifetime:
    parts = [
        (one.repeated_tokens, one.close_5m_tokens, rates, rates.cache_write_5m)
        for one, rates in priced
    ]
    return _lifetime("5 minutes", sum(one.close_5m_count for one, _ in priced), priced, parts)


def _for_1_hour(priced: Sequence[tuple[PrefixRepeats, Rates]]) -> _Lifetime:
    parts = [
        (one.repeated_tokens, one.close_1h_tokens, rates, rates.cache_write_1h)
        for one, rates in priced
    ]
    return _lifetime("1 hour", sum(one.close_1h_count for one, _ in priced), priced, parts)


def _lifetime(
    name: str,
    reread_count: int,
    priced: Sequence[tuple[PrefixRepeats, Rates]],
    parts: Sequence[tuple[int, int, Rates, int]],
) -> _Lifetime:
    low = high = 0
    for repeated_tokens, close_tokens, rates, write_rate in parts:
        missed_tokens = -(-close_tokens * MISSED_PERCENT // 100)
        high += _saved(repeated_tokens, close_tokens, rates, write_rate)
        low += _saved(repeated_tokens, close_tokens - missed_tokens, rates, write_rate)
    _, _, rates, write_rate = parts[0]
    # What is read so often costs less than sent plainly: the first time it is written.
    premium, per_reread = write_rate - rates.input, rates.input - rates.cache_read
    break_even = max(1, -(-premium // per_reread)) if per_reread > 0 else 0
    calls = sum(one.call_count for one, _ in priced)
    return _Lifetime(name, low, high, reread_count, calls - reread_count, break_even)


def _saved(repeated_tokens: int, read_tokens: int, rates: Rates, write_rate: int) -> int:
    written_tokens = repeated_tokens - read_tokens
    by_reading = read_tokens * (rates.input - rates.cache_read)
    return by_reading - written_tokens * (write_rate - rates.input)
