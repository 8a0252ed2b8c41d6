"""How often callers may call the gateways, which all gateways count together here.

The gateway's configuration is the only place where these limits are set: with each request it says
who calls, and which limit that has.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent_executor.errors import InvalidArgumentError
from agent_executor.tool_runner.policy.call_policy import SharedRateLimits
from agent_executor.tool_runner.policy.rate_limit import RateLimit, RateLimiter, RateRefusal

LIMIT_ENTRY: Final = "limit"
DESCRIPTORS_MAX: Final = 8
ENTRIES_MAX: Final = 8
# Requests per second, and at once after a pause.
_LIMIT: Final = re.compile(r"([1-9][0-9]{0,6})/([1-9][0-9]{0,7})", re.ASCII)
_NANOSECONDS: Final = 1_000_000_000
_ORGANIZATION_ENTRIES: Final = ("organization", "caller_organization")


@dataclass(frozen=True, slots=True)
class GatewayRefusal:
    """A request came too early.

    Attributes:
        place: Of the descriptor whose limit lets it through last.
        retry_after_seconds: When it would be let through; None for never.
    """

    place: int
    retry_after_seconds: float | None


class ProcessRateLimits:
    """``SharedRateLimits`` of a tool-runner that shares nothing: exact as long as it is the only one."""

    def __init__(self, limiter: RateLimiter) -> None:
        self._limiter = limiter

    async def admit(
        self, limits: Sequence[tuple[Hashable, RateLimit]], group: str
    ) -> RateRefusal | None:
        """See ``SharedRateLimits``."""
        del group
        return self._limiter.admit(limits)


class GatewayLimits:
    """Counts the requests that come to the gateways."""

    def __init__(self, limits: SharedRateLimits) -> None:
        self._limits = limits

    async def admit(
        self, descriptors: Sequence[Mapping[str, str]], requests: int
    ) -> GatewayRefusal | None:
        """Counts requests against the limit of each descriptor, or against none of them.

        Args:
            descriptors: Who calls, in each way that is limited, of one organization; the entry
                ``limit`` is the rate per second and what may come at once, as ``100/200``.
            requests: How many there are, at least 1.

        Raises:
            InvalidArgumentError: A descriptor says no limit, or there are too many.
            UnavailableError: They cannot be counted together at present.
        """
        if len(descriptors) > DESCRIPTORS_MAX or any(len(d) > ENTRIES_MAX for d in descriptors):
            raise InvalidArgumentError("There are too many descriptors, or entries of one.")
        if not descriptors:
            return None
        limits = [(_key_of(each), _limit_of(each, requests)) for each in descriptors]
        refusal = await self._limits.admit(limits, f"gateway {_organization_of(descriptors[0])}")
        if refusal is None:
            return None
        place = next(place for place, (key, _) in enumerate(limits) if key == refusal.key)
        return GatewayRefusal(place, refusal.retry_after_seconds)


def _key_of(descriptor: Mapping[str, str]) -> Hashable:
    # With the limit in it: what was counted under another one does not hold up its successor.
    return ("gateway", *sorted(descriptor.items()))


def _organization_of(descriptor: Mapping[str, str]) -> str:
    return next((descriptor[name] for name in _ORGANIZATION_ENTRIES if name in descriptor), "")


def _limit_of(descriptor: Mapping[str, str], requests: int) -> RateLimit:
    figures = _LIMIT.fullmatch(descriptor.get(LIMIT_ENTRY, ""))
    if figures is None:
        raise InvalidArgumentError(f'A descriptor says no "{LIMIT_ENTRY}", such as 100/200.')
    per_second, at_once = int(figures[1]), int(figures[2])
    if requests > at_once:
        return RateLimit(0, 1.0, 0, 0)
    # Rounded up, so that the rate is never exceeded.
    interval_ns = math.ceil(_NANOSECONDS / per_second)
    tolerance_ns = (at_once - requests) * interval_ns
    return RateLimit(at_once, at_once / per_second, requests * interval_ns, tolerance_ns)
