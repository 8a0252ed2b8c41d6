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
from agent_executor.ledger.accounting.budget import Budget, BudgetStatus, Window
from agent_executor.ledger.accounting.store import BudgetStore
from agent_executor.ledger.money import MAX_LIMIT_NANO_USD, NanoUsd
from agent_executor.ledger.usage.metrics import report_overruns
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.security import SecurityContext

READ_PERMISSION: Final = "ledger:read"
WRITE_PERMISSION: Final = "ledger:admin"

_ID_PATTERN: Final = re.compile(r"[a-z0-9_-]{1,64}")
_WINDOWS: Final = frozenset(get_args(Window))


class BudgetPage(msgspec.Struct, frozen=True):
    """Budgets by id; ``next_page_token`` is empty on the last page."""

    budgets: tuple[BudgetStatus, ...]
    next_page_token: str


class Budgets:
    """Keeps the budgets of organizations.

    Args:
        store: Where they are kept.
        clock: Seconds since 1970-01-01 UTC.
        metrics: Counts overruns.
    """

    def __init__(self, store: BudgetStore, clock: Callable[[], float], metrics: Metrics) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics

    async def put(
        self,
        budget_id: str,
        limit_nano_usd: NanoUsd,
        security: SecurityContext,
        *,
        window: Window = "total",
        user_id: str = "",
        agent_id: str = "",
        run_id: str = "",
    ) -> BudgetStatus:
        """Creates a budget, or replaces the limit of the one of this id.

        What was spent in the present window and what is held counts from the start. A limit of 0
        lets nothing pass.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:admin``.
            InvalidArgumentError: The id, the window or the limit cannot be.
            FailedPreconditionError: The budget of this id covers something else.
        """
        security.require(WRITE_PERMISSION)
        _check(budget_id, limit_nano_usd, window)
        budget = Budget(
            id=budget_id,
            organization_id=security.organization_id,
            limit_nano_usd=limit_nano_usd,
            window=window,
            user_id=user_id,
            agent_id=agent_id,
            run_id=run_id,
        )
        status, overrun = await self._store.put_budget(budget, self._now_ms())
        report_overruns(self._metrics, () if overrun is None else (overrun,))
        if status.budget != budget:
            raise FailedPreconditionError(
                f"The budget {budget_id!r} covers something else; delete it first.",
                metadata={"budget_id": budget_id},
            )
        return status

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

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _check(budget_id: str, limit_nano_usd: NanoUsd, window: Window) -> None:
    if _ID_PATTERN.fullmatch(budget_id) is None:
        raise InvalidArgumentError(
            "A budget's id is made of 1 to 64 lower-case letters, digits, '-' and '_'."
        )
    if window not in _WINDOWS:
        raise InvalidArgumentError("A budget's window is total, day or month.")
    # A bool is an int to isinstance, and a float would be a limit that no sum meets exactly.
    if type(limit_nano_usd) is not int or not 0 <= limit_nano_usd <= MAX_LIMIT_NANO_USD:
        raise InvalidArgumentError("A budget's limit is 0 to 9,000,000 US dollars.")


def _not_found(budget_id: str) -> BudgetNotFoundError:
    return BudgetNotFoundError("There is no such budget.", metadata={"budget_id": budget_id})
