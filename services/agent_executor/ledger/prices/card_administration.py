"""Setting prices of one's own, and seeing by which one a call is priced."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import msgspec

from agent_executor.errors import LimitExceededError, RateCardNotFoundError
from agent_executor.ledger import page_tokens
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.prices.card_checks import (
    NewCard,
    check_time,
    checked_price,
    checked_validity,
)
from agent_executor.ledger.prices.organization_card import PROVIDER, OrganizationCard
from agent_executor.ledger.prices.organization_prices import OrganizationPrices
from agent_executor.ledger.prices.rate_card import RateCard
from agent_executor.ledger.prices.rate_cards import RateCards
from agent_executor.ledger.prices.store import OrganizationCardStore, RateCardStore
from agent_executor.serving.security import SecurityContext

READ_PERMISSION: Final = "ledger:read"
WRITE_PERMISSION: Final = "ledger:admin"
CARDS_MAX: Final = 10_000

_LOGGER: Final = logging.getLogger(__name__)


class CardPage(msgspec.Struct, frozen=True):
    """Cards, newest first; ``next_page_token`` is empty on the last page."""

    cards: tuple[OrganizationCard, ...]
    next_page_token: str


class CardAdministration:
    """Keeps the cards of organizations.

    Args:
        store: Where they are kept.
        used_cards: Where the cards are kept that calls were priced by.
        own: What finds prices; it is told of each change.
        rate_cards: Finds prices.
        clock: Seconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        store: OrganizationCardStore,
        used_cards: RateCardStore,
        own: OrganizationPrices,
        rate_cards: RateCards,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._used_cards = used_cards
        self._own = own
        self._rate_cards = rate_cards
        self._clock = clock

    async def create(self, new: NewCard, security: SecurityContext) -> OrganizationCard:
        """Sets a price; what is priced after that, for the time in which it holds, goes by it.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:admin``.
            InvalidArgumentError: The card cannot be so.
            LimitExceededError: The organization has 10,000 cards that are not withdrawn.
            UnavailableError: The storage failed.
        """
        security.require(WRITE_PERMISSION)
        now_ms = self._now_ms()
        price = checked_price(new)
        valid_from_ms, valid_until_ms = checked_validity(new, now_ms)
        card = OrganizationCard.of(
            security.organization_id,
            price,
            valid_from_ms,
            valid_until_ms,
            created_at_ms=now_ms,
            created_by=security.user_id,
            description=new.description,
        )
        # Before it can be found, so that no entry ever names a card that is not there.
        if card.rate_card is not None:
            await self._used_cards.put_rate_card(card.rate_card, PROVIDER)
        try:
            added = await self._store.add(card, cards_max=CARDS_MAX)
        finally:
            self._own.forget()
        if not added:
            raise LimitExceededError(
                f"The organization has {CARDS_MAX} rate cards, which is the limit; "
                "withdraw those that are not needed."
            )
        _LOGGER.info(
            "User %s of %s made the rate card %s.", security.user_id, card.organization_id, card.id
        )
        return card

    async def get(
        self, rate_card_id: str, security: SecurityContext
    ) -> OrganizationCard | RateCard:
        """Returns a card: one of the organization's own, or one of the price list that was used.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:read``.
            RateCardNotFoundError: There is none, or it is another organization's.
            UnavailableError: The storage failed.
        """
        security.require(READ_PERMISSION)
        _check_id(rate_card_id)
        own = await self._store.find(security.organization_id, rate_card_id)
        if own is not None:
            return own
        card = await self._used_cards.get_rate_card(rate_card_id)
        # Cards of all organizations are kept there, and this one's have been looked through.
        if card is None or card.provider == PROVIDER:
            raise _not_found(rate_card_id)
        return card

    async def list(
        self,
        security: SecurityContext,
        *,
        page_size: int = 0,
        page_token: str = "",
        model: str = "",
        tool_name: str = "",
    ) -> CardPage:
        """Returns a page of the organization's own cards, newest first, withdrawn ones too.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:read``.
            InvalidArgumentError: The page's size is out of range, or its token was not given out.
            UnavailableError: The storage failed.
        """
        security.require(READ_PERMISSION)
        size = page_tokens.page_size_of(page_size)
        question = ("rate cards", security.organization_id, model, tool_name)
        before, _ = page_tokens.decode(question, page_token)
        # No card has such a name, and not every database can be asked for it.
        if not (model + tool_name).isprintable():
            return CardPage((), "")
        found = await self._store.list_cards(
            security.organization_id, size + 1, model=model, tool_name=tool_name, before_id=before
        )
        page = tuple(found[:size])
        token = page_tokens.encode(question, page[-1].id) if len(found) > size else ""
        return CardPage(page, token)

    async def withdraw(self, rate_card_id: str, security: SecurityContext) -> OrganizationCard:
        """Withdraws a card: nothing is priced by it from now on, but by what it superseded.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:admin``.
            RateCardNotFoundError: The organization has none of this id.
            UnavailableError: The storage failed.
        """
        security.require(WRITE_PERMISSION)
        _check_id(rate_card_id)
        organization_id = security.organization_id
        try:
            card = await self._store.withdraw(organization_id, rate_card_id, self._now_ms())
        finally:
            self._own.forget()
        if card is None:
            raise _not_found(rate_card_id)
        _LOGGER.info(
            "User %s of %s withdrew the rate card %s.", security.user_id, organization_id, card.id
        )
        return card

    async def resolve(
        self,
        model: str,
        usage: TokenUsage,
        security: SecurityContext,
        *,
        at_ms: int | None = None,
        processing: str = "",
        speed: str = "",
    ) -> tuple[OrganizationCard | RateCard, NanoUsd]:
        """Returns the card by which a call is priced, and what an example costs.

        Args:
            model: As callers name it.
            usage: The example.
            security: The caller.
            at_ms: When the call is made, in milliseconds since 1970-01-01 UTC. Default: now.
            processing: ``batch`` or empty.
            speed: ``fast`` or empty.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:read``.
            UnknownModelError: The model has no price then, and such models are refused.
            InvalidArgumentError: The time cannot be, or the example costs too much.
            UnavailableError: The storage failed.
        """
        security.require(READ_PERMISSION)
        at_ms = self._now_ms() if at_ms is None else at_ms
        check_time("time", at_ms)
        card = await self._rate_cards.find(
            security.organization_id, model, at_ms, processing=processing, speed=speed
        )
        cost = card.cost(usage)
        if card.provider == PROVIDER:
            own = await self._store.find(security.organization_id, card.id)
            return (card if own is None else own), cost
        return card, cost

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _check_id(rate_card_id: str) -> None:
    # No id is like that, and not every database can be asked for it.
    if not rate_card_id.isprintable():
        raise _not_found(rate_card_id)


def _not_found(rate_card_id: str) -> RateCardNotFoundError:
    return RateCardNotFoundError(
        "There is no such rate card.", metadata={"rate_card_id": rate_card_id}
    )
