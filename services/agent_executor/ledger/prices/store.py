"""The ports to where prices are kept."""

from __future__ import annotations

from typing import Protocol

from agent_executor.ledger.prices.organization_card import OrganizationCard
from agent_executor.ledger.prices.rate_card import RateCard


class RateCardStore(Protocol):
    """Keeps the cards that calls were priced by; a part of ``AccountingStore``."""

    async def put_rate_card(self, card: RateCard, source: str) -> None:
        """See ``AccountingStore``."""
        ...

    async def get_rate_card(self, rate_card_id: str) -> RateCard | None:
        """See ``AccountingStore``."""
        ...


class OrganizationCardStore(Protocol):
    """Keeps the cards that organizations have made, in the order in which they were.

    A write is durable, and seen by every later read, once its method has returned. Every method
    raises UnavailableError if the storage failed.
    """

    async def add(self, card: OrganizationCard, *, cards_max: int) -> bool:
        """Stores a card as the newest one. Does nothing if it is stored: its id is its content.

        Returns:
            False, and stores nothing, if the organization has ``cards_max`` others that are not
            withdrawn.
        """
        ...

    async def find(self, organization_id: str, card_id: str) -> OrganizationCard | None:
        """Returns a card, or None if the organization has none of this id."""
        ...

    async def list_cards(
        self,
        organization_id: str,
        limit: int,
        *,
        model: str = "",
        tool_name: str = "",
        before_id: str = "",
    ) -> list[OrganizationCard]:
        """Returns cards, newest first, withdrawn ones too.

        Args:
            organization_id: Whose cards.
            limit: How many at most.
            model: Only those of this model; empty: all.
            tool_name: Only those of this tool; empty: all.
            before_id: Only those older than this one, none if there is no such card; empty: all.
        """
        ...

    async def withdraw(
        self, organization_id: str, card_id: str, now_ms: int
    ) -> OrganizationCard | None:
        """Withdraws a card and returns it as it then stands, or None if there is none.

        One that is withdrawn stays withdrawn since the first time.
        """
        ...

    async def not_withdrawn(self, organization_id: str) -> list[OrganizationCard]:
        """Returns all cards of an organization that are not withdrawn, newest first."""
        ...

    async def version(self) -> tuple[int, ...]:
        """Returns numbers that are others after each change to any card of any organization."""
        ...
