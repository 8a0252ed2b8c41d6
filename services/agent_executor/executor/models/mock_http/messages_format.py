"""The Messages API's own format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agent_executor.executor.models.mock_http.answer import events, message, server_sent_event
from agent_executor.executor.models.mock_http.api_error import ApiError, invalid_request
from agent_executor.executor.models.mock_http.faults import Fault
from agent_executor.executor.models.mock_http.request import read_request
from agent_executor.executor.models.mock_http.wire_format import ReceivedRequest, StreamedEvent
from agent_executor.executor.models.model import ModelResponse

_OVERLOADED: Final = {
    "type": "error",
    "error": {"type": "overloaded_error", "message": "Overloaded"},
}


class MessagesFormat:
    """See ``WireFormat``."""

    request_id_header = "request-id"

    def key_of(self, headers: Mapping[str, str]) -> str:
        """See ``WireFormat``."""
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        key = headers.get("x-api-key", "") or bearer
        if not key:
            raise ApiError(401, "authentication_error", "x-api-key header is required")
        if not headers.get("anthropic-version"):
            raise invalid_request("anthropic-version: header is required")
        return key

    def read(self, body: bytes) -> ReceivedRequest:
        """See ``WireFormat``."""
        return read_request(body)

    def whole(self, response: ModelResponse) -> dict[str, Any]:
        """See ``WireFormat``."""
        return message(response)

    def stream(
        self, received: ReceivedRequest, response: ModelResponse, fault: Fault | None
    ) -> list[StreamedEvent]:
        """See ``WireFormat``."""
        del received
        return [
            StreamedEvent(server_sent_event(event), event["type"] == "content_block_delta")
            for event in events(response, fault)
        ]

    def failure_in_stream(self) -> bytes:
        """See ``WireFormat``."""
        return server_sent_event(_OVERLOADED)

    def error(self, error: ApiError, request_id: str) -> tuple[int, dict[str, Any]]:
        """See ``WireFormat``."""
        return error.status_code, {
            "type": "error",
            "error": {"type": error.error_type, "message": error.message},
            "request_id": request_id,
        }
