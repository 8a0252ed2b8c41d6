"""Answers about what was used and what it cost. Reads only, one organization at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, get_args

import msgspec

from agent_executor.errors import InvalidArgumentError
from agent_executor.ledger import page_tokens
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.store import EntryStore
from agent_executor.ledger.reports.usage_query import (
    Dimension,
    EntryFilter,
    SummaryRows,
    UsageSummary,
)
from agent_executor.serving.security import SecurityContext

PERMISSION: Final = "ledger:read"

_DIMENSIONS: Final = frozenset(get_args(Dimension))
_ALL: Final = EntryFilter()


class EntryPage(msgspec.Struct, frozen=True):
    """Entries, newest first; ``next_page_token`` is empty on the last page."""

    entries: tuple[UsageEntry, ...]
    next_page_token: str


class SummaryPage(msgspec.Struct, frozen=True):
    """Sums by group, by cost, highest first.

    Attributes:
        rows: One per group.
        total: The sum over all groups, not over this page alone.
        next_page_token: Empty on the last page.
    """

    rows: tuple[UsageSummary, ...]
    total: UsageSummary
    next_page_token: str


class UsageReports:
    """Lists and sums the entries of one organization."""

    def __init__(self, store: EntryStore) -> None:
        self._store = store

    async def entries(
        self,
        security: SecurityContext,
        entry_filter: EntryFilter = _ALL,
        *,
        page_size: int = 0,
        page_token: str = "",
    ) -> EntryPage:
        """Returns a page of entries. Entries that are written meanwhile do not move the pages.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:read``.
            InvalidArgumentError: The token was not given out for these filters.
        """
        security.require(PERMISSION)
        size = page_tokens.page_size_of(page_size)
        question = ("entries", security.organization_id, entry_filter)
        before, _ = page_tokens.decode(question, page_token)
        found = await self._store.entries(
            security.organization_id, entry_filter, size + 1, before_entry_id=before
        )
        if found is None:
            raise page_tokens.refused()
        page = tuple(found[:size])
        token = page_tokens.encode(question, page[-1].id) if len(found) > size else ""
        return EntryPage(page, token)

    async def summarize(
        self,
        security: SecurityContext,
        group_by: Sequence[Dimension] = (),
        entry_filter: EntryFilter = _ALL,
        *,
        page_size: int = 0,
        page_token: str = "",
    ) -> SummaryPage:
        """Returns a page of sums; all pages are of the entries that the first one was made of.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:read``.
            InvalidArgumentError: A dimension is unknown or named twice, or the token was not given
                out for this question.
        """
        security.require(PERMISSION)
        size = page_tokens.page_size_of(page_size)
        if not set(group_by) <= _DIMENSIONS or len(set(group_by)) < len(group_by):
            message = "group_by takes each of user, agent, model, run and day once at most."
            raise InvalidArgumentError(message, field_violations=(("group_by", message),))
        question = ("summary", security.organization_id, entry_filter, tuple(group_by))
        up_to, offset = page_tokens.decode(question, page_token)
        up_to = up_to or await self._store.newest_entry_id(security.organization_id)
        found: SummaryRows | None = await self._store.summarize(
            security.organization_id, entry_filter, up_to, group_by, size + 1, offset
        )
        if found is None:
            raise page_tokens.refused()
        has_more = len(found.rows) > size
        token = page_tokens.encode(question, up_to, offset + size) if has_more else ""
        return SummaryPage(found.rows[:size], found.total, token)
