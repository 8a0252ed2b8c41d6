"""Answers about what was used and what it cost. Reads only, one organization at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, get_args

import msgspec

from agent_executor.errors import InvalidArgumentError, RunNotFoundError
from agent_executor.ledger import page_tokens
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.window import check_time_zone
from agent_executor.ledger.reports.store import ReportStore
from agent_executor.ledger.reports.usage_query import (
    EVERY_ENTRY,
    TIME_BUCKETS,
    Dimension,
    EntryFilter,
    EntryPlace,
    RunCost,
    SummaryOrder,
    SummaryQuery,
    UsageSummary,
)
from agent_executor.serving.page_tokens import refused
from agent_executor.serving.security import SecurityContext

PERMISSION: Final = "ledger:read"
MAX_RUN_ROWS: Final = 10_000
"""Entries and reservations of a run that are told one by one, at most, of each."""

_DIMENSIONS: Final = frozenset(get_args(Dimension))
_ORDERS: Final = frozenset(get_args(SummaryOrder))
_EVERYTHING: Final = SummaryQuery()


class EntryPage(msgspec.Struct, frozen=True):
    """Entries, latest occurrence first; ``next_page_token`` is empty on the last page."""

    entries: tuple[UsageEntry, ...]
    next_page_token: str


class SummaryPage(msgspec.Struct, frozen=True):
    """Sums by group.

    Attributes:
        rows: One per group, in the order that was asked for.
        total: The sum over all groups, not over this page alone.
        next_page_token: Empty on the last page.
    """

    rows: tuple[UsageSummary, ...]
    total: UsageSummary
    next_page_token: str


class UsageReports:
    """Lists and sums the entries of one organization.

    Args:
        store: What was recorded.
        clock: Seconds since 1970-01-01 UTC.
    """

    def __init__(self, store: ReportStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def entries(
        self,
        security: SecurityContext,
        entry_filter: EntryFilter = EVERY_ENTRY,
        *,
        page_size: int = 0,
        page_token: str = "",
    ) -> EntryPage:
        """Returns a page of entries; all pages are of the ledger as it was at the first one.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:read``.
            InvalidArgumentError: The filter cannot be, or the token was not given out for it.
        """
        security.require(PERMISSION)
        check_filter(entry_filter)
        size = page_tokens.page_size_of(page_size)
        organization_id = security.organization_id
        question = ("entries", organization_id, entry_filter)
        row, position = page_tokens.decode(question, page_token)
        newest = await self._store.newest_position(organization_id)
        up_to, beyond = newest, None
        if row:
            up_to, occurred_at_ms = page_tokens.numbers(row, 2)
            beyond = EntryPlace(occurred_at_ms, position)
            _check_position(up_to, newest)
        found = await self._store.entries(
            organization_id, entry_filter, size + 1, up_to_position=up_to, beyond=beyond
        )
        page, token = found[:size], ""
        if len(found) > size:
            last = page[-1].place
            token = page_tokens.encode(question, f"{up_to} {last.occurred_at_ms}", last.position)
        return EntryPage(tuple(one.entry for one in page), token)

    async def summarize(
        self,
        security: SecurityContext,
        query: SummaryQuery = _EVERYTHING,
        *,
        page_size: int = 0,
        page_token: str = "",
    ) -> SummaryPage:
        """Returns a page of sums; all pages are of the ledger as it was at the first one.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:read``.
            InvalidArgumentError: The question cannot be, or the token was not given out for it.
        """
        security.require(PERMISSION)
        _check_query(query)
        size = page_tokens.page_size_of(page_size)
        organization_id = security.organization_id
        question = ("summary", organization_id, query)
        row, offset = page_tokens.decode(question, page_token)
        up_to = newest = await self._store.newest_position(organization_id)
        if row:
            [up_to] = page_tokens.numbers(row, 1)
            _check_position(up_to, newest)
        found = await self._store.summarize(organization_id, query, up_to, size + 1, offset)
        has_more = len(found.rows) > size
        token = page_tokens.encode(question, str(up_to), offset + size) if has_more else ""
        return SummaryPage(found.rows[:size], found.total, token)

    async def run_cost(self, security: SecurityContext, run_id: str) -> RunCost:
        """Returns what a run cost, step by step.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:read``.
            RunNotFoundError: The ledger knows nothing of the run in the caller's organization.
        """
        security.require(PERMISSION)
        check_filter(EntryFilter(run_id=run_id))
        now_ms = int(self._clock() * 1000)
        cost = await self._store.run_cost(security.organization_id, run_id, now_ms, MAX_RUN_ROWS)
        if cost is None:
            raise RunNotFoundError(f"The ledger knows nothing of a run {run_id!r}.")
        return cost


def check_filter(entry_filter: EntryFilter) -> None:
    """Refuses a filter that cannot be.

    Raises:
        InvalidArgumentError: It ends before it begins, or an id holds a NUL character, which no
            stored id does.
    """
    start_ms, end_ms = entry_filter.start_ms, entry_filter.end_ms
    if start_ms is not None and end_ms is not None and end_ms < start_ms:
        raise _refused("end_time", "end_time must not be before start_time.")
    for name, value in msgspec.structs.asdict(entry_filter).items():
        if isinstance(value, str) and "\x00" in value:
            raise _refused(name, f"{name} must not hold a NUL character.")


def _check_query(query: SummaryQuery) -> None:
    check_filter(query.entry_filter)
    dimensions = set(query.group_by)
    if not dimensions <= _DIMENSIONS or len(dimensions) < len(query.group_by):
        message = f"group_by takes each of {', '.join(get_args(Dimension))} once at most."
        raise _refused("group_by", message)
    if len(dimensions.intersection(TIME_BUCKETS)) > 1:
        raise _refused("group_by", "group_by takes one of hour, day and month at most.")
    if query.order_by not in _ORDERS:
        raise _refused("order_by", "order_by must be cost or time.")
    if query.order_by == "time" and query.bucket is None:
        message = "order_by time needs a grouping by hour, day or month."
        raise _refused("order_by", message)
    try:
        check_time_zone(query.time_zone)
    except InvalidArgumentError as error:
        raise _refused("time_zone", error.message) from None


def _check_position(up_to: int, newest: int) -> None:
    """Refuses the token of a ledger that had more entries than this one."""
    if not 0 <= up_to <= newest:
        raise refused()


def _refused(field: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, field_violations=((field, message),))
