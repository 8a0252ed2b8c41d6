"""The questions of ``EvidenceStore`` as SQL that is good in SQLite and in PostgreSQL alike.

Sums are made where the rows are. The sum of BIGINTs is a NUMERIC in PostgreSQL, so each sum is cast
back; no sum here comes near to 2**63, which is 9 billion dollars.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    Subquery,
    and_,
    case,
    cast,
    func,
    literal,
    literal_column,
    or_,
    select,
)

from agent_executor.ledger.suggestions.evidence import (
    CACHE_1H_MS,
    CACHE_5M_MS,
    KEPT_TURNS_FEWEST,
    KEPT_TURNS_MOST,
    LONG_RUN_MIN_MODEL_CALLS,
    MAX_CARDS,
    MAX_GROUPS,
    MIN_CACHEABLE_TOKENS,
    SHORT_RUN_MAX_MODEL_CALLS,
    SHORT_RUN_MAX_OUTPUT_TOKENS,
    SHORT_RUN_MAX_TOOL_CALLS,
    TOOL_CACHE_MS,
    Period,
)
from agent_executor.ledger.tables import USAGE_ENTRIES

Number: TypeAlias = ColumnElement[int]

TOKEN_CLASSES: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens_5m",
    "cache_creation_input_tokens_1h",
)
_ENTRY: Final = USAGE_ENTRIES.c
_CACHE_CLASSES: Final = TOKEN_CLASSES[2:]


def newest(period: Period, number: int) -> Select[Any]:
    """Selects when one of the newest entries occurred; an index has the answer."""
    return (
        select(_ENTRY.occurred_at_ms)
        .where(_in_time(period))
        .order_by(_ENTRY.occurred_at_ms.desc())
        .limit(1)
        .offset(number - 1)
    )


def spending(period: Period) -> Select[Any]:
    """Selects what was spent by each card, and by all."""
    cost = total(_ENTRY.cost_nano_usd)
    return (
        select(
            _ENTRY.rate_card_id,
            cost.label("cost_nano_usd"),
            func.max(total_input(_ENTRY)).label("max_input_tokens"),
            cast(func.sum(cost).over(), BigInteger).label("all_nano_usd"),
        )
        .where(_in_period(period))
        .group_by(_ENTRY.rate_card_id)
        .order_by(cost.desc(), _ENTRY.rate_card_id)
        .limit(MAX_CARDS)
    )


def call_sums(period: Period, edges: Sequence[int]) -> Select[Any]:
    """Selects sums of model calls."""
    call = model_calls(period, edges).c
    keys = (call.agent_id, call.model, call.rate_card_id, call.is_background, call.band)
    tokens = [total(call[name]).label(name) for name in TOKEN_CLASSES]
    return _grouped(keys, call.cost_nano_usd, [_count().label("call_count"), *tokens])


def run_shapes(period: Period) -> Select[Any]:
    """Selects how long runs are."""
    is_model_call = _ENTRY.kind == "model_call"
    model_calls_of_run = count_if(is_model_call)
    tool_calls_of_run = count_if(_ENTRY.kind == "tool_call")
    runs = (
        select(
            _ENTRY.agent_id,
            _ENTRY.run_id,
            model_calls_of_run.label("model_call_count"),
            tool_calls_of_run.label("tool_call_count"),
            func.max(_ENTRY.output_tokens).label("most_output_tokens"),
            sum_if(is_model_call, _ENTRY.output_tokens).label("output_tokens"),
            total(_ENTRY.cost_nano_usd).label("cost_nano_usd"),
        )
        .where(
            _in_period(period),
            or_(is_model_call, _ENTRY.kind == "tool_call"),
            _ENTRY.agent_id != "",
            _ENTRY.run_id != "",
        )
        .group_by(_ENTRY.agent_id, _ENTRY.run_id)
        .having(model_calls_of_run > 0)
    ).subquery("runs")
    run = runs.c
    is_short = and_(
        run.model_call_count <= SHORT_RUN_MAX_MODEL_CALLS,
        run.tool_call_count <= SHORT_RUN_MAX_TOOL_CALLS,
        run.most_output_tokens <= SHORT_RUN_MAX_OUTPUT_TOKENS,
    )
    sums = [
        _count().label("run_count"),
        count_if(is_short).label("short_run_count"),
        *(
            total(run[name]).label(name)
            for name in ("model_call_count", "tool_call_count", "output_tokens")
        ),
    ]
    return _grouped((run.agent_id,), run.cost_nano_usd, sums)


def prefix_repeats(period: Period, edges: Sequence[int]) -> Select[Any]:
    """Selects prompts whose beginning repeats."""
    prefixed = prefixed_calls(period, edges)
    before = func.lag(prefixed.c.occurred_at_ms).over(
        partition_by=(prefixed.c.agent_id, prefixed.c.model, prefixed.c.content_digest),
        order_by=_in_order(prefixed.c),
    )
    gap_ms = (prefixed.c.occurred_at_ms - before).label("gap_ms")
    call = select(prefixed, gap_ms).subquery("followed").c
    keys = (call.agent_id, call.model, call.rate_card_id, call.content_digest, call.band)
    is_plain = call.plain_tokens > 0
    close_5m = and_(is_plain, call.gap_ms <= CACHE_5M_MS)
    close_1h = and_(is_plain, call.gap_ms <= CACHE_1H_MS)
    sums = [
        func.min(call.prefix_tokens).label("prefix_tokens"),
        count_if(is_plain).label("call_count"),
        total(call.plain_tokens).label("repeated_tokens"),
        count_if(close_5m).label("close_5m_count"),
        sum_if(close_5m, call.plain_tokens).label("close_5m_tokens"),
        count_if(close_1h).label("close_1h_count"),
        sum_if(close_1h, call.plain_tokens).label("close_1h_tokens"),
        total(call.cache_read_input_tokens).label("cache_read_tokens"),
    ]
    cost = case((is_plain, call.cost_nano_usd), else_=literal(0, Integer))
    return _grouped(keys, cost, sums).having(count_if(is_plain) > 0)


def history_sums(period: Period, edges: Sequence[int]) -> Select[Any]:
    """Selects model calls in long runs."""
    long = calls_of_long_runs(period, edges)
    number = func.row_number().over(
        partition_by=(long.c.agent_id, long.c.run_id), order_by=_in_order(long.c)
    )
    call = select(long, number.label("number")).subquery("numbered").c
    keys = (call.agent_id, call.model, call.rate_card_id, call.band)
    sums = [
        _count().label("call_count"),
        total(call.total_input_tokens).label("input_tokens"),
        total(call.history).label("history_tokens"),
        total(_removed(call, KEPT_TURNS_MOST)).label("least_removed_tokens"),
        total(_removed(call, KEPT_TURNS_FEWEST)).label("most_removed_tokens"),
    ]
    return _grouped(keys, call.cost_nano_usd, sums)


def tool_repeats(period: Period) -> Select[Any]:
    """Selects tools whose repeated calls cost something."""
    call = repeated_tool_calls(period).c
    certain, possible = call.number_in_hour > 1, call.gap_ms <= TOOL_CACHE_MS
    sums = [
        _count().label("call_count"),
        count_if(certain).label("certain_count"),
        sum_if(certain, call.cost_nano_usd).label("certain_cost_nano_usd"),
        count_if(possible).label("possible_count"),
        sum_if(possible, call.cost_nano_usd).label("possible_cost_nano_usd"),
    ]
    rows = _grouped((call.tool_name,), call.cost_nano_usd, sums)
    return rows.having(sum_if(possible, call.cost_nano_usd) > 0)


def model_calls(period: Period, edges: Sequence[int] = ()) -> Subquery:
    """Selects model calls as they stand with their corrections, each with the edge below it."""
    change = (
        select(
            _ENTRY.corrects_entry_id,
            *(total(_ENTRY[name]).label(name) for name in (*TOKEN_CLASSES, "cost_nano_usd")),
            func.min(case((_ENTRY.kind == "rerating", _ENTRY.rate_card_id))).label("first_card"),
            func.max(case((_ENTRY.kind == "rerating", _ENTRY.rate_card_id))).label("last_card"),
        )
        .where(
            _ENTRY.organization_id == period.organization_id,
            # Not bound, for SQLite takes a partial index only for its very condition.
            _ENTRY.corrects_entry_id != literal_column("''"),
        )
        .group_by(_ENTRY.corrects_entry_id)
    ).subquery("changes")
    changes = change.c
    names = ("agent_id", "run_id", "model", "processing", "content_digest", "is_background")
    counts = ("prefix_tokens", "history_tokens", "attempt", "sequence", "occurred_at_ms")
    joined = (
        select(
            *(_ENTRY[name] for name in (*names, *counts)),
            func.coalesce(changes.last_card, _ENTRY.rate_card_id).label("rate_card_id"),
            *(
                (_ENTRY[name] + func.coalesce(changes[name], 0)).label(name)
                for name in (*TOKEN_CLASSES, "cost_nano_usd")
            ),
        )
        .select_from(USAGE_ENTRIES.outerjoin(change, changes.corrects_entry_id == _ENTRY.id))
        .where(
            _in_period(period),
            _ENTRY.kind == "model_call",
            or_(changes.first_card.is_(None), changes.first_card == changes.last_card),
        )
    ).subquery("stated")
    return select(joined, _edge_below(joined.c, edges).label("band")).subquery("calls")


def prefixed_calls(period: Period, edges: Sequence[int] = ()) -> Subquery:
    """Selects calls with a prefix that can be cached, and how much of it was plain input."""
    call = model_calls(period, edges).c
    kept = ("agent_id", "run_id", "model", "rate_card_id", "content_digest", "band")
    counts = ("prefix_tokens", "cache_read_input_tokens", "cost_nano_usd")
    is_plain = and_(*(call[name] == 0 for name in _CACHE_CLASSES))
    plain_tokens = case((is_plain, _least(call.prefix_tokens, call.input_tokens)), else_=0)
    return (
        select(
            *(call[name] for name in (*kept, *counts, "occurred_at_ms", "sequence")),
            plain_tokens.label("plain_tokens"),
        )
        .where(
            call.content_digest != "",
            call.prefix_tokens >= MIN_CACHEABLE_TOKENS,
            call.processing == "",
        )
        .subquery("prefixed")
    )


def calls_of_long_runs(period: Period, edges: Sequence[int] = ()) -> Subquery:
    """Selects the calls of long runs."""
    call = model_calls(period, edges).c
    is_counted = and_(call.run_id != "", call.attempt == 1)
    # Most runs are short, and to find the long ones costs less than to number all calls.
    long_runs = (
        select(call.agent_id, call.run_id)
        .where(is_counted)
        .group_by(call.agent_id, call.run_id)
        .having(_count() >= LONG_RUN_MIN_MODEL_CALLS)
        .subquery("long_runs")
    )
    kept = ("agent_id", "run_id", "model", "rate_card_id", "band")
    counts = ("input_tokens", "cache_read_input_tokens", "cost_nano_usd")
    inputs = total_input(call)
    return (
        select(
            *(call[name] for name in (*kept, *counts, "occurred_at_ms", "sequence")),
            inputs.label("total_input_tokens"),
            _least(call.history_tokens, inputs).label("history"),
        )
        .join(
            long_runs,
            and_(call.agent_id == long_runs.c.agent_id, call.run_id == long_runs.c.run_id),
        )
        .where(is_counted)
        .subquery("long")
    )


def repeated_tool_calls(period: Period) -> Subquery:
    """Selects tool calls, the time since an equal one, and their number among equals of an hour."""
    equal = (_ENTRY.tool_name, _ENTRY.content_digest)
    in_order = _in_order(_ENTRY)
    hour = _ENTRY.occurred_at_ms // literal(TOOL_CACHE_MS, BigInteger)
    before = func.lag(_ENTRY.occurred_at_ms).over(partition_by=equal, order_by=in_order)
    return (
        select(
            _ENTRY.agent_id,
            _ENTRY.run_id,
            _ENTRY.tool_name,
            _ENTRY.cost_nano_usd,
            (_ENTRY.occurred_at_ms - before).label("gap_ms"),
            func.row_number()
            .over(partition_by=(*equal, hour), order_by=in_order)
            .label("number_in_hour"),
        )
        .where(_in_period(period), _ENTRY.kind == "tool_call", _ENTRY.content_digest != "")
        .subquery("tool_calls")
    )


def total(column: Any) -> Number:
    """Returns the sum of a column as an integer."""
    return cast(func.sum(column), BigInteger)


def sum_if(condition: ColumnElement[bool], column: Any) -> Number:
    """Returns the sum of a column over the rows that meet a condition."""
    return total(case((condition, column), else_=0))


def count_if(condition: ColumnElement[bool]) -> Number:
    """Returns how many rows meet a condition."""
    return total(case((condition, 1), else_=0))


def _grouped(keys: Sequence[Any], cost: Any, sums: Sequence[Any]) -> Select[Any]:
    """Selects sums by keys, the most expensive groups first."""
    spent = total(cost)
    return (
        select(*keys, *sums, spent.label("cost_nano_usd"))
        .group_by(*keys)
        .order_by(spent.desc(), *keys)
        .limit(MAX_GROUPS)
    )


def _in_order(columns: Any) -> tuple[Any, Any]:
    """Returns the order of time; what happened at once is in the order of writing."""
    return columns.occurred_at_ms, columns.sequence


def _in_period(period: Period) -> ColumnElement[bool]:
    if not period.agent_id:
        return _in_time(period)
    return and_(_in_time(period), _ENTRY.agent_id == period.agent_id)


def _in_time(period: Period) -> ColumnElement[bool]:
    return and_(
        _ENTRY.organization_id == period.organization_id,
        _ENTRY.occurred_at_ms >= period.start_ms,
        _ENTRY.occurred_at_ms < period.end_ms,
    )


def total_input(columns: Any) -> Number:
    """Returns all input of a call, cached or not."""
    inputs: Number = columns.input_tokens
    for name in _CACHE_CLASSES:
        inputs = inputs + columns[name]
    return inputs


def _edge_below(call: Any, edges: Sequence[int]) -> Number:
    """Returns the greatest edge that the call's input exceeds; 0 if it exceeds none."""
    if not edges:
        return literal(0, BigInteger)
    inputs = total_input(call)
    bands = [(inputs > edge, literal(edge, BigInteger)) for edge in reversed(edges)]
    return case(*bands, else_=literal(0, BigInteger))


def _removed(call: Any, kept_turns: int) -> Number:
    """Returns how much plain input a call would have less if only so many turns were kept."""
    turns = call.number - 1
    # Rounded up, as ``kept_history_tokens`` does it; what is divided does not fit 32 bits.
    kept = (cast(call.history, BigInteger) * kept_turns + turns - 1) // func.nullif(turns, 0)
    is_cut = and_(turns > kept_turns, call.cache_read_input_tokens == 0)
    return case((is_cut, _least(call.history - kept, call.input_tokens)), else_=0)


def _least(first: Any, second: Any) -> Number:
    return case((first < second, first), else_=second)


def _count() -> Number:
    return func.count()
