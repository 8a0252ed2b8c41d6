"""BudgetService over gRPC: proto in, proto out."""

from __future__ import annotations

from agent_executor.api.ledger.v1 import budget_service_pb2, budget_service_pb2_grpc
from agent_executor.ledger.budgets import convert
from agent_executor.ledger.budgets.budgets import Budgets
from agent_executor.serving.interceptors import Context
from agent_executor.serving.security import current_security_context


class BudgetServicer(budget_service_pb2_grpc.BudgetServiceServicer):
    """See ``protos/agent_executor/api/ledger/v1/budget_service.proto``."""

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets

    async def PutBudget(  # noqa: N802 -- the contract's name
        self, request: budget_service_pb2.PutBudgetRequest, context: Context
    ) -> budget_service_pb2.Budget:
        """Creates a budget or replaces its limit and alerts."""
        del context
        status = await self._budgets.put(
            convert.put_budget(request), current_security_context.get()
        )
        return convert.budget_to_proto(status)

    async def GetBudget(  # noqa: N802 -- the contract's name
        self, request: budget_service_pb2.GetBudgetRequest, context: Context
    ) -> budget_service_pb2.Budget:
        """Returns a budget."""
        del context
        status = await self._budgets.get(request.budget_id, current_security_context.get())
        return convert.budget_to_proto(status)

    async def ListBudgets(  # noqa: N802 -- the contract's name
        self, request: budget_service_pb2.ListBudgetsRequest, context: Context
    ) -> budget_service_pb2.ListBudgetsResponse:
        """Lists budgets."""
        del context
        page = await self._budgets.list(
            current_security_context.get(),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return budget_service_pb2.ListBudgetsResponse(
            budgets=map(convert.budget_to_proto, page.budgets), next_page_token=page.next_page_token
        )

    async def DeleteBudget(  # noqa: N802 -- the contract's name
        self, request: budget_service_pb2.DeleteBudgetRequest, context: Context
    ) -> budget_service_pb2.DeleteBudgetResponse:
        """Deletes a budget."""
        del context
        await self._budgets.delete(request.budget_id, current_security_context.get())
        return budget_service_pb2.DeleteBudgetResponse()

    async def ListBudgetEvents(  # noqa: N802 -- the contract's name
        self, request: budget_service_pb2.ListBudgetEventsRequest, context: Context
    ) -> budget_service_pb2.ListBudgetEventsResponse:
        """Lists what happened to budgets."""
        del context
        page = await self._budgets.events(
            current_security_context.get(),
            budget_id=request.budget_id,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return budget_service_pb2.ListBudgetEventsResponse(
            events=map(convert.event_to_proto, page.events), next_page_token=page.next_page_token
        )
