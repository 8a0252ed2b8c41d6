"""Rate limits that several processes count together, in one script on Redis's own clock."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

from agent_executor.errors import UnavailableError
from agent_executor.storage.redis_client import RedisClient, Script
from agent_executor.tool_runner.policy.rate_limit import (
    OnUnavailable,
    RateLimit,
    RateLimiter,
    RateRefusal,
)

# The number is that of the layout: processes of another layout count apart.
KEY_PREFIX: Final = "agent_executor:1:limit:"
_NANOSECONDS: Final = 1_000_000_000

_CLOCK: Final = "local time = redis.call('TIME')"
# What ``RateLimiter.admit`` does. A Lua number holds integers up to 2^53, which is 104 days in
# nanoseconds: so the script reckons with how far a key is ahead of the clock, which is up to the 30
# days of a window, and writes the time in two parts. A key expires when it is at rest.
_DECISION: Final = """
local now_s, now_ns = tonumber(time[1]), tonumber(time[2]) * 1000
local arrivals = redis.call('MGET', unpack(KEYS))
local ahead, longest, refused = {}, 0, 0
for i = 1, #KEYS do
  ahead[i] = 0
  local arrival = arrivals[i]
  if arrival then
    local s, ns = tonumber(string.sub(arrival, 1, -10)), tonumber(string.sub(arrival, -9))
    ahead[i] = math.max(0, (s - now_s) * 1e9 + ns - now_ns)
  end
  local wait = ahead[i] - tonumber(ARGV[2 * i])
  if wait > longest then longest, refused = wait, i end
end
if refused > 0 then return {refused, longest} end
for i = 1, #KEYS do
  local rest = ahead[i] + tonumber(ARGV[2 * i - 1])
  local ns = now_ns + rest
  local arrival = string.format('%d%09d', now_s + math.floor(ns / 1e9), ns % 1e9)
  redis.call('SET', KEYS[i], arrival, 'PX', math.ceil(rest / 1e6))
end
return 0
"""
SCRIPT: Final = Script(_CLOCK + _DECISION)


class RedisRateLimiter:
    """Counts calls against limits, exactly, whichever process they come to.

    While Redis is away, either each process counts for itself, against its share of each limit, or
    none counts and calls are refused. With a share, the processes together let through no more than
    a limit's rate, and at most one more burst of it when Redis goes away, since nobody knows then
    what the others have counted; but each process lets through one call, however small its share.

    Args:
        client: The connection.
        on_unavailable: ``share`` or ``refuse``.
        processes: How many processes count together at present; at least 1 is assumed.
        clock_ns: Monotonic, in nanoseconds, for while Redis is away.
        on_counted_alone: Called with ``admitted`` or ``refused`` for each call that was counted
            without Redis, and with ``unavailable`` for each that was not counted.
    """

    def __init__(
        self,
        client: RedisClient,
        *,
        on_unavailable: OnUnavailable,
        processes: Callable[[], int],
        clock_ns: Callable[[], int],
        on_counted_alone: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._on_unavailable = on_unavailable
        self._processes = processes
        self._alone = RateLimiter(clock_ns)
        self._on_counted_alone = on_counted_alone

    async def admit(
        self, limits: Sequence[tuple[Hashable, RateLimit]], group: str
    ) -> RateRefusal | None:
        """See ``SharedRateLimits``."""
        keys: list[str] = []
        figures: list[int] = []
        for key, limit in limits:
            if limit.max_calls == 0:
                return RateRefusal(limit, key, None)
            keys.append(redis_key(group, key))
            figures += (limit.interval_ns, limit.tolerance_ns)
        try:
            reply = await self._client.run_script(SCRIPT, keys, figures)
        except UnavailableError:
            return self._admit_alone(limits)
        return _refusal_of(reply, limits)

    def _admit_alone(self, limits: Sequence[tuple[Hashable, RateLimit]]) -> RateRefusal | None:
        if self._on_unavailable == "refuse":
            self._on_counted_alone("unavailable")
            raise UnavailableError(
                "The rate limits cannot be counted at present; the same call may succeed later.",
                retry_after_seconds=1.0,
            )
        processes = max(1, self._processes())
        shares = [((key, processes), share_of(limit, processes)) for key, limit in limits]
        refusal = self._alone.admit(shares)
        self._on_counted_alone("admitted" if refusal is None else "refused")
        if refusal is None:
            return None
        key, limit = next(
            whole for whole, (share, _) in zip(limits, shares, strict=True) if share == refusal.key
        )
        return RateRefusal(limit, key, refusal.retry_after_seconds)


def share_of(limit: RateLimit, processes: int) -> RateLimit:
    """Returns what each of so many processes may let through of a limit; a burst of 1 at least."""
    max_calls = max(1, limit.max_calls // processes)
    interval_ns = limit.interval_ns * processes
    return RateLimit(max_calls, limit.window_seconds, interval_ns, (max_calls - 1) * interval_ns)


@functools.lru_cache(maxsize=16_384)
def redis_key(group: str, key: Hashable) -> str:
    """Returns what a key is called in Redis: a digest, for names may be long and are private.

    The keys of one decision share what stands in braces, so that they lie on one node of a cluster.
    """
    return f"{KEY_PREFIX}{{{_digest(group, 8)}}}:{_digest(repr(key), 16)}"


def _digest(text: str, size_bytes: int) -> str:
    # A model may have spelled a tool's name with half characters.
    data = text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=size_bytes).hexdigest()


def _refusal_of(reply: Any, limits: Sequence[tuple[Hashable, RateLimit]]) -> RateRefusal | None:
    if reply == 0:
        return None
    place, wait_ns = reply
    key, limit = limits[place - 1]
    return RateRefusal(limit, key, wait_ns / _NANOSECONDS)
