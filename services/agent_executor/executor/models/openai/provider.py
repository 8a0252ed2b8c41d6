"""Chat Completions as a ``ModelProvider``: one streamed call, never repeated here."""

from __future__ import annotations

from openai import APIConnectionError, APIError, APIStatusError, AsyncStream, OpenAIError

from agent_executor.errors import AgentExecutorError, ContextLengthExceededError, ModelError
from agent_executor.executor.models.model import (
    OPERATOR_ACCESS,
    DeltaListener,
    ModelAccess,
    ModelRequest,
    ModelResponse,
)
from agent_executor.executor.models.openai.client import Account, OpenAIAccounts
from agent_executor.executor.models.openai.errors import (
    ERRORS,
    PROVIDER,
    status_error,
    stream_error,
)
from agent_executor.executor.models.openai.request import request_body
from agent_executor.executor.models.openai.stream import AnswerAssembly
from agent_executor.executor.models.provider_errors import MALFORMED
from agent_executor.executor.models.provider_http import (
    estimated_input_tokens,
    unreached,
    unsendable,
)


class OpenAIProvider:
    """A ``ModelProvider`` that calls any endpoint of the Chat Completions API. Close it.

    Every call streams, so that a long answer is never cut by an idle connection.

    Args:
        accounts: Keys and connections.
    """

    def __init__(self, accounts: OpenAIAccounts) -> None:
        self._accounts = accounts

    @property
    def name(self) -> str:
        """The provider's name."""
        return PROVIDER

    async def close(self) -> None:
        """Closes the connections."""
        await self._accounts.close()

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
    try:
        # The SDK's method for this API makes objects of every chunk, and takes ten times as long.
        stream = await account.client.post(
            "/chat/completions",
            cast_to=object,
            body=request_body(request, account.host),
            options={"security": {"bearer_auth": True}},
            stream=True,
            stream_cls=AsyncStream[object],
        )
        async with stream:
            return await _read(stream, request, on_delta)
    except (ModelError, ContextLengthExceededError) as error:
        return error
    except AgentExecutorError as error:
        # The transport's own refusals, which this SDK lets through.
        return unreached(error, request, ERRORS)
    except APIStatusError as error:
        return status_error(
            error.status_code,
            error.body,
            error.response.headers,
            account.key.get_secret_value(),
            estimated_input_tokens(request),
        )
    except APIConnectionError as error:
        return unreached(error.__cause__, request, ERRORS)
    except (OpenAIError, TypeError, ValueError) as error:
        return unsendable(error, ERRORS)


async def _read(
    stream: AsyncStream[object], request: ModelRequest, on_delta: DeltaListener | None
) -> ModelResponse:
    request_id = stream.response.headers.get("x-request-id", "")
    assembly = AnswerAssembly(estimated_input_tokens(request), request_id, on_delta)
    failure: AgentExecutorError | None = None
    try:
        async for chunk in stream:
            assembly.feed(chunk)
    except APIConnectionError:
        failure = assembly.broken()
    except APIError as error:
        failure = stream_error(error.body, request_id, assembly.delivered_usage())
    except (ValueError, RecursionError):
        # What is no JSON, or no text.
        failure = assembly.broken(MALFORMED)
    # An answer that came whole before the connection broke is as good as any.
    if failure is not None and not assembly.is_complete:
        raise failure
    return assembly.response()
