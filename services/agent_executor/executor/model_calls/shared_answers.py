"""Which answers of models are used again, for which requests, and that equal ones ask only once.

An answer is used again where the agent says so (``response_cache_ttl_seconds``) and the request is
the same in all that the answer depends on: organization, provider and its address, model, system
prompt, conversation, tools, limit of output and thinking. Users of an organization share answers.

Kept is only an answer that the model gave of itself to its end (``end_turn``, ``stop_sequence``),
or that asks for nothing but tools that are ``read_only``. To use a tool with an effect is a decision
that every run takes for itself. Refusals, answers that were cut, paused or failed are not kept.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final, TypeAlias

import msgspec

from agent_executor.executor.model_calls.response_cache import CachedAnswer, ResponseCache
from agent_executor.executor.models.model import (
    Message,
    ModelRequest,
    ResponseBlock,
    ToolResultBlock,
    ToolSpecification,
    ToolUseBlock,
)
from agent_executor.serving.cancellation import StopSignal

_KEPT_STOP_REASONS: Final = frozenset({"end_turn", "stop_sequence", "tool_use"})
_DIGEST_BYTES: Final = 32
_ENCODER: Final = msgspec.json.Encoder()


def key_of(organization_id: str, provider: str, base_url: str, request: ModelRequest) -> bytes:
    """Returns what names a request, in its organization.

    The ids of tool calls, which providers make at random, are told by their order.
    """
    request = msgspec.structs.replace(request, messages=_with_plain_ids(request.messages))
    named = _ENCODER.encode((organization_id, provider, base_url, request))
    return hashlib.blake2b(named, digest_size=_DIGEST_BYTES).digest()


def is_kept(answer: CachedAnswer, tools: Sequence[ToolSpecification]) -> bool:
    """Tells whether an answer may be used again.

    Args:
        answer: The answer.
        tools: What the model was offered, with the effect of each.
    """
    if answer.stop_reason not in _KEPT_STOP_REASONS:
        return False
    harmless = {tool.name for tool in tools if tool.effect == "read_only"}
    asked = [block.name for block in answer.content if isinstance(block, ToolUseBlock)]
    return harmless.issuperset(asked)


class Flight(AbstractContextManager["Flight"]):
    """A request that is on its way to the model; equal ones wait until it has landed."""

    def __init__(self, flights: dict[bytes, Flight], key: bytes) -> None:
        self._flights = flights
        self._key = key
        self._landed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._is_unique = False
        flights[key] = self

    def turn_out_unique(self) -> None:
        """Lets those that wait ask for themselves, all at once: this answer is not for them."""
        self._is_unique = True

    async def landed(self) -> bool:
        """Waits, and returns whether it is worth looking again."""
        return await asyncio.shield(self._landed)

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Lets those that wait go on. If there is no answer, the first of them asks next."""
        del self._flights[self._key]
        self._landed.set_result(not self._is_unique)


# An answer; or the flight of who is to ask the model for all; or None: ask without the others.
Found: TypeAlias = CachedAnswer | Flight | None


class SharedAnswers:
    """Finds answers, and lets one of several equal requests ask.

    Args:
        cache: Where answers are kept.
    """

    def __init__(self, cache: ResponseCache) -> None:
        self._cache = cache
        self._flights: dict[bytes, Flight] = {}

    async def find(
        self,
        key: bytes,
        max_age_seconds: int,
        wait_seconds: float,
        before_waiting: Callable[[], Awaitable[object]],
        stop: StopSignal,
    ) -> Found:
        """Returns the answer to an equal request, or who is to ask.

        Args:
            key: See ``key_of``.
            max_age_seconds: How old the answer may be.
            wait_seconds: How long a request that is on its way is waited for.
            before_waiting: Awaited before that, and not cut by it.
            stop: Given when there is nothing to wait for any more; then the answer is None.

        Raises:
            TimeoutError: It was waited for in vain.
        """
        ends_at = asyncio.get_running_loop().time() + wait_seconds
        while True:
            async with asyncio.timeout_at(ends_at):
                answer = await self._cache.get(key, max_age_seconds)
            if answer is not None:
                return answer
            flight = self._flights.get(key)
            if flight is None:
                return Flight(self._flights, key)
            await before_waiting()
            async with asyncio.timeout_at(ends_at):
                if not await stop.bound(flight.landed()):
                    return None

    async def keep(self, key: bytes, answer: CachedAnswer, ttl_seconds: int) -> None:
        """Keeps an answer for equal requests."""
        await self._cache.put(key, answer, ttl_seconds)


def _with_plain_ids(messages: Sequence[Message]) -> tuple[Message, ...]:
    ids: dict[str, str] = {}

    def plain(block: Any) -> Any:
        match block:
            case ToolUseBlock():
                number = ids.setdefault(block.id, str(len(ids)))
                return msgspec.structs.replace(block, id=number)
            case ToolResultBlock():
                number = ids.setdefault(block.tool_use_id, str(len(ids)))
                return msgspec.structs.replace(block, tool_use_id=number)
        return block

    return tuple(
        Message(message.role, tuple(plain(block) for block in message.content))
        for message in messages
    )


def answer_of(content: Sequence[Any], stop_reason: str) -> CachedAnswer:
    """Returns an answer from the message that a run recorded."""
    blocks: list[ResponseBlock] = [
        block for block in content if not isinstance(block, ToolResultBlock)
    ]
    return CachedAnswer(tuple(blocks), stop_reason)
