"""Claude's Message Batches, by the provider's own SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote

import httpx2
from anthropic import AnthropicError, APIConnectionError, APIStatusError
from anthropic._decoders.jsonl import AsyncJSONLDecoder
from anthropic.types.messages import MessageBatch

from agent_executor.errors import AgentExecutorError, ModelError
from agent_executor.executor.models.anthropic.client import Account, AnthropicAccounts
from agent_executor.executor.models.anthropic.errors import ERRORS, batched_error, status_error
from agent_executor.executor.models.anthropic.request import request_body
from agent_executor.executor.models.anthropic.stream import whole_answer
from agent_executor.executor.models.model import ModelAccess
from agent_executor.executor.models.model_batches import (
    MAY_BE_MADE_KEY,
    BatchOutcome,
    BatchRequest,
    OutcomeKind,
    ProviderBatch,
)

T = TypeVar("T")

# How many batches one page of the account's list has; the API's most.
PAGE_SIZE: Final = 1_000
_OVERLOADED: Final = 529
_REQUEST_TIMEOUT: Final = 408
_SERVER_ERROR: Final = 500
_UNBILLED: Final = ("canceled", "expired")


class AnthropicBatches:
    """A ``ModelBatches`` of Claude.

    Args:
        accounts: Keys and connections.
    """

    def __init__(self, accounts: AnthropicAccounts) -> None:
        self._accounts = accounts

    async def create(
        self, requests: Sequence[BatchRequest], *, access: ModelAccess
    ) -> ProviderBatch:
        """See ``ModelBatches``."""
        bodies: Any = [
            {"custom_id": one.id, "params": request_body(one.request)} for one in requests
        ]
        async with self._accounts.account(access) as account:
            making = account.client.messages.batches.create(requests=bodies)
            made = await _outcome(account, making, is_making=True)
        return _batch(_raised(made))

    async def get(self, batch_id: str, *, access: ModelAccess) -> ProviderBatch:
        """See ``ModelBatches``."""
        async with self._accounts.account(access) as account:
            found = await _outcome(account, account.client.messages.batches.retrieve(batch_id))
        return _batch(_raised(found))

    async def made_since(self, since_ms: int, *, access: ModelAccess) -> list[ProviderBatch]:
        """See ``ModelBatches``."""
        async with self._accounts.account(access) as account:
            found = await _outcome(account, _listed(account, since_ms))
        return _raised(found)

    async def outcomes(
        self, batch_id: str, *, access: ModelAccess
    ) -> AsyncIterator[tuple[str, BatchOutcome]]:
        """See ``ModelBatches``."""
        async with self._accounts.account(access) as account:
            lines = _raised(await _outcome(account, _lines(account, batch_id)))
            each = aiter(lines)
            try:
                while (line := _raised(await _outcome(account, anext(each, None)))) is not None:
                    yield str(line["custom_id"]), _read(line["result"])
            except (KeyError, TypeError):
                raise ERRORS.broken_answer(
                    "The batch's results cannot be read.", "", None
                ) from None
            finally:
                await lines.close()

    async def cancel(self, batch_id: str, *, access: ModelAccess) -> None:
        """See ``ModelBatches``."""
        async with self._accounts.account(access) as account:
            _raised(await _outcome(account, account.client.messages.batches.cancel(batch_id)))


async def _listed(account: Account, since_ms: int) -> list[ProviderBatch]:
    found = []
    async for batch in account.client.messages.batches.list(limit=PAGE_SIZE):
        known = _batch(batch)
        if known.created_at_ms < since_ms:
            break
        found.append(known)
    return found


async def _lines(account: Account, batch_id: str) -> AsyncJSONLDecoder[Any]:
    """Begins to read a batch's results.

    The SDK's own method asks for the URL that the batch names, and so would call another origin than
    the account's wherever the account is behind a gateway.
    """
    path = f"/v1/messages/batches/{quote(batch_id, safe='')}/results"
    options: Any = {"headers": {"Accept": "application/binary"}}
    decoder = AsyncJSONLDecoder[Any]
    return await account.client.get(path, cast_to=decoder, options=options, stream=True)


async def _outcome(
    account: Account, calling: Awaitable[T], *, is_making: bool = False
) -> T | AgentExecutorError:
    """Returns what came of a request, as our own error if it failed.

    It is raised by the caller, outside of every handler, so that it carries no error of the SDK
    along: those hold the request with its headers.
    """
    error: AgentExecutorError
    try:
        return await calling
    except AgentExecutorError as failed:
        return failed
    except APIStatusError as failed:
        secret = account.key.get_secret_value() or account.client.api_key or ""
        status = failed.status_code
        error = status_error(status, failed.body, failed.response.headers, secret)
        is_open = status == _REQUEST_TIMEOUT or _SERVER_ERROR <= status != _OVERLOADED
    except APIConnectionError as failed:
        cause = failed.__cause__
        if isinstance(cause, AgentExecutorError):
            return ERRORS.refused(cause.message, "permission_error")
        is_open = not isinstance(cause, httpx2.ConnectError)
        error = ERRORS.connection("The batches could not be asked for.", None)
    except (AnthropicError, httpx2.HTTPError, TypeError, ValueError, RecursionError) as failed:
        is_open = True
        error = ERRORS.broken_answer(f"What came is no batch ({type(failed).__name__}).", "", None)
    if is_making and is_open:
        error.metadata[MAY_BE_MADE_KEY] = "true"
    return error


def _raised(outcome: T | AgentExecutorError) -> T:
    if isinstance(outcome, AgentExecutorError):
        raise outcome
    return outcome


def _batch(batch: MessageBatch) -> ProviderBatch:
    counts = batch.request_counts
    return ProviderBatch(
        id=batch.id,
        has_ended=batch.processing_status == "ended",
        request_count=counts.processing
        + counts.succeeded
        + counts.errored
        + counts.canceled
        + counts.expired,
        created_at_ms=int(batch.created_at.timestamp() * 1000),
    )


def _read(result: dict[str, Any]) -> BatchOutcome:
    """Returns what a request came to."""
    kind = result["type"]
    if kind in _UNBILLED:
        return BatchOutcome(cast("OutcomeKind", kind))
    try:
        if kind == "succeeded":
            return BatchOutcome("succeeded", whole_answer(result["message"]))
        error = batched_error(result.get("error"))
    except AgentExecutorError as broken:
        error = broken
    return BatchOutcome(
        "errored",
        error=error.message,
        code=error.reason,
        can_retry=isinstance(error, ModelError) and error.retry_after_seconds is not None,
        error_metadata=error.metadata,
    )
