"""Entries as rows of a FOCUS 1.2 dataset, the FinOps format for cost and usage. Pure.

The columns of FOCUS come first, in alphabetical order; those that begin with ``x_`` are our own.
Columns of things that there are none of here, such as commitment discounts, are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.reports.csv_columns import Cell, dollars

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR: Final = timedelta(hours=1)
_LONGEST_MONTH: Final = timedelta(days=31)
# Who provides what no model provider does: tools and amounts.
_OURSELVES: Final = "Agent Executor"
_USAGE_KINDS: Final = ("model_call", "tool_call")
_DESCRIPTIONS: Final = {
    "model_call": "Model call",
    "tool_call": "Tool call",
    "correction": "Correction of usage",
    "rerating": "Correction of a price",
    "adjustment": "Adjustment",
}


def row(entry: UsageEntry) -> Sequence[Cell]:
    """Returns the values of ``NAMES``; the empty text stands for null."""
    return [*_focus(entry).values(), *_own(entry).values()]


def _focus(entry: UsageEntry) -> dict[str, Cell]:
    cost = dollars(entry.cost_nano_usd)
    hour = _moment(entry).replace(minute=0, second=0, microsecond=0)
    month = hour.replace(hour=0, day=1)
    provider, sku, unit, quantity = _provider(entry), _sku(entry), _unit(entry), _quantity(entry)
    is_usage = entry.kind in _USAGE_KINDS
    return {
        "BilledCost": cost,
        "BillingAccountId": entry.organization_id,
        "BillingAccountName": entry.organization_id,
        "BillingCurrency": "USD",
        "BillingPeriodEnd": _utc((month + _LONGEST_MONTH).replace(day=1)),
        "BillingPeriodStart": _utc(month),
        "ChargeCategory": _category(entry),
        # Nothing here has been invoiced before.
        "ChargeClass": "",
        "ChargeDescription": _description(entry),
        "ChargeFrequency": "Usage-Based" if is_usage else "One-Time",
        "ChargePeriodEnd": _utc(hour + _HOUR),
        "ChargePeriodStart": _utc(hour),
        "ConsumedQuantity": quantity if is_usage else "",
        "ConsumedUnit": unit if is_usage else "",
        "ContractedCost": cost,
        "EffectiveCost": cost,
        "InvoiceIssuerName": provider,
        "ListCost": cost,
        "PricingCategory": "Standard" if is_usage else "",
        "PricingQuantity": quantity,
        "PricingUnit": unit,
        "ProviderName": provider,
        "PublisherName": provider,
        "ResourceId": entry.agent_id,
        "ResourceType": "Agent" if entry.agent_id else "",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": _service(entry),
        "ServiceSubcategory": (
            "Generative AI" if entry.model else "Other (AI and Machine Learning)"
        ),
        "SkuId": sku,
        "SkuMeter": unit if sku else "",
        "SkuPriceId": entry.rate_card_id or sku,
        "SubAccountId": entry.user_id,
        "SubAccountName": entry.user_id,
        "SubAccountType": "User" if entry.user_id else "",
        "Tags": _tags(entry),
    }


def _own(entry: UsageEntry) -> dict[str, Cell]:
    usage = entry.usage
    return {
        "x_EntryId": entry.id,
        "x_EntryKind": entry.kind,
        "x_CorrectsEntryId": entry.corrects_entry_id,
        "x_RunId": entry.run_id,
        "x_Model": entry.model,
        "x_ToolName": entry.tool_name,
        "x_OccurredAt": _utc(_moment(entry)),
        "x_CostNanoUsd": entry.cost_nano_usd,
        "x_InputTokens": usage.input_tokens,
        "x_OutputTokens": usage.output_tokens,
        "x_CacheReadInputTokens": usage.cache_read_input_tokens,
        "x_CacheCreationInputTokens5m": usage.cache_creation_input_tokens_5m,
        "x_CacheCreationInputTokens1h": usage.cache_creation_input_tokens_1h,
        "x_Estimated": "true" if entry.estimated else "false",
        "x_Test": "true" if entry.is_test else "false",
        "x_Attempt": entry.attempt,
    }


def _category(entry: UsageEntry) -> str:
    if entry.kind in _USAGE_KINDS:
        return "Usage"
    is_credit = entry.kind == "adjustment" and entry.cost_nano_usd < 0
    return "Credit" if is_credit else "Adjustment"


def _description(entry: UsageEntry) -> str:
    if entry.description:
        return entry.description
    about = [
        part for part in (entry.model or entry.tool_name, entry.processing, entry.speed) if part
    ]
    kind = _DESCRIPTIONS[entry.kind]
    return f"{kind}: {', '.join(about)}" if about else kind


def _provider(entry: UsageEntry) -> str:
    """Returns who sells the tokens, with whose name the id of a model's rate card begins."""
    provider, slash, _ = entry.rate_card_id.partition("/")
    return provider if entry.model and slash else _OURSELVES


def _service(entry: UsageEntry) -> str:
    if entry.model:
        return "Model inference"
    return "Tools" if entry.tool_name else "Adjustments"


def _sku(entry: UsageEntry) -> str:
    parts = (entry.model or entry.tool_name, entry.processing, entry.speed)
    return "/".join(part for part in parts if part)


def _unit(entry: UsageEntry) -> str:
    if entry.model:
        return "Tokens"
    return "Calls" if entry.tool_name else ""


def _quantity(entry: UsageEntry) -> Cell:
    if entry.model:
        return entry.usage.tokens_used
    return 1 if entry.tool_name else ""


def _tags(entry: UsageEntry) -> str:
    tags = {"agent_id": entry.agent_id, "run_id": entry.run_id, "user_id": entry.user_id}
    return msgspec.json.encode({key: value for key, value in tags.items() if value}).decode()


def _moment(entry: UsageEntry) -> datetime:
    return _EPOCH + timedelta(milliseconds=entry.occurred_at_ms)


def _utc(moment: datetime) -> str:
    # FOCUS knows no parts of seconds.
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


NAMES: Final = (
    *_focus(UsageEntry(id="", organization_id="", occurred_at_ms=0, created_at_ms=0)),
    *_own(UsageEntry(id="", organization_id="", occurred_at_ms=0, created_at_ms=0)),
)
"""The columns."""
