"""The prices that organizations have set, in memory, and what another process set a second later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from agent_executor.ledger.prices.organization_card import OrganizationCard, PriceKey
from agent_executor.ledger.prices.store import OrganizationCardStore

# How late this process may see what another one wrote.
FRESH_SECONDS: Final = 1.0
ORGANIZATIONS_MAX: Final = 10_000

CardsByKey: TypeAlias = Mapping[PriceKey, tuple[OrganizationCard, ...]]
"""The cards for each thing that has some, newest first."""


class OrganizationPrices:
    """What a store holds, read again only if something has changed.

    Whether it has is asked once a second while there are calls, whatever the number of
    organizations.

    Args:
        store: Where the cards are kept.
        monotonic: Seconds of a clock that is never set.
    """

    def __init__(
        self, store: OrganizationCardStore, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._monotonic = monotonic
        self._by_organization: dict[str, CardsByKey] = {}
        self._version: tuple[int, ...] = ()
        self._fresh_until = float("-inf")
        self._writes = 0
        self._reading = asyncio.Lock()

    def known(self, organization_id: str) -> CardsByKey | None:
        """Returns the cards of an organization at once; None if they must be read."""
        if self._monotonic() < self._fresh_until:
            return self._by_organization.get(organization_id)
        return None

    async def get(self, organization_id: str) -> CardsByKey:
        """Returns the cards of an organization.

        Raises:
            UnavailableError: The storage failed.
        """
        # One reads at a time, and those who have waited mostly find what they need.
        async with self._reading:
            known = self.known(organization_id)
            return await self._read(organization_id) if known is None else known

    def forget(self) -> None:
        """Makes the next ``get`` read; to be called after each write."""
        self._writes += 1
        self._version = ()
        self._fresh_until = float("-inf")

    async def _read(self, organization_id: str) -> CardsByKey:
        started, writes = self._monotonic(), self._writes
        if started >= self._fresh_until:
            version = await self._store.version()
            if version != self._version:
                self._by_organization.clear()
            # What was read while somebody wrote may be from before.
            if writes == self._writes:
                self._version = version
                self._fresh_until = started + FRESH_SECONDS
        cards = self._by_organization.get(organization_id)
        if cards is None:
            cards = _by_key(await self._store.not_withdrawn(organization_id))
            if writes == self._writes:
                if len(self._by_organization) >= ORGANIZATIONS_MAX:
                    self._by_organization.clear()
                self._by_organization[organization_id] = cards
        return cards


def _by_key(newest_first: Iterable[OrganizationCard]) -> CardsByKey:
    cards: dict[PriceKey, list[OrganizationCard]] = {}
    for card in newest_first:
        cards.setdefault(card.key, []).append(card)
    return {key: tuple(own) for key, own in cards.items()}
