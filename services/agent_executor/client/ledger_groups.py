"""The methods of the ledger, each written once; see ``methods`` for what they become.

What each does and which errors it has stands at its RPC in ``protos/agent_executor/api/ledger``.
"""

from __future__ import annotations

from typing import TypeVar

from google.api import httpbody_pb2

from agent_executor.api.ledger.v1 import (
    budget_service_pb2,
    rate_card_service_pb2,
    suggestion_service_pb2,
    usage_pb2,
    usage_service_pb2,
)
from agent_executor.client.call_options import Repeat
from agent_executor.client.methods import Group, Paged, Stream, Unary
from agent_executor.client.told import ToldFile

CallerT = TypeVar("CallerT")


class Usage(Group[CallerT]):
    """What was used and what it cost."""

    # A page has the sum of all groups too; see `pages()`.
    summarize = Paged(
        "ledger.v1.UsageService/SummarizeUsage",
        usage_service_pb2.SummarizeUsageRequest,
        usage_service_pb2.SummarizeUsageResponse,
        lambda page: page.summaries,
    )
    list_entries = Paged(
        "ledger.v1.UsageService/ListUsageEntries",
        usage_service_pb2.ListUsageEntriesRequest,
        usage_service_pb2.ListUsageEntriesResponse,
        lambda page: page.entries,
    )
    get_run_cost = Unary(
        "ledger.v1.UsageService/GetRunCost",
        usage_service_pb2.GetRunCostRequest,
        usage_service_pb2.RunCost,
        Repeat.HARMLESS,
    )
    # A file in pieces, which is whole if the iteration ends without an error.
    export = Stream(
        "ledger.v1.UsageService/ExportUsage",
        usage_service_pb2.ExportUsageRequest,
        httpbody_pb2.HttpBody,
        ToldFile,
        Repeat.NEVER,
    )
    # What is entered has an id, which counts once.
    record = Unary(
        "ledger.v1.UsageService/RecordUsage",
        usage_service_pb2.RecordUsageRequest,
        usage_service_pb2.RecordUsageResponse,
        Repeat.HARMLESS,
        is_execution=True,
    )
    correct = Unary(
        "ledger.v1.UsageService/CorrectUsage",
        usage_service_pb2.CorrectUsageRequest,
        usage_pb2.UsageEntry,
        Repeat.HARMLESS,
    )
    rerate = Unary(
        "ledger.v1.UsageService/RerateUsage",
        usage_service_pb2.RerateUsageRequest,
        usage_service_pb2.RerateUsageResponse,
        is_execution=True,
    )


class Budgets(Group[CallerT]):
    """Limits on spending."""

    put = Unary(
        "ledger.v1.BudgetService/PutBudget",
        budget_service_pb2.PutBudgetRequest,
        budget_service_pb2.Budget,
    )
    get = Unary(
        "ledger.v1.BudgetService/GetBudget",
        budget_service_pb2.GetBudgetRequest,
        budget_service_pb2.Budget,
        Repeat.HARMLESS,
    )
    list = Paged(
        "ledger.v1.BudgetService/ListBudgets",
        budget_service_pb2.ListBudgetsRequest,
        budget_service_pb2.ListBudgetsResponse,
        lambda page: page.budgets,
    )
    delete = Unary(
        "ledger.v1.BudgetService/DeleteBudget",
        budget_service_pb2.DeleteBudgetRequest,
        budget_service_pb2.DeleteBudgetResponse,
    )
    list_events = Paged(
        "ledger.v1.BudgetService/ListBudgetEvents",
        budget_service_pb2.ListBudgetEventsRequest,
        budget_service_pb2.ListBudgetEventsResponse,
        lambda page: page.events,
    )


class RateCards(Group[CallerT]):
    """What models and tools cost."""

    create = Unary(
        "ledger.v1.RateCardService/CreateRateCard",
        rate_card_service_pb2.CreateRateCardRequest,
        rate_card_service_pb2.RateCard,
    )
    get = Unary(
        "ledger.v1.RateCardService/GetRateCard",
        rate_card_service_pb2.GetRateCardRequest,
        rate_card_service_pb2.RateCard,
        Repeat.HARMLESS,
    )
    list = Paged(
        "ledger.v1.RateCardService/ListRateCards",
        rate_card_service_pb2.ListRateCardsRequest,
        rate_card_service_pb2.ListRateCardsResponse,
        lambda page: page.rate_cards,
    )
    withdraw = Unary(
        "ledger.v1.RateCardService/WithdrawRateCard",
        rate_card_service_pb2.WithdrawRateCardRequest,
        rate_card_service_pb2.RateCard,
    )
    resolve = Unary(
        "ledger.v1.RateCardService/ResolveRateCard",
        rate_card_service_pb2.ResolveRateCardRequest,
        rate_card_service_pb2.ResolveRateCardResponse,
        Repeat.HARMLESS,
    )


class Suggestions(Group[CallerT]):
    """How the same work could cost less."""

    list = Unary(
        "ledger.v1.SuggestionService/ListSuggestions",
        suggestion_service_pb2.ListSuggestionsRequest,
        suggestion_service_pb2.ListSuggestionsResponse,
        Repeat.HARMLESS,
    )
