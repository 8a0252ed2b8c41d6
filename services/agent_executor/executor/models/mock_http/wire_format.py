"""What differs between the APIs in which mock Claude is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from agent_executor.executor.models.mock_http.api_error import ApiError
from agent_executor.executor.models.mock_http.faults import Fault
from agent_executor.executor.models.model import ModelRequest, ModelResponse


class ReceivedRequest(NamedTuple):
    """A request.

    Attributes:
        request: What mock Claude is asked.
        is_streamed: Whether the answer is to come as events.
        thinks: Whether the caller switched thinking on.
        shows_usage: Whether a streamed answer is to say what it used.
    """

    request: ModelRequest
    is_streamed: bool
    thinks: bool
    shows_usage: bool = True


class StreamedEvent(NamedTuple):
    """One event of a stream.

    Attributes:
        data: As it is sent.
        is_piece: Whether it carries a piece of the answer.
    """

    data: bytes
    is_piece: bool


class WireFormat(Protocol):
    """Reads requests and writes answers.

    Attributes:
        request_id_header: Where an answer has its id.
    """

    @property
    def request_id_header(self) -> str:
        """The header's name."""

    def key_of(self, headers: Mapping[str, str]) -> str:
        """Returns the caller's key.

        Raises:
            ApiError: There is none, or another header is missing.
        """

    def read(self, body: bytes) -> ReceivedRequest:
        """Returns the request of a body.

        Raises:
            ApiError: The API would refuse it.
        """

    def whole(self, response: ModelResponse) -> dict[str, Any]:
        """Returns the answer to a caller that does not stream."""

    def stream(
        self, received: ReceivedRequest, response: ModelResponse, fault: Fault | None
    ) -> list[StreamedEvent]:
        """Returns the answer as the events of a stream."""

    def failure_in_stream(self) -> bytes:
        """Returns the event by which a stream says that the provider is overloaded."""

    def error(self, error: ApiError, request_id: str) -> tuple[int, dict[str, Any]]:
        """Returns the status and the body of an error."""
