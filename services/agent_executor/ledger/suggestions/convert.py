"""Between suggestions and their contract. Pure; decides nothing."""

from __future__ import annotations

from agent_executor.api.ledger.v1 import suggestion_service_pb2
from agent_executor.ledger.money import to_usd
from agent_executor.ledger.suggestions.suggestion import Saving, Suggestion
from agent_executor.ledger.suggestions.suggestions import SuggestionPage


def page_to_proto(page: SuggestionPage) -> suggestion_service_pb2.ListSuggestionsResponse:
    """Returns what was found."""
    response = suggestion_service_pb2.ListSuggestionsResponse(
        suggestions=map(suggestion_to_proto, page.suggestions), cost_nano_usd=page.cost_nano_usd
    )
    response.start_time.FromMilliseconds(page.start_ms)
    response.end_time.FromMilliseconds(page.end_ms)
    return response


def suggestion_to_proto(suggestion: Suggestion) -> suggestion_service_pb2.Suggestion:
    """Returns one suggestion. What tells it from others about the same is in its id and figures."""
    return suggestion_service_pb2.Suggestion(
        id=suggestion.id,
        kind=suggestion.kind,
        agent_id=suggestion.subject.agent_id,
        model=suggestion.subject.model,
        tool_name=suggestion.subject.tool_name,
        finding=suggestion.finding,
        change=suggestion.change,
        saving=_saving_to_proto(suggestion.saving),
        evidence_run_ids=suggestion.evidence.run_ids,
        evidence_run_count=suggestion.evidence.run_count,
        figures=suggestion.figures,
    )


def _saving_to_proto(saving: Saving) -> suggestion_service_pb2.Saving:
    return suggestion_service_pb2.Saving(
        low_nano_usd=saving.low_nano_usd,
        expected_nano_usd=saving.expected_nano_usd,
        high_nano_usd=saving.high_nano_usd,
        expected_usd=to_usd(saving.expected_nano_usd),
    )
