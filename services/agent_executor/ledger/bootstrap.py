"""Builds the ledger from its parts; the only place here that chooses adapters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent_executor.api.ledger.v1 import (
    budget_service_pb2,
    budget_service_pb2_grpc,
    rate_card_service_pb2,
    rate_card_service_pb2_grpc,
    suggestion_service_pb2,
    suggestion_service_pb2_grpc,
    usage_service_pb2,
    usage_service_pb2_grpc,
)
from agent_executor.ledger.budgets.budgets import Budgets
from agent_executor.ledger.budgets.servicer import BudgetServicer
from agent_executor.ledger.prices import genai_price_list
from agent_executor.ledger.prices.card_administration import CardAdministration
from agent_executor.ledger.prices.organization_prices import OrganizationPrices
from agent_executor.ledger.prices.rate_cards import RateCards
from agent_executor.ledger.prices.servicer import RateCardServicer
from agent_executor.ledger.reports.exports import UsageExports
from agent_executor.ledger.reports.reports import UsageReports
from agent_executor.ledger.sampling import LedgerGauges
from agent_executor.ledger.settings import LedgerSettings
from agent_executor.ledger.storage import LedgerStorage, open_storage
from agent_executor.ledger.suggestions.card_prices import CardPrices
from agent_executor.ledger.suggestions.servicer import SuggestionServicer
from agent_executor.ledger.suggestions.store_sql import SqlEvidenceStore
from agent_executor.ledger.suggestions.suggestions import Suggestions
from agent_executor.ledger.usage.metrics import tell_first
from agent_executor.ledger.usage.recording import RecordUsage
from agent_executor.ledger.usage.rerating import RerateUsage
from agent_executor.ledger.usage.servicer import UsageServicer
from agent_executor.ledger.usage.usage import Usage
from agent_executor.serving.database_metrics import batch_counter
from agent_executor.serving.sampling import sample
from agent_executor.serving.server import ServiceRuntime, run_service
from agent_executor.serving.startup import StartupError
from agent_executor.storage.migrations import MigrationError

SERVICE_NAME: Final = "ledger"

SERVED: Final = (
    usage_service_pb2.DESCRIPTOR.services_by_name["UsageService"].full_name,
    budget_service_pb2.DESCRIPTOR.services_by_name["BudgetService"].full_name,
    rate_card_service_pb2.DESCRIPTOR.services_by_name["RateCardService"].full_name,
    suggestion_service_pb2.DESCRIPTOR.services_by_name["SuggestionService"].full_name,
)


def main() -> int:
    """Runs the service until it is told to stop, and returns its exit code."""
    return run_service(SERVICE_NAME, LedgerSettings.load, bootstrap)


async def bootstrap(runtime: ServiceRuntime[LedgerSettings]) -> Sequence[str]:
    """Builds the service and names what it serves."""
    storage, _ = await asyncio.gather(_storage(runtime), asyncio.to_thread(genai_price_list.load))
    prices = _Prices.over(storage, runtime)
    usage = _usage_servicer(runtime, storage, prices.rate_cards)
    runtime.drain_callbacks.append(usage.drain)
    budgets = Budgets(storage.accounting, time.time, runtime.metrics)
    suggestions = Suggestions(
        SqlEvidenceStore(storage.statements),
        CardPrices(storage.accounting, prices.rate_cards),
        time.time,
    )
    sample(
        LedgerGauges(storage, runtime.metrics).look,
        period_seconds=runtime.settings.metrics_sample_seconds,
        resources=runtime.resources,
    )
    tell_first(runtime.metrics)
    server = runtime.server
    usage_service_pb2_grpc.add_UsageServiceServicer_to_server(usage, server)
    budget_service_pb2_grpc.add_BudgetServiceServicer_to_server(BudgetServicer(budgets), server)
    rate_card_service_pb2_grpc.add_RateCardServiceServicer_to_server(
        RateCardServicer(prices.administration), server
    )
    suggestion_service_pb2_grpc.add_SuggestionServiceServicer_to_server(
        SuggestionServicer(suggestions), server
    )
    return SERVED


@dataclass(frozen=True, slots=True)
class _Prices:
    """What finds prices, and what sets them."""

    rate_cards: RateCards
    administration: CardAdministration

    @classmethod
    def over(cls, storage: LedgerStorage, runtime: ServiceRuntime[LedgerSettings]) -> _Prices:
        own = OrganizationPrices(storage.organization_cards)
        rate_cards = RateCards(
            storage.accounting,
            own,
            runtime.metrics,
            unknown_model=runtime.settings.unknown_model,
        )
        administration = CardAdministration(
            storage.organization_cards, storage.accounting, own, rate_cards, time.time
        )
        return cls(rate_cards, administration)


def _usage_servicer(
    runtime: ServiceRuntime[LedgerSettings], storage: LedgerStorage, rate_cards: RateCards
) -> UsageServicer:
    store, metrics = storage.accounting, runtime.metrics
    usage = Usage(
        store,
        rate_cards,
        time.time,
        metrics,
        default_ttl_seconds=runtime.settings.reservation_ttl_seconds,
    )
    return UsageServicer(
        usage,
        RecordUsage(store, rate_cards, time.time, metrics),
        RerateUsage(store, storage.reports, rate_cards, time.time, metrics),
        UsageReports(storage.reports, time.time),
        UsageExports(storage.reports),
        runtime.pipeline,
    )


async def _storage(runtime: ServiceRuntime[LedgerSettings]) -> LedgerStorage:
    try:
        storage = await open_storage(runtime.settings, batch_counter(runtime.metrics))
    except MigrationError as error:
        raise StartupError(str(error)) from error
    runtime.resources.push_async_callback(storage.close)
    return storage
