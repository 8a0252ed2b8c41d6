"""In which calls something was found, from entries in memory: the twin of ``evidence_statements``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.suggestions.calls_in_memory import (
    calls_of_long_runs,
    is_close,
    prefixed_calls,
    repeated_tool_calls,
    stated_calls,
)
from agent_executor.ledger.suggestions.evidence import TOOL_CACHE_MS, Period
from agent_executor.ledger.suggestions.prices import just_above
from agent_executor.ledger.suggestions.suggestion import Kind, Subject


def found_in(
    entries: Iterable[UsageEntry], period: Period, kind: Kind, subjects: Collection[Subject]
) -> Iterable[tuple[Subject, UsageEntry]]:
    """Returns the calls in which suggestions of a kind were found, each with its subject.

    Args:
        entries: Of every organization.
        period: As looked at.
        kind: What was found.
        subjects: Whom it concerns; calls of others may be returned too.
    """
    if kind == "tool_result_cache":
        return _repeated_tools(entries, period)
    if kind == "prompt_caching":
        prefixed = prefixed_calls(entries, period)
        plain = (one.call for one in prefixed if one.plain_tokens)
        return ((_subject(call, call.purpose.content_digest), call) for call in plain)
    if kind == "history_trimming":
        return ((_subject(one.call), one.call) for one in calls_of_long_runs(entries, period))
    calls = stated_calls(entries, period)
    if kind == "tier_cliff":
        return _just_above(calls, {int(subject.part) for subject in subjects})
    if kind == "batch":
        calls = [call for call in calls if call.purpose.is_background and not call.processing]
    return ((_subject(call), call) for call in calls)


def _repeated_tools(
    entries: Iterable[UsageEntry], period: Period
) -> Iterator[tuple[Subject, UsageEntry]]:
    for one in repeated_tool_calls(entries, period):
        if is_close(one.gap_ms, TOOL_CACHE_MS):
            yield Subject(tool_name=one.call.tool_name), one.call


def _just_above(
    calls: Iterable[UsageEntry], starts: Collection[int]
) -> Iterator[tuple[Subject, UsageEntry]]:
    for call in calls:
        inputs = call.usage.total_input_tokens
        reached = [start for start in starts if start < inputs <= just_above(start)]
        if reached:
            yield _subject(call, str(max(reached))), call


def _subject(call: UsageEntry, part: str = "") -> Subject:
    return Subject(call.agent_id, call.model, part=part)
