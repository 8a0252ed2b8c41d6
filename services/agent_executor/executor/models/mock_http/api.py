"""The Messages API and the Chat Completions API over mock Claude."""

from __future__ import annotations

import asyncio
import datetime as dt
import hmac
import itertools
from typing import Any, Final

from agent_executor.errors import AgentExecutorError
from agent_executor.executor.models.catalog import KNOWN_MODELS, KnownModel, find_model
from agent_executor.executor.models.mock_http.answer import altered, with_thinking
from agent_executor.executor.models.mock_http.api_error import (
    MESSAGES,
    ApiError,
    fault_error,
    invalid_request,
    model_error,
)
from agent_executor.executor.models.mock_http.batches import BATCHES, MockBatches
from agent_executor.executor.models.mock_http.calls import Calls
from agent_executor.executor.models.mock_http.chat_format import ChatFormat
from agent_executor.executor.models.mock_http.faults import (
    FAULT_HEADER,
    Fault,
    FaultNameError,
    FaultPlan,
)
from agent_executor.executor.models.mock_http.messages_format import MessagesFormat
from agent_executor.executor.models.mock_http.request import read_request
from agent_executor.executor.models.mock_http.server import Exchange
from agent_executor.executor.models.mock_http.wire_format import ReceivedRequest, WireFormat
from agent_executor.executor.models.model import ModelProvider, ModelRequest, ModelResponse

_HALF_WAY: Final = (Fault.CUT, Fault.STREAM_ERROR, Fault.STALL)
_MODELS: Final = "/v1/models"
_CHAT: Final = "/v1/chat/completions"
_MESSAGES_FORMAT: Final = MessagesFormat()
_CHAT_FORMAT: Final = ChatFormat()


