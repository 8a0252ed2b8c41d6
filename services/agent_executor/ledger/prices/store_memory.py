"""Cards of organizations in memory, for tests and the embedded library."""

from __future__ import annotations

import msgspec

from agent_executor.ledger.prices.organization_card import OrganizationCard


class MemoryOrganizationCardStore:
    """``OrganizationCardStore`` that lasts as long as the process."""

    def __init__(self) -> None:
        # In the order of making.
        self._cards: dict[tuple[str, str], OrganizationCard] = {}

    async def add(self, card: OrganizationCard, *, cards_max: int) -> bool:
        """See ``OrganizationCardStore``."""
        key = (card.organization_id, card.id)
        if key in self._cards:
            return True
        if len(self._not_withdrawn(card.organization_id)) >= cards_max:
            return False
        self._cards[key] = card
        return True

    async def find(self, organization_id: str, card_id: str) -> OrganizationCard | None:
        """See ``OrganizationCardStore``."""
        return self._cards.get((organization_id, card_id))

    async def list_cards(
        self,
        organization_id: str,
        limit: int,
        *,
        model: str = "",
        tool_name: str = "",
        before_id: str = "",
    ) -> list[OrganizationCard]:
        """See ``OrganizationCardStore``."""
        own = self._newest_first(organization_id)
        if before_id:
            ids = [card.id for card in own]
            own = own[ids.index(before_id) + 1 :] if before_id in ids else []
        meant = [
            card for card in own if model in ("", card.model) and tool_name in ("", card.tool_name)
        ]
        return meant[:limit]

    async def withdraw(
        self, organization_id: str, card_id: str, now_ms: int
    ) -> OrganizationCard | None:
        """See ``OrganizationCardStore``."""
        card = self._cards.get((organization_id, card_id))
        if card is not None and card.withdrawn_at_ms is None:
            card = msgspec.structs.replace(card, withdrawn_at_ms=now_ms)
            self._cards[organization_id, card_id] = card
        return card

    async def not_withdrawn(self, organization_id: str) -> list[OrganizationCard]:
        """See ``OrganizationCardStore``."""
        return self._not_withdrawn(organization_id)

    async def version(self) -> tuple[int, ...]:
        """See ``OrganizationCardStore``."""
        withdrawn = sum(card.withdrawn_at_ms is not None for card in self._cards.values())
        return len(self._cards), withdrawn

    def _newest_first(self, organization_id: str) -> list[OrganizationCard]:
        return [
            card
            for card in reversed(self._cards.values())
            if card.organization_id == organization_id
        ]

    def _not_withdrawn(self, organization_id: str) -> list[OrganizationCard]:
        own = self._newest_first(organization_id)
        return [card for card in own if card.withdrawn_at_ms is None]
