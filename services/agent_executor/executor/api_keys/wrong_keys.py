"""Bounds how often a client makes the executor look for keys that there are not.

Nobody guesses 256 bits; this is about the look-ups. A wrong key that is shown again and again, as
by a program whose key was revoked, counts once. A client past its limit is still let in with keys
that have held here before, so that one who tries wrong ones from behind a shared address does not
lock out the others there; other addresses notice nothing.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from cachetools import LRUCache

from agent_executor.errors import LimitExceededError, UnauthenticatedError
from agent_executor.serving.verified_cache import VerifiedCache

WRONG_KEYS_MAX: Final = 30
"""How many different wrong keys a client may show at once."""
SECONDS_PER_WRONG_KEY: Final = 2.0
"""How long it takes until a client may show one more."""

REMEMBERED_MAX: Final = 10_000
WRONG_SECONDS: Final = 60.0
RIGHT_SECONDS: Final = 86_400.0
# Whoever has one address of IPv6 has 2^64.
_IPV6_NETWORK_BITS: Final = 64


class WrongKeys:
    """Remembers wrong keys by their digests, and who showed them. Times are in seconds."""

    def __init__(self) -> None:
        # A leaky bucket for each client: how full it was, and when.
        self._clients: LRUCache[str, tuple[float, float]] = LRUCache(REMEMBERED_MAX)
        self._wrong: VerifiedCache[bytes, str] = VerifiedCache(REMEMBERED_MAX)
        self._right: VerifiedCache[bytes, bool] = VerifiedCache(REMEMBERED_MAX)

    def admit(self, client: str, digest: bytes, now: float) -> None:
        """Passes if it may be looked whether there is a key of this digest.

        Raises:
            LimitExceededError: The client has shown too many wrong keys.
            UnauthenticatedError: The key is known to be wrong.
        """
        why_not = self._wrong.get(digest, now)
        if why_not is not None:
            raise UnauthenticatedError(why_not)
        excess = self._level(client, now) - (WRONG_KEYS_MAX - 1)
        if excess > 0 and not self._right.get(digest, now):
            raise LimitExceededError(
                "Too many wrong API keys were shown in a short time.",
                metadata={"limit": str(WRONG_KEYS_MAX)},
                retry_after_seconds=excess * SECONDS_PER_WRONG_KEY,
            )

    def add(self, client: str, digest: bytes, why_not: str, now: float) -> None:
        """Notes that a client showed a wrong key, and what is wrong with it."""
        self._wrong.put(digest, why_not, now + WRONG_SECONDS)
        self._clients[_network(client)] = (self._level(client, now) + 1, now)

    def note_right(self, digest: bytes, now: float) -> None:
        """Notes that a key holds."""
        self._right.put(digest, True, now + RIGHT_SECONDS)

    def _level(self, client: str, now: float) -> float:
        level, at = self._clients.get(_network(client), (0.0, now))
        return max(0.0, level - (now - at) / SECONDS_PER_WRONG_KEY)


def _network(client: str) -> str:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if address.version == 4:  # noqa: PLR2004 -- IPv4
        return client
    return str(ipaddress.ip_network((address, _IPV6_NETWORK_BITS), strict=False))
