"""What the ledger recorded, added up so far that savings can be computed from it.

Calls are summed up in bands of input: all calls of a band are on the same side of every edge, and
the edges are where the tiers of the rate cards begin, so that one sum has one price. A call counts
as it stands with its corrections, at the card by which it was last rated.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agent_executor.ledger.accounting.token_usage import TokenCounts

# A run is short if it stays within all three.
SHORT_RUN_MAX_MODEL_CALLS: Final = 4
SHORT_RUN_MAX_TOOL_CALLS: Final = 3
SHORT_RUN_MAX_OUTPUT_TOKENS: Final = 1_000

# A run is long from so many model calls on.
LONG_RUN_MIN_MODEL_CALLS: Final = 15
# To how many turns the history may be trimmed: if carefully, and if boldly.
KEPT_TURNS_MOST: Final = 10
KEPT_TURNS_FEWEST: Final = 5

CACHE_5M_MS: Final = 300_000
CACHE_1H_MS: Final = 3_600_000
# No provider caches a shorter prompt.
MIN_CACHEABLE_TOKENS: Final = 512

# How long a tool's result would be kept.
TOOL_CACHE_MS: Final = 3_600_000

# Input is just above the start of a tier if it is so much above it at most.
JUST_ABOVE_PERCENT: Final = 10

# So many of the newest entries are looked at, and all of the last day: enough to know the rate of
# the present by, and few enough to be added up while someone waits.
MAX_ENTRIES: Final = 300_000
# Limits of what is held in memory at a time. Of more, the most expensive are looked at.
MAX_CARDS: Final = 200
MAX_GROUPS: Final = 10_000


class Period(msgspec.Struct, frozen=True):
    """Whose usage is looked at, and of which time.

    Attributes:
        start_ms: The first instant, in milliseconds since 1970-01-01 UTC.
        end_ms: The instant after the last one.
        agent_id: Only this agent's; empty: all.
    """

    organization_id: str
    start_ms: int
    end_ms: int
    agent_id: str = ""


class CardSpending(msgspec.Struct, frozen=True):
    """What was spent by one rate card.

    Attributes:
        rate_card_id: Empty for amounts that were given as such.
        max_input_tokens: The most input that one call had.
    """

    rate_card_id: str
    cost_nano_usd: int
    max_input_tokens: int


class Spending(msgspec.Struct, frozen=True):
    """What was spent in all, and by which cards: of too many the most expensive."""

    cost_nano_usd: int
    cards: tuple[CardSpending, ...] = ()


class CallSums(msgspec.Struct, frozen=True, kw_only=True):
    """Model calls of one agent with one model, at one card, in one band.

    Attributes:
        is_background: Whether nobody waits for their runs.
        above_input_tokens: The edge below the band: every call had more input; 0: the lowest band.
        tokens: Of all calls together.
    """

    agent_id: str
    model: str
    rate_card_id: str
    is_background: bool
    above_input_tokens: int
    call_count: int
    tokens: TokenCounts
    cost_nano_usd: int


class RunShape(msgspec.Struct, frozen=True, kw_only=True):
    """How long the runs of an agent are.

    Attributes:
        short_run_count: How many of them are short.
        output_tokens: Of all model calls together.
    """

    agent_id: str
    run_count: int
    short_run_count: int
    model_call_count: int
    tool_call_count: int
    output_tokens: int


class PrefixRepeats(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one agent with one model whose prompts begin alike, at one card, in one band.

    What is said of calls is of those that neither read the cache nor wrote to it. A call follows
    closely if one with the same prefix, cached or not, was made so short a time before it.

    Attributes:
        prefix_digest: Names the beginning.
        prefix_tokens: How long it is; of different counts the least.
        call_count: How many calls.
        repeated_tokens: Tokens of the prefix in all those calls together, as far as they were paid
            as plain input.
        close_5m_count: How many calls follow closely, within 5 minutes.
        close_5m_tokens: Their part of ``repeated_tokens``.
        close_1h_count: The same within an hour.
        close_1h_tokens: The same within an hour.
        cache_read_tokens: What all calls with this prefix, cached ones too, read from the cache.
        cost_nano_usd: What the calls cost.
    """

    agent_id: str
    model: str
    rate_card_id: str
    prefix_digest: str
    above_input_tokens: int
    prefix_tokens: int
    call_count: int
    repeated_tokens: int
    close_5m_count: int
    close_5m_tokens: int
    close_1h_count: int
    close_1h_tokens: int
    cache_read_tokens: int
    cost_nano_usd: int


class HistorySums(msgspec.Struct, frozen=True, kw_only=True):
    """Model calls in long runs of one agent with one model, at one card, in one band.

    The turns of a history count as equally long. Where a call read the cache nothing counts as
    left out, for a history that is cut is cached no longer.

    Attributes:
        input_tokens: All input, cached or not.
        history_tokens: How much of it was earlier turns.
        least_removed_tokens: Plain input that would be left out by keeping ``KEPT_TURNS_MOST``.
        most_removed_tokens: The same by keeping ``KEPT_TURNS_FEWEST``.
    """

    agent_id: str
    model: str
    rate_card_id: str
    above_input_tokens: int
    call_count: int
    input_tokens: int
    history_tokens: int
    least_removed_tokens: int
    most_removed_tokens: int
    cost_nano_usd: int


class ToolRepeats(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one tool, and those that had equal ones before them within an hour.

    Attributes:
        certain_count: Calls that had an equal one before them in the same hour by the clock, so that
            a cache that keeps results for an hour has theirs, whenever it began.
        certain_cost_nano_usd: What these cost.
        possible_count: Calls that had an equal one within the hour before them.
        possible_cost_nano_usd: What these cost.
    """

    tool_name: str
    call_count: int
    cost_nano_usd: int
    certain_count: int
    certain_cost_nano_usd: int
    possible_count: int
    possible_cost_nano_usd: int


def kept_history_tokens(history_tokens: int, earlier_turns: int, kept_turns: int) -> int:
    """Returns how much of a history is left of so many turns, each equally long; rounded up."""
    if earlier_turns <= kept_turns:
        return history_tokens
    return -(-history_tokens * kept_turns // earlier_turns)
