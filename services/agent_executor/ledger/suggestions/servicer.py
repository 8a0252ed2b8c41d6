"""SuggestionService over gRPC: proto in, proto out."""

from __future__ import annotations

from agent_executor.api.ledger.v1 import suggestion_service_pb2, suggestion_service_pb2_grpc
from agent_executor.ledger.suggestions.convert import page_to_proto
from agent_executor.ledger.suggestions.suggestions import Suggestions
from agent_executor.serving.interceptors import Context
from agent_executor.serving.security import current_security_context


class SuggestionServicer(suggestion_service_pb2_grpc.SuggestionServiceServicer):
    """See ``protos/agent_executor/api/ledger/v1/suggestion_service.proto``."""

    def __init__(self, suggestions: Suggestions) -> None:
        self._suggestions = suggestions

    async def ListSuggestions(  # noqa: N802 -- the contract's name
        self, request: suggestion_service_pb2.ListSuggestionsRequest, context: Context
    ) -> suggestion_service_pb2.ListSuggestionsResponse:
        """Lists suggestions."""
        del context
        page = await self._suggestions.list(
            current_security_context.get(), agent_id=request.agent_id, days=request.days
        )
        return page_to_proto(page)
