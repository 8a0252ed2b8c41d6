"""Setting limits on spending, and seeing how much of them is gone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, get_args

import msgspec

from agent_executor.errors import (
    BudgetNotFoundError,
    FailedPreconditionError,
    InvalidArgumentError,
)
from agent_executor.ledger import page_tokens
from agent_executor.ledger.accounting.budget import Budget, BudgetEvent, BudgetStatus
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.accounting.window import Window, check_time_zone
from agent_executor.ledger.money import MAX_LIMIT_NANO_USD, NanoUsd
from agent_executor.ledger.usage.checks import MAX_NAME_BYTES, check_text, invalid
from agent_executor.ledger.usage.metrics import report_events
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.security import SecurityContext

READ_PERMISSION: Final = "ledger:read"
WRITE_PERMISSION: Final = "ledger:admin"

DEFAULT_TIME_ZONE: Final = "UTC"
MAX_ALERTS: Final = 10
MAX_PERCENT: Final = 100

_ID_PATTERN: Final = re.compile(r"[a-z0-9_-]{1,64}")
_WINDOWS: Final = frozenset(get_args(Window))


class PutBudget(msgspec.Struct, frozen=True):
    """A budget as it is asked for; see ``Budget`` for what its fields mean.

    Attributes:
        time_zone: Empty: UTC.
        alert_percents: 1 to 100 each, at most 10, in any order.
    """

    budget_id: str
    limit_nano_usd: NanoUsd
    window: Window = "total"
    user_id: str = ""
    agent_id: str = ""
    run_id: str = ""
    time_zone: str = ""
    alert_percents: tuple[int, ...] = ()


class BudgetPage(msgspec.Struct, frozen=True):
    """Budgets by id; ``next_page_token`` is empty on the last page."""

    budgets: tuple[BudgetStatus, ...]
    next_page_token: str


class BudgetEventPage(msgspec.Struct, frozen=True):
    """Events, newest first; ``next_page_token`` is empty on the last page."""

    events: tuple[BudgetEvent, ...]
    next_page_token: str


class Budgets:
    """Keeps the budgets of organizations.

    Args:
        store: Where they are kept.
        clock: Seconds since 1970-01-01 UTC.
        metrics: Counts overruns and thresholds.
    """

    def __init__(
        self, store: AccountingStore, clock: Callable[[], float], metrics: Metrics
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics

    async def put(self, asked: PutBudget, security: SecurityContext) -> BudgetStatus:
        """Creates a budget, or replaces the limit and the alerts of the one of this id.

        What was spent in the present window and what is held counts from the start. A limit of 0
        lets nothing pass.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:admin``.
            InvalidArgumentError: The id, the window, the time zone, the limit or an alert cannot be.
            FailedPreconditionError: The budget of this id covers something else.
            LimitExceededError: There are 20 others of the same user, agent and run.
        """
        security.require(WRITE_PERMISSION)
        _check(asked)
        budget = Budget(
            id=asked.budget_id,
            organization_id=security.organization_id,
            limit_nano_usd=asked.limit_nano_usd,
            window=asked.window,
            user_id=asked.user_id,
            agent_id=asked.agent_id,
            run_id=asked.run_id,
            time_zone=asked.time_zone or DEFAULT_TIME_ZONE,
            alert_percents=tuple(sorted(asked.alert_percents)),
        )
        put = await self._store.put_budget(budget, self._now_ms())
        report_events(self._metrics, put.events)
        if put.status.budget != budget:
            raise FailedPreconditionError(
                f"The budget {budget.id!r} covers something else; delete it first.",
                metadata={"budget_id": budget.id},
            )
        return put.status

    async def get(self, budget_id: str, security: SecurityContext) -> BudgetStatus:
        """Returns a budget as it stands.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:read``.
            BudgetNotFoundError: The organization has no such budget.
        """
        security.require(READ_PERMISSION)
        status = await self._store.get_budget(security.organization_id, budget_id, self._now_ms())
        if status is None:
            raise _not_found(budget_id)
        return status

    async def list(
        self, security: SecurityContext, *, page_size: int = 0, page_token: str = ""
    ) -> BudgetPage:
        """Returns a page of budgets as they stand.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:read``.
            InvalidArgumentError: The token was not given out.
        """
        security.require(READ_PERMISSION)
        size = page_tokens.page_size_of(page_size)
        question = ("budgets", security.organization_id)
        after, _ = page_tokens.decode(question, page_token)
        found = await self._store.list_budgets(
            security.organization_id, self._now_ms(), size + 1, after_id=after
        )
        page = tuple(found[:size])
        token = page_tokens.encode(question, page[-1].budget.id) if len(found) > size else ""
        return BudgetPage(page, token)

    async def delete(self, budget_id: str, security: SecurityContext) -> None:
        """Deletes a budget; entries, reservations and other budgets are untouched.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:admin``.
            BudgetNotFoundError: The organization has no such budget.
        """
        security.require(WRITE_PERMISSION)
        if not await self._store.delete_budget(security.organization_id, budget_id):
            raise _not_found(budget_id)

    async def events(
        self,
        security: SecurityContext,
        *,
        budget_id: str = "",
        page_size: int = 0,
        page_token: str = "",
    ) -> BudgetEventPage:
        """Returns a page of what happened to budgets, of one or of all.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:read``.
            InvalidArgumentError: The token was not given out.
        """
        security.require(READ_PERMISSION)
        size = page_tokens.page_size_of(page_size)
        question = ("budget-events", security.organization_id, budget_id)
        _, before_id = page_tokens.decode(question, page_token)
        found = await self._store.budget_events(
            security.organization_id, size + 1, budget_id=budget_id, before_id=before_id
        )
        page = tuple(found[:size])
        if len(found) <= size:
            return BudgetEventPage(page, "")
        last = page[-1]
        return BudgetEventPage(page, page_tokens.encode(question, last.budget_id, last.id))

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _check(asked: PutBudget) -> None:
    if _ID_PATTERN.fullmatch(asked.budget_id) is None:
        raise InvalidArgumentError(
            "A budget's id is made of 1 to 64 lower-case letters, digits, '-' and '_'."
        )
    if asked.window not in _WINDOWS:
        raise invalid("window", "is total, day or month.")
    check_text("user_id", asked.user_id, MAX_NAME_BYTES)
    check_text("agent_id", asked.agent_id, MAX_NAME_BYTES)
    check_text("run_id", asked.run_id, MAX_NAME_BYTES)
    check_time_zone(asked.time_zone or DEFAULT_TIME_ZONE)
    limit = asked.limit_nano_usd
    # A bool is an int to isinstance, and a float would be a limit that no sum meets exactly.
    if type(limit) is not int or not 0 <= limit <= MAX_LIMIT_NANO_USD:
        raise InvalidArgumentError("A budget's limit is 0 to 9,000,000 US dollars.")
    percents = asked.alert_percents
    if len(percents) > MAX_ALERTS or len(set(percents)) < len(percents):
        raise invalid("alert_percents", f"are at most {MAX_ALERTS} different ones.")
    if not all(type(percent) is int and 1 <= percent <= MAX_PERCENT for percent in percents):
        raise invalid("alert_percents", f"are 1 to {MAX_PERCENT} each.")


def _not_found(budget_id: str) -> BudgetNotFoundError:
    return BudgetNotFoundError("There is no such budget.", metadata={"budget_id": budget_id})
