"""In which runs something was found, as SQL: of each subject the most expensive ones."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import BigInteger, Select, Text, and_, case, func, literal, or_, select

from agent_executor.ledger.suggestions.evidence import TOOL_CACHE_MS, Period
from agent_executor.ledger.suggestions.prices import just_above
from agent_executor.ledger.suggestions.statements import (
    calls_of_long_runs,
    model_calls,
    prefixed_calls,
    repeated_tool_calls,
    total,
    total_input,
)
from agent_executor.ledger.suggestions.suggestion import MAX_EVIDENCE_RUNS, Kind, Subject

_NOTHING = literal("", Text)


def evidence(period: Period, kind: Kind, subjects: Collection[Subject]) -> Select[Any]:
    """Selects runs of the subjects, those of highest cost first, and how many there are of each."""
    found = _found(period, kind, subjects).subquery("found")
    keys = [found.c[name] for name in Subject.__struct_fields__]
    runs = (
        select(*keys, found.c.run_id, total(found.c.cost_nano_usd).label("cost_nano_usd"))
        .where(found.c.run_id != "")
        .group_by(*keys, found.c.run_id)
        .subquery("runs")
    )
    of_subject = [runs.c[name] for name in Subject.__struct_fields__]
    ranked = select(
        runs,
        func.row_number()
        .over(partition_by=of_subject, order_by=(runs.c.cost_nano_usd.desc(), runs.c.run_id))
        .label("number"),
        func.count().over(partition_by=of_subject).label("run_count"),
    ).subquery("ranked")
    is_asked_for = or_(
        *(
            and_(*(ranked.c[name] == getattr(subject, name) for name in Subject.__struct_fields__))
            for subject in subjects
        )
    )
    return (
        select(ranked)
        .where(ranked.c.number <= MAX_EVIDENCE_RUNS, is_asked_for)
        .order_by(ranked.c.number)
    )


def _found(period: Period, kind: Kind, subjects: Collection[Subject]) -> Select[Any]:
    """Selects the calls in which it was found, each with its subject, its run and its cost."""
    if kind == "tool_result_cache":
        call = repeated_tool_calls(period).c
        return _columns(call, tool_name=call.tool_name).where(call.gap_ms <= TOOL_CACHE_MS)
    if kind == "prompt_caching":
        call = prefixed_calls(period).c
        rows = _of_model(call, part=call.content_digest)
        return rows.where(call.plain_tokens > 0)
    if kind == "history_trimming":
        return _of_model(calls_of_long_runs(period).c)
    call = model_calls(period).c
    if kind == "tier_cliff":
        starts = sorted({int(subject.part) for subject in subjects}, reverse=True)
        inputs = total_input(call)
        above = [inputs.between(start + 1, just_above(start)) for start in starts]
        part = case(*((one, str(start)) for one, start in zip(above, starts, strict=True)))
        return _of_model(call, part=part).where(or_(*above))
    rows = _of_model(call)
    if kind == "batch":
        return rows.where(call.is_background == 1, call.processing == "")
    return rows


def _of_model(call: Any, part: Any = _NOTHING) -> Select[Any]:
    return _columns(call, agent_id=call.agent_id, model=call.model, part=part)


def _columns(
    call: Any,
    *,
    agent_id: Any = _NOTHING,
    model: Any = _NOTHING,
    tool_name: Any = _NOTHING,
    part: Any = _NOTHING,
) -> Select[Any]:
    return select(
        agent_id.label("agent_id"),
        model.label("model"),
        tool_name.label("tool_name"),
        part.label("part"),
        call.run_id,
        call.cost_nano_usd.cast(BigInteger).label("cost_nano_usd"),
    )