class MockApi:
    """Answers the requests of both APIs.

    Args:
        model: Who answers.
        faults: What goes wrong.
        api_key: The only key that is accepted; empty accepts every key.
        token_delay_seconds: How long a stream waits before each piece of the answer.
        batch_seconds: How long a message batch takes.

    Attributes:
        calls: What was billed so far.
        batches: The message batches.
    """

    def __init__(
        self,
        model: ModelProvider,
        faults: FaultPlan,
        *,
        api_key: str = "",
        token_delay_seconds: float = 0.0,
        batch_seconds: float = 0.0,
    ) -> None:
        self._model = model
        self._faults = faults
        self._api_key = api_key
        self._token_delay_seconds = token_delay_seconds
        self._numbers = itertools.count(1)
        self.calls = Calls()
        self.batches = MockBatches(self._answer, faults, self.calls, batch_seconds)

    async def handle(self, exchange: Exchange) -> None:
        """Answers one request."""
        wire: WireFormat = _CHAT_FORMAT if exchange.path == _CHAT else _MESSAGES_FORMAT
        request_id = f"req_{next(self._numbers):024d}"
        headers = {wire.request_id_header: request_id}
        try:
            await self._route(exchange, wire, headers)
        except ApiError as error:
            status_code, body = wire.error(error, request_id)
            self.calls.fail(status_code)
            if error.retry_after_seconds is not None:
                headers["retry-after"] = f"{error.retry_after_seconds:g}"
            await exchange.answer(status_code, body, headers)
        except asyncio.CancelledError:
            self.calls.disconnected += 1
            raise

    async def _route(self, exchange: Exchange, wire: WireFormat, headers: dict[str, str]) -> None:
        route = (exchange.method, exchange.path)
        if route == ("GET", "/mock/calls"):
            await exchange.answer(200, self.calls.shown(), headers)
            return
        key = wire.key_of(exchange.headers)
        if self._api_key and not hmac.compare_digest(key.encode(), self._api_key.encode()):
            raise ApiError(401, "authentication_error", "invalid API key")
        match route:
            case ("POST", "/v1/messages" | "/v1/chat/completions"):
                self.calls.requests += 1
                self.calls.open += 1
                try:
                    await self._message(exchange, wire, headers)
                finally:
                    self.calls.open -= 1
            case ("POST", "/v1/messages/count_tokens"):
                received = read_request(exchange.body, needs_max_tokens=False)
                response = await self._generate(received.request)
                usage = response.usage
                tokens = (
                    usage.input_tokens
                    + usage.cache_read_input_tokens
                    + usage.cache_creation_input_tokens_5m
                )
                await exchange.answer(200, {"input_tokens": tokens}, headers)
            case ("GET" | "POST", path) if path == BATCHES or path.startswith(f"{BATCHES}/"):
                await self.batches.handle(exchange, headers)
            case ("GET", path) if path == _MODELS or path.startswith(f"{_MODELS}/"):
                await exchange.answer(200, _models(path), headers)
            case _:
                raise ApiError(404, "not_found_error", "Not found")

    async def _message(self, exchange: Exchange, wire: WireFormat, headers: dict[str, str]) -> None:
        try:
            fault = self._faults.next_fault(exchange.headers.get(FAULT_HEADER, ""))
        except FaultNameError as error:
            raise invalid_request(str(error)) from None
        received = wire.read(exchange.body)
        is_in_stream = fault is Fault.STREAM_ERROR and received.is_streamed
        if fault is not None and fault in MESSAGES and not is_in_stream:
            raise fault_error(fault, self._faults.retry_after_seconds)
        if fault is Fault.HANG:
            await asyncio.Event().wait()
        if fault is Fault.NO_ANSWER:
            exchange.abort()
            return
        response = await self._answer(received, fault)
        self.calls.bill(response.model, response.usage)
        if received.is_streamed:
            await exchange.start_events(headers)
            await self._stream(exchange, wire, received, response, fault)
        elif fault is Fault.STALL:
            await asyncio.Event().wait()
        elif fault is Fault.CUT:
            exchange.abort()
        else:
            await exchange.answer(200, wire.whole(response), headers)

    async def _answer(self, received: ReceivedRequest, fault: Fault | None) -> ModelResponse:
        request = received.request
        known = find_model(request.model)
        if known is not None and request.max_tokens > known.max_output_tokens:
            raise invalid_request(
                f"max_tokens: {request.max_tokens} > {known.max_output_tokens}, which is the "
                f"maximum allowed number of output tokens for {request.model}"
            )
        response = await self._generate(request)
        if received.thinks:
            response = with_thinking(request, response)
        return altered(response, fault)

    async def _generate(self, request: ModelRequest) -> ModelResponse:
        try:
            return await self._model.generate(request)
        except AgentExecutorError as error:
            raise model_error(error) from None

    async def _stream(
        self,
        exchange: Exchange,
        wire: WireFormat,
        received: ReceivedRequest,
        response: ModelResponse,
        fault: Fault | None,
    ) -> None:
        events = wire.stream(received, response, fault)
        for event in events[: len(events) // 2] if fault in _HALF_WAY else events:
            if self._token_delay_seconds and event.is_piece:
                await asyncio.sleep(self._token_delay_seconds)
            await exchange.send(event.data)
        match fault:
            case Fault.CUT:
                exchange.abort()
                return
            case Fault.STALL:
                await asyncio.Event().wait()
            case Fault.STREAM_ERROR:
                await exchange.send(wire.failure_in_stream())
        await exchange.end()


def _models(path: str) -> dict[str, Any]:
    wanted = path.removeprefix(_MODELS).removeprefix("/")
    if wanted:
        known = find_model(wanted)
        if known is None:
            raise ApiError(404, "not_found_error", f"model: {wanted}")
        return _model(known)
    # The newest comes first, as at the provider.
    listed = [_model(known) for known in reversed(KNOWN_MODELS.values())]
    return {
        "data": listed,
        "has_more": False,
        "first_id": listed[0]["id"],
        "last_id": listed[-1]["id"],
    }


def _model(known: KnownModel) -> dict[str, Any]:
    retirement = known.retirement
    lifecycle = "active"
    if retirement is not None:
        today = dt.datetime.now(dt.UTC).date()
        lifecycle = "retired" if retirement.on <= today else "deprecated"
    return {
        "type": "model",
        "id": known.id.value,
        "display_name": known.id.value.replace("-", " ").title(),
        "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": lifecycle,
        "retires_at": f"{retirement.on.isoformat()}T00:00:00Z" if retirement else None,
        "max_input_tokens": known.context_window_tokens,
        "max_tokens": known.max_output_tokens,
    }
