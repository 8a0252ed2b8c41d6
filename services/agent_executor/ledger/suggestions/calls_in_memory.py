"""Entries in memory as calls, each with what only its neighbours tell: the twins of the SQL."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.token_usage import TokenCounts
from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.suggestions.evidence import (
    LONG_RUN_MIN_MODEL_CALLS,
    MIN_CACHEABLE_TOKENS,
    TOOL_CACHE_MS,
    Period,
)


class PrefixedCall(msgspec.Struct, frozen=True):
    """A model call with a known prefix.

    Attributes:
        plain_tokens: How much of the prefix was plain input; 0 if the call used the cache.
        gap_ms: The time since the last call with this prefix; None for the first.
    """

    call: UsageEntry
    plain_tokens: int
    gap_ms: int | None


class LongRunCall(msgspec.Struct, frozen=True):
    """A model call in a long run, and how many calls of the run were before it."""

    call: UsageEntry
    earlier_turns: int

    @property
    def history_tokens(self) -> int:
        """How much of the input was earlier turns."""
        return min(self.call.purpose.history_tokens, self.call.usage.total_input_tokens)


class RepeatedToolCall(msgspec.Struct, frozen=True):
    """A tool call.

    Attributes:
        gap_ms: The time since an equal call; None for the first.
        is_repeated_in_hour: Whether an equal call was before it in the same hour by the clock.
    """

    call: UsageEntry
    gap_ms: int | None
    is_repeated_in_hour: bool


def is_in(period: Period, entry: UsageEntry) -> bool:
    """Tells whether an entry is of the period."""
    return (
        entry.organization_id == period.organization_id
        and period.start_ms <= entry.occurred_at_ms < period.end_ms
        and period.agent_id in ("", entry.agent_id)
    )


def is_close(gap_ms: int | None, limit_ms: int) -> bool:
    """Tells whether a call was made so short a time after an equal one."""
    return gap_ms is not None and gap_ms <= limit_ms


def stated_calls(entries: Iterable[UsageEntry], period: Period) -> list[UsageEntry]:
    """Returns model calls as they stand with their corrections, in the order of time."""
    calls, changes = [], defaultdict(list)
    for entry in entries:
        if entry.kind == "model_call" and is_in(period, entry):
            calls.append(entry)
        elif entry.corrects_entry_id and entry.organization_id == period.organization_id:
            changes[entry.corrects_entry_id].append(entry)
    stated = [_with_changes(call, changes.get(call.id, [])) for call in calls]
    return sorted(
        (call for call in stated if call is not None), key=lambda call: call.occurred_at_ms
    )


def sum_tokens(usages: Iterable[TokenCounts]) -> TokenCounts:
    """Returns the sum of usages by class."""
    return TokenCounts(*map(sum, zip(*map(msgspec.structs.astuple, usages), strict=True)))


def prefixed_calls(entries: Iterable[UsageEntry], period: Period) -> Iterator[PrefixedCall]:
    """Yields calls with a prefix that can be cached, in the order of time."""
    last: dict[tuple[str, str, str], int] = {}
    for call in stated_calls(entries, period):
        purpose, usage = call.purpose, call.usage
        if not purpose.content_digest or call.processing:
            continue
        if purpose.prefix_tokens < MIN_CACHEABLE_TOKENS:
            continue
        key = (call.agent_id, call.model, purpose.content_digest)
        gap_ms = call.occurred_at_ms - last[key] if key in last else None
        last[key] = call.occurred_at_ms
        is_plain = usage.input_tokens == usage.total_input_tokens
        plain_tokens = min(purpose.prefix_tokens, usage.input_tokens) if is_plain else 0
        yield PrefixedCall(call, plain_tokens, gap_ms)


def calls_of_long_runs(entries: Iterable[UsageEntry], period: Period) -> list[LongRunCall]:
    """Returns the calls of long runs, in the order of time."""
    runs: Counter[tuple[str, str]] = Counter()
    numbered = []
    for call in stated_calls(entries, period):
        if call.run_id and call.attempt == 1:
            run = (call.agent_id, call.run_id)
            numbered.append(LongRunCall(call, runs[run]))
            runs[run] += 1
    return [
        one
        for one in numbered
        if runs[one.call.agent_id, one.call.run_id] >= LONG_RUN_MIN_MODEL_CALLS
    ]


def repeated_tool_calls(
    entries: Iterable[UsageEntry], period: Period
) -> Iterator[RepeatedToolCall]:
    """Yields tool calls with known arguments, in the order of time."""
    calls = [
        entry
        for entry in entries
        if entry.kind == "tool_call" and entry.purpose.content_digest and is_in(period, entry)
    ]
    last: dict[tuple[str, str], int] = {}
    for call in sorted(calls, key=lambda call: call.occurred_at_ms):
        key = (call.tool_name, call.purpose.content_digest)
        before = last.get(key)
        last[key] = call.occurred_at_ms
        if before is None:
            yield RepeatedToolCall(call, None, is_repeated_in_hour=False)
        else:
            is_repeated = before // TOOL_CACHE_MS == call.occurred_at_ms // TOOL_CACHE_MS
            yield RepeatedToolCall(call, call.occurred_at_ms - before, is_repeated)


def _with_changes(call: UsageEntry, changes: list[UsageEntry]) -> UsageEntry | None:
    """Returns a call as it stands; None if it was rated again by different cards."""
    cards = {change.rate_card_id for change in changes if change.kind == "rerating"}
    if len(cards) > 1:
        return None
    return msgspec.structs.replace(
        call,
        usage=sum_tokens([call.usage, *(change.usage for change in changes)]),
        cost_nano_usd=NanoUsd(sum(one.cost_nano_usd for one in (call, *changes))),
        rate_card_id=cards.pop() if cards else call.rate_card_id,
    )
