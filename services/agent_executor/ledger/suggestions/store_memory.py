"""What was recorded, added up from entries in memory, as the databases do it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.suggestions.calls_in_memory import (
    LongRunCall,
    PrefixedCall,
    RepeatedToolCall,
    calls_of_long_runs,
    is_close,
    is_in,
    prefixed_calls,
    repeated_tool_calls,
    stated_calls,
    sum_tokens,
)
from agent_executor.ledger.suggestions.evidence import (
    CACHE_1H_MS,
    CACHE_5M_MS,
    KEPT_TURNS_FEWEST,
    KEPT_TURNS_MOST,
    MAX_CARDS,
    MAX_GROUPS,
    SHORT_RUN_MAX_MODEL_CALLS,
    SHORT_RUN_MAX_OUTPUT_TOKENS,
    SHORT_RUN_MAX_TOOL_CALLS,
    TOOL_CACHE_MS,
    CallSums,
    CardSpending,
    HistorySums,
    Period,
    PrefixRepeats,
    RunShape,
    Spending,
    ToolRepeats,
    kept_history_tokens,
)
from agent_executor.ledger.suggestions.found_in_memory import found_in
from agent_executor.ledger.suggestions.suggestion import (
    MAX_EVIDENCE_RUNS,
    Evidence,
    Kind,
    Subject,
)

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)
Sums = TypeVar("Sums", CallSums, PrefixRepeats, HistorySums, ToolRepeats)


class MemoryEvidenceStore:
    """``EvidenceStore`` over entries in memory.

    Args:
        entries: Returns the entries of every organization, in the order of their writing; called for
            each question.
    """

    def __init__(self, entries: Callable[[], Iterable[UsageEntry]]) -> None:
        self._entries = entries

    async def occurrence_of_newest(self, period: Period, number: int) -> int | None:
        """See ``EvidenceStore``."""
        everyone = msgspec.structs.replace(period, agent_id="")
        times = sorted(one.occurred_at_ms for one in self._entries() if is_in(everyone, one))
        return times[-number] if len(times) >= number else None

    async def spending(self, period: Period) -> Spending:
        """See ``EvidenceStore``."""
        costs: Counter[str] = Counter()
        most_input: Counter[str] = Counter()
        for entry in self._entries():
            if is_in(period, entry):
                card = entry.rate_card_id
                costs[card] += entry.cost_nano_usd
                most_input[card] = max(most_input[card], entry.usage.total_input_tokens)
        cards = [CardSpending(card, cost, most_input[card]) for card, cost in costs.items()]
        cards.sort(key=lambda one: (-one.cost_nano_usd, one.rate_card_id))
        return Spending(sum(costs.values()), tuple(cards[:MAX_CARDS]))

    async def call_sums(self, period: Period, edges: Sequence[int]) -> list[CallSums]:
        """See ``EvidenceStore``."""
        groups = _grouped(
            stated_calls(self._entries(), period),
            lambda call: (
                *(call.agent_id, call.model, call.rate_card_id, call.purpose.is_background),
                _edge_below(call, edges),
            ),
        )
        return _dearest(
            CallSums(
                agent_id=agent_id,
                model=model,
                rate_card_id=card,
                is_background=is_background,
                above_input_tokens=edge,
                call_count=len(calls),
                tokens=sum_tokens(call.usage for call in calls),
                cost_nano_usd=sum(call.cost_nano_usd for call in calls),
            )
            for (agent_id, model, card, is_background, edge), calls in groups.items()
        )

    async def run_shapes(self, period: Period) -> list[RunShape]:
        """See ``EvidenceStore``."""
        entries = (
            entry
            for entry in self._entries()
            if is_in(period, entry) and entry.agent_id and entry.run_id
            if entry.kind in ("model_call", "tool_call")
        )
        runs = _grouped(entries, lambda entry: (entry.agent_id, entry.run_id))
        by_agent: dict[str, list[list[UsageEntry]]] = defaultdict(list)
        for (agent_id, _), run in runs.items():
            if any(entry.kind == "model_call" for entry in run):
                by_agent[agent_id].append(run)
        return [_shape(agent_id, runs) for agent_id, runs in by_agent.items()]

    async def prefix_repeats(self, period: Period, edges: Sequence[int]) -> list[PrefixRepeats]:
        """See ``EvidenceStore``."""
        groups = _grouped(
            prefixed_calls(self._entries(), period),
            lambda one: (
                *(one.call.agent_id, one.call.model, one.call.rate_card_id),
                *(one.call.purpose.content_digest, _edge_below(one.call, edges)),
            ),
        )
        found = (_prefix_repeats(key, calls) for key, calls in groups.items())
        return _dearest(one for one in found if one.call_count)

    async def history_sums(self, period: Period, edges: Sequence[int]) -> list[HistorySums]:
        """See ``EvidenceStore``."""
        groups = _grouped(
            calls_of_long_runs(self._entries(), period),
            lambda one: (
                *(one.call.agent_id, one.call.model, one.call.rate_card_id),
                _edge_below(one.call, edges),
            ),
        )
        return _dearest(_history_sums(key, calls) for key, calls in groups.items())

    async def tool_repeats(self, period: Period) -> list[ToolRepeats]:
        """See ``EvidenceStore``."""
        groups = _grouped(
            repeated_tool_calls(self._entries(), period), lambda one: one.call.tool_name
        )
        found = (_tool_repeats(tool_name, calls) for tool_name, calls in groups.items())
        return _dearest(one for one in found if one.possible_cost_nano_usd > 0)

    async def evidence(
        self, period: Period, kind: Kind, subjects: Collection[Subject]
    ) -> Mapping[Subject, Evidence]:
        """See ``EvidenceStore``."""
        costs: dict[Subject, Counter[str]] = defaultdict(Counter)
        for subject, call in found_in(self._entries(), period, kind, subjects):
            if call.run_id and subject in subjects:
                costs[subject][call.run_id] += call.cost_nano_usd
        return {
            subject: Evidence(
                tuple(sorted(runs, key=lambda run: (-runs[run], run))[:MAX_EVIDENCE_RUNS]),
                len(runs),
            )
            for subject, runs in costs.items()
        }


def _grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    groups: dict[Key, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups


def _dearest(found: Iterable[Sums]) -> list[Sums]:
    return sorted(found, key=lambda one: -one.cost_nano_usd)[:MAX_GROUPS]


def _edge_below(call: UsageEntry, edges: Sequence[int]) -> int:
    inputs = call.usage.total_input_tokens
    return max((edge for edge in edges if inputs > edge), default=0)


def _shape(agent_id: str, runs: Sequence[Sequence[UsageEntry]]) -> RunShape:
    model_calls = [[one for one in run if one.kind == "model_call"] for run in runs]
    return RunShape(
        agent_id=agent_id,
        run_count=len(runs),
        short_run_count=sum(
            len(calls) <= SHORT_RUN_MAX_MODEL_CALLS
            and len(run) - len(calls) <= SHORT_RUN_MAX_TOOL_CALLS
            and max(one.usage.output_tokens for one in run) <= SHORT_RUN_MAX_OUTPUT_TOKENS
            for run, calls in zip(runs, model_calls, strict=True)
        ),
        model_call_count=sum(map(len, model_calls)),
        tool_call_count=sum(map(len, runs)) - sum(map(len, model_calls)),
        output_tokens=sum(one.usage.output_tokens for calls in model_calls for one in calls),
    )


def _prefix_repeats(
    key: tuple[str, str, str, str, int], calls: Sequence[PrefixedCall]
) -> PrefixRepeats:
    agent_id, model, card, digest, edge = key
    plain = [one for one in calls if one.plain_tokens]
    close_5m = [one for one in plain if is_close(one.gap_ms, CACHE_5M_MS)]
    close_1h = [one for one in plain if is_close(one.gap_ms, CACHE_1H_MS)]
    return PrefixRepeats(
        agent_id=agent_id,
        model=model,
        rate_card_id=card,
        prefix_digest=digest,
        above_input_tokens=edge,
        prefix_tokens=min(one.call.purpose.prefix_tokens for one in calls),
        call_count=len(plain),
        repeated_tokens=sum(one.plain_tokens for one in plain),
        close_5m_count=len(close_5m),
        close_5m_tokens=sum(one.plain_tokens for one in close_5m),
        close_1h_count=len(close_1h),
        close_1h_tokens=sum(one.plain_tokens for one in close_1h),
        cache_read_tokens=sum(one.call.usage.cache_read_input_tokens for one in calls),
        cost_nano_usd=sum(one.call.cost_nano_usd for one in plain),
    )


def _history_sums(key: tuple[str, str, str, int], calls: Sequence[LongRunCall]) -> HistorySums:
    agent_id, model, card, edge = key
    return HistorySums(
        agent_id=agent_id,
        model=model,
        rate_card_id=card,
        above_input_tokens=edge,
        call_count=len(calls),
        input_tokens=sum(one.call.usage.total_input_tokens for one in calls),
        history_tokens=sum(one.history_tokens for one in calls),
        least_removed_tokens=sum(_removed(one, KEPT_TURNS_MOST) for one in calls),
        most_removed_tokens=sum(_removed(one, KEPT_TURNS_FEWEST) for one in calls),
        cost_nano_usd=sum(one.call.cost_nano_usd for one in calls),
    )


def _removed(one: LongRunCall, kept_turns: int) -> int:
    usage = one.call.usage
    if usage.cache_read_input_tokens:
        return 0
    kept = kept_history_tokens(one.history_tokens, one.earlier_turns, kept_turns)
    return min(one.history_tokens - kept, usage.input_tokens)


def _tool_repeats(tool_name: str, calls: Sequence[RepeatedToolCall]) -> ToolRepeats:
    certain = [one.call.cost_nano_usd for one in calls if one.is_repeated_in_hour]
    possible = [one.call.cost_nano_usd for one in calls if is_close(one.gap_ms, TOOL_CACHE_MS)]
    return ToolRepeats(
        tool_name=tool_name,
        call_count=len(calls),
        cost_nano_usd=sum(one.call.cost_nano_usd for one in calls),
        certain_count=len(certain),
        certain_cost_nano_usd=sum(certain),
        possible_count=len(possible),
        possible_cost_nano_usd=sum(possible),
    )
