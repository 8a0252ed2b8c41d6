"""Results of tools that only read, given again to equal calls for as long as the tool says."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol, TypeAlias

from cachetools import TLRUCache

from agent_executor.tool_runner.calls.context import CallContext
from agent_executor.tool_runner.calls.tool_call import sha256_hex

DEFAULT_CHARACTERS_MAX: Final = 67_108_864
# What a key and its entry take, in characters, so that small results are not without end.
_ENTRY_CHARACTERS: Final = 1_024

CacheKey: TypeAlias = tuple[str, ...]
"""Organization, tool, its version, and digests of the allowed domains and the arguments."""


def cache_key(context: CallContext, tool_version: str, arguments: Mapping[str, Any]) -> CacheKey:
    """Returns what equal calls have in common; the order of arguments' names does not count.

    What was read from a host that is not allowed any more is not given again, so the allowed
    domains are a part of it.
    """
    text = json.dumps(arguments, sort_keys=True, ensure_ascii=False, default=str)
    return (
        *(context.organization_id, context.tool_name, tool_version),
        _digest_of(context.allowed_domains),
        sha256_hex(text.encode("utf-8", "surrogatepass")),
    )


@lru_cache(maxsize=1_024)
def _digest_of(domains: frozenset[str]) -> str:
    return sha256_hex(" ".join(sorted(domains)).encode())


@dataclass(frozen=True, slots=True)
class SharedResult:
    """A result that another tool-runner has had, and how long it may still be given again."""

    result_json: str
    ttl_seconds: float


class SharedResults(Protocol):
    """Results that several tool-runners have in common. What fails there is as if it was not there."""

    async def get(self, key: CacheKey) -> SharedResult | None:
        """Returns a result, or None."""
        ...

    def put(self, key: CacheKey, result_json: str, ttl_seconds: float) -> None:
        """Begins to share a result."""
        ...


@dataclass(frozen=True, slots=True)
class _Cached:
    """A result and how long it may be given again."""

    result_json: str
    ttl_seconds: float


@dataclass(slots=True)
class _Execution:
    """A tool that runs, and how many calls wait for what it gives."""

    task: asyncio.Task[str]
    waiting: int = 0


class ResultCache:
    """Gives equal calls one result, also while the tool still runs. A failure is never kept.

    Args:
        characters_max: Length of all results that are kept; the ones used least recently make
            room.
        monotonic: Seconds of a clock that is never set.
        shared: Where results of other tool-runners are; None where there are none. An equal call that
            runs in another one at the same time is not waited for.
    """

    def __init__(
        self,
        *,
        characters_max: int = DEFAULT_CHARACTERS_MAX,
        monotonic: Callable[[], float] = time.monotonic,
        shared: SharedResults | None = None,
    ) -> None:
        self._shared = shared
        self._results: TLRUCache[CacheKey, _Cached] = TLRUCache(
            characters_max,
            lambda _, cached, now: now + cached.ttl_seconds,
            timer=monotonic,
            getsizeof=lambda cached: len(cached.result_json) + _ENTRY_CHARACTERS,
        )
        self._executions: dict[CacheKey, _Execution] = {}

    def get(self, key: CacheKey) -> str | None:
        """Returns the result that equal calls have had, as JSON text, or None."""
        cached = self._results.get(key)
        return None if cached is None else cached.result_json

    async def run(
        self,
        key: CacheKey,
        ttl_seconds: float,
        execute: Callable[[], Awaitable[str]],
        on_shared: Callable[[], None] = lambda: None,
    ) -> str:
        """Runs a tool, or waits for an equal call's run of it, and keeps the result.

        The run goes on while any call waits for it, whoever began it. If another tool-runner has had
        the result, ``on_shared`` is called and nothing runs.

        Raises:
            Exception: What the run raised.
        """
        execution = self._executions.get(key)
        if execution is None:
            task = asyncio.ensure_future(self._execute(key, ttl_seconds, execute, on_shared))
            execution = self._executions[key] = _Execution(task)
            task.add_done_callback(_take_exception)
        execution.waiting += 1
        try:
            return await asyncio.shield(execution.task)
        finally:
            execution.waiting -= 1
            if execution.waiting == 0 and self._executions.get(key) is execution:
                # It ended, or nobody waits any more; whoever comes now begins anew.
                del self._executions[key]
                execution.task.cancel()

    async def _execute(
        self,
        key: CacheKey,
        ttl_seconds: float,
        execute: Callable[[], Awaitable[str]],
        on_shared: Callable[[], None],
    ) -> str:
        found = None if self._shared is None else await self._shared.get(key)
        if found is not None:
            on_shared()
            self._results[key] = _Cached(found.result_json, found.ttl_seconds)
            return found.result_json
        result_json = await execute()
        self._results[key] = _Cached(result_json, ttl_seconds)
        if self._shared is not None:
            self._shared.put(key, result_json, ttl_seconds)
        return result_json


def _take_exception(task: asyncio.Task[str]) -> None:
    """Says that an exception was seen, for whoever waited for it may be gone."""
    if not task.cancelled():
        task.exception()
