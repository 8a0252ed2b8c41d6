"""Claude as a ``ModelProvider``: one streamed call of the Messages API, never repeated here."""

from __future__ import annotations

from typing import Any

import httpx2
from anthropic import (
    AnthropicError,
    APIConnectionError,
    APIStatusError,
    AsyncAnthropic,
    AsyncStream,
)

from agent_executor.errors import AgentExecutorError
from agent_executor.executor.models.anthropic.batches import AnthropicBatches
from agent_executor.executor.models.anthropic.client import Account, AnthropicAccounts
from agent_executor.executor.models.anthropic.errors import ERRORS, PROVIDER, status_error
from agent_executor.executor.models.anthropic.request import request_body
from agent_executor.executor.models.anthropic.stream import AnswerAssembly
from agent_executor.executor.models.catalog import find_model
from agent_executor.executor.models.model import (
    OPERATOR_ACCESS,
    DeltaListener,
    ModelAccess,
    ModelRequest,
    ModelResponse,
)
from agent_executor.executor.models.provider_http import unreached, unsendable


class AnthropicProvider:
    """A ``ModelProvider`` that calls Claude. Close it.

    Every call streams, so that a long answer is never cut by an idle connection.

    Args:
        accounts: Keys and connections.
    """

    def __init__(self, accounts: AnthropicAccounts) -> None:
        self._accounts = accounts

    @property
    def name(self) -> str:
        """The provider's name."""
        return PROVIDER

    async def close(self) -> None:
        """Closes the connections."""
        await self._accounts.close()

    async def batches(self) -> AnthropicBatches:
        """Returns the provider's batches, on the same connections."""
        return AnthropicBatches(self._accounts)

    async def generate(
        self,
        request: ModelRequest,
        *,
        access: ModelAccess = OPERATOR_ACCESS,
        on_delta: DeltaListener | None = None,
    ) -> ModelResponse:
        """Answers the conversation with the model's next message.

        Raises:
            ModelError: The provider refused, failed or was not reached.
            ContextLengthExceededError: The request does not fit the model's context window.
        """
        async with self._accounts.account(access) as account:
            outcome = await _call(account, request, on_delta)
        # Raised here, outside of every handler, so that it carries no error of the SDK along:
        # those hold the request with its headers.
        if isinstance(outcome, AgentExecutorError):
            raise outcome
        return outcome


async def _call(
    account: Account, request: ModelRequest, on_delta: DeltaListener | None
) -> ModelResponse | AgentExecutorError:
    body = request_body(request)
    try:
        return await _stream(account.client, body, on_delta)
    except AgentExecutorError as error:
        return error
    except APIStatusError as error:
        secret = account.key.get_secret_value() or account.client.api_key or ""
        known = find_model(request.model)
        return status_error(
            error.status_code,
            error.body,
            error.response.headers,
            secret,
            known.retirement if known is not None else None,
        )
    except APIConnectionError as error:
        return unreached(error.__cause__, request, ERRORS)
    except (AnthropicError, TypeError, ValueError) as error:
        return unsendable(error, ERRORS)


async def _stream(
    client: AsyncAnthropic, body: dict[str, Any], on_delta: DeltaListener | None
) -> ModelResponse:
    async with client.messages.with_streaming_response.create(**body, stream=True) as response:
        assembly = AnswerAssembly(response.headers.get("request-id", ""), on_delta)
        is_readable = True
        try:
            async for event in AsyncStream.raw_events(response.http_response):
                assembly.feed(event.data)
        except (httpx2.ReadError, httpx2.DecodingError, UnicodeDecodeError):
            # Not raised again, as these hold the request with its headers.
            is_readable = False
        # An answer that came whole before the connection broke is as good as any.
        if not (is_readable or assembly.is_complete):
            raise assembly.broken()
        return assembly.response()
