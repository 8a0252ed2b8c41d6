"""Between budgets and their contracts. Pure; decides nothing."""

from __future__ import annotations

from typing import cast

from agent_executor.api.ledger.v1 import budget_service_pb2
from agent_executor.ledger.accounting.budget import BudgetEvent, BudgetStatus
from agent_executor.ledger.accounting.window import Window
from agent_executor.ledger.budgets.budgets import PutBudget
from agent_executor.ledger.money import from_usd, to_usd
from agent_executor.serving.timestamp_convert import timestamp


def put_budget(request: budget_service_pb2.PutBudgetRequest) -> PutBudget:
    """Returns the budget that is asked for.

    Raises:
        InvalidArgumentError: The limit cannot be.
    """
    return PutBudget(
        budget_id=request.budget_id,
        limit_nano_usd=from_usd(request.limit_usd),
        # The contract's rules let no other words pass.
        window=cast("Window", request.window or "total"),
        user_id=request.user_id,
        agent_id=request.agent_id,
        run_id=request.run_id,
        time_zone=request.time_zone,
        alert_percents=tuple(request.alert_percents),
    )


def budget_to_proto(status: BudgetStatus) -> budget_service_pb2.Budget:
    """Returns a budget as the API shows it."""
    budget = status.budget
    return budget_service_pb2.Budget(
        id=budget.id,
        user_id=budget.user_id,
        agent_id=budget.agent_id,
        run_id=budget.run_id,
        window=budget.window,
        limit_nano_usd=budget.limit_nano_usd,
        limit_usd=to_usd(budget.limit_nano_usd),
        settled_nano_usd=status.settled_nano_usd,
        reserved_nano_usd=status.reserved_nano_usd,
        resets_at=None if status.resets_at_ms is None else timestamp(status.resets_at_ms),
        time_zone=budget.time_zone,
        alert_percents=budget.alert_percents,
        left_nano_usd=status.left_nano_usd,
    )


def event_to_proto(event: BudgetEvent) -> budget_service_pb2.BudgetEvent:
    """Returns an event as the API shows it."""
    return budget_service_pb2.BudgetEvent(
        id=str(event.id),
        budget_id=event.budget_id,
        kind=event.kind,
        percent=event.percent,
        entry_id=event.entry_id,
        limit_nano_usd=event.limit_nano_usd,
        settled_nano_usd=event.settled_nano_usd,
        reserved_nano_usd=event.reserved_nano_usd,
        created_at=timestamp(event.created_at_ms),
    )
