"""A price that an organization has set for itself: of a model, or of a tool."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.prices.rate_card import PriceContext, RateCard, Rates, Tier, card_id

PROVIDER: Final = "organization"

# What the path of a REST request carries as it is.
_NO_PATH_CHARACTER: Final = re.compile(r"[^A-Za-z0-9._-]")


class ModelPrice(msgspec.Struct, frozen=True, tag="model"):
    """What the tokens of a model cost.

    Attributes:
        model: As callers name it.
        context: Standard, or what else the price is for.
        base: Rates of a call below all tiers.
        tiers: Ascending.
    """

    model: str
    base: Rates
    tiers: tuple[Tier, ...] = ()
    context: PriceContext = ()


class ToolFee(msgspec.Struct, frozen=True, tag="tool"):
    """What a call of a tool costs."""

    tool_name: str
    fee_nano_usd: NanoUsd


PriceKey: TypeAlias = tuple[str, str, PriceContext]
"""What a price is for: ``("model", model, context)`` or ``("tool", name, ())``."""


class OrganizationCard(msgspec.Struct, frozen=True, kw_only=True):
    """A price and when it holds. It never changes, except that it is withdrawn once.

    Attributes:
        id: ``organization/name@digest``, made of all but the withdrawal. Entries name it.
        organization_id: Whose it is.
        price: Of a model or a tool.
        valid_from_ms: From when on it holds, in milliseconds since 1970-01-01 UTC.
        valid_until_ms: Until when, exclusive; None: without end.
        created_at_ms: When it was made.
        created_by: Who made it.
        description: Why, as its maker put it.
        withdrawn_at_ms: Since when nothing is priced by it, whenever it occurred; None: it is not
            withdrawn.
    """

    id: str
    organization_id: str
    price: ModelPrice | ToolFee
    valid_from_ms: int
    valid_until_ms: int | None = None
    created_at_ms: int
    created_by: str
    description: str = ""
    withdrawn_at_ms: int | None = None

    @classmethod
    def of(
        cls,
        organization_id: str,
        price: ModelPrice | ToolFee,
        valid_from_ms: int,
        valid_until_ms: int | None = None,
        *,
        created_at_ms: int,
        created_by: str,
        description: str = "",
    ) -> OrganizationCard:
        """Returns the card of this content, with the id that follows from it."""
        card = cls(
            id="",
            organization_id=organization_id,
            price=price,
            valid_from_ms=valid_from_ms,
            valid_until_ms=valid_until_ms,
            created_at_ms=created_at_ms,
            created_by=created_by,
            description=description,
        )
        name = _NO_PATH_CHARACTER.sub("_", card.model or card.tool_name)
        return msgspec.structs.replace(card, id=card_id(PROVIDER, name, card))

    @property
    def model(self) -> str:
        """The model; empty for a tool."""
        return self.price.model if isinstance(self.price, ModelPrice) else ""

    @property
    def tool_name(self) -> str:
        """The tool; empty for a model."""
        return self.price.tool_name if isinstance(self.price, ToolFee) else ""

    @property
    def key(self) -> PriceKey:
        """What it is a price for."""
        if isinstance(self.price, ModelPrice):
            return "model", self.price.model, self.price.context
        return "tool", self.price.tool_name, ()

    @property
    def rate_card(self) -> RateCard | None:
        """The card that entries of model calls are priced by, of the same id; None for a tool."""
        if not isinstance(self.price, ModelPrice):
            return None
        price = self.price
        return RateCard(self.id, PROVIDER, price.model, price.context, price.base, price.tiers)

    def is_in_force(self, at_ms: int) -> bool:
        """Tells whether it holds at a time and has not been withdrawn."""
        return (
            self.withdrawn_at_ms is None
            and self.valid_from_ms <= at_ms
            and (self.valid_until_ms is None or at_ms < self.valid_until_ms)
        )


def in_force(newest_first: Iterable[OrganizationCard], at_ms: int) -> OrganizationCard | None:
    """Returns the card by which something is priced at a time: the one made last that holds then.

    Args:
        newest_first: Cards for the same thing, the one made last first.
        at_ms: When it occurred, in milliseconds since 1970-01-01 UTC.
    """
    for card in newest_first:
        if card.is_in_force(at_ms):
            return card
    return None
