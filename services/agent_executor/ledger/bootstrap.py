"""Builds the ledger from its parts; the only place here that chooses adapters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from agent_executor.api.ledger.v1 import (
    budget_service_pb2,
    budget_service_pb2_grpc,
    usage_service_pb2,
    usage_service_pb2_grpc,
)
from agent_executor.ledger.accounting.store_sqlite import SqliteLedgerStore
from agent_executor.ledger.budgets.budgets import Budgets
from agent_executor.ledger.budgets.servicer import BudgetServicer
from agent_executor.ledger.prices import genai_price_list
from agent_executor.ledger.prices.rate_cards import RateCards
from agent_executor.ledger.reports.reports import UsageReports
from agent_executor.ledger.settings import LedgerSettings
from agent_executor.ledger.usage.reservations import Reservations
from agent_executor.ledger.usage.servicer import UsageServicer
from agent_executor.serving.server import ServiceRuntime, run_service
from agent_executor.serving.startup import StartupError
from agent_executor.storage.migrations import MigrationError

SERVICE_NAME: Final = "ledger"

SERVED: Final = (
    usage_service_pb2.DESCRIPTOR.services_by_name["UsageService"].full_name,
    budget_service_pb2.DESCRIPTOR.services_by_name["BudgetService"].full_name,
)


def main() -> int:
    """Runs the service until it is told to stop, and returns its exit code."""
    return run_service(SERVICE_NAME, LedgerSettings.load, bootstrap)


async def bootstrap(runtime: ServiceRuntime[LedgerSettings]) -> Sequence[str]:
    """Builds the service and names what it serves."""
    try:
        store, _ = await asyncio.gather(
            SqliteLedgerStore.open(runtime.settings.ledger_file),
            asyncio.to_thread(genai_price_list.load),
        )
    except MigrationError as error:
        raise StartupError(str(error)) from error
    runtime.resources.push_async_callback(store.close)
    reservations = Reservations(
        store,
        RateCards(store),
        time.time,
        runtime.metrics,
        default_ttl_seconds=runtime.settings.reservation_ttl_seconds,
    )
    usage = UsageServicer(reservations, UsageReports(store), runtime.pipeline, time.time)
    runtime.drain_callbacks.append(usage.drain)
    budgets = Budgets(store, time.time, runtime.metrics)
    usage_service_pb2_grpc.add_UsageServiceServicer_to_server(usage, runtime.server)
    budget_service_pb2_grpc.add_BudgetServiceServicer_to_server(
        BudgetServicer(budgets), runtime.server
    )
    return SERVED
