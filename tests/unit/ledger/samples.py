"""A price list with round prices, and requests and callers to go with it."""

from __future__ import annotations

from datetime import date

import msgspec
from agent_executor.ledger.usage.reservations import ReserveRequest, SettleRequest

from agent_executor.errors import UnknownModelError
from agent_executor.ledger.accounting.budget import Budget
from agent_executor.ledger.accounting.entry import Settlement
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.money import NanoUsd, PicoUsdPerToken
from agent_executor.ledger.prices.rate_card import PriceContext, RateCard, Rates
from agent_executor.serving.security import SecurityContext

MODEL = "model-1"
DEARER_MODEL = "model-2"
ADA = SecurityContext("acme", "ada", frozenset({"ledger:*"}))
BOB = SecurityContext("acme", "bob", frozenset({"ledger:*"}))
EVE = SecurityContext("other", "ada", frozenset({"ledger:*"}))

# 2026-02-23 10:00 UTC.
NOW_MS = 1_771_840_800_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def rates(nano_usd_per_token: int) -> Rates:
    """Returns rates at which an input token costs so much; each class has its own multiple."""
    pico = 1_000 * nano_usd_per_token
    return Rates(*(PicoUsdPerToken(pico * factor) for factor in (1, 5, 1, 2, 3)))


def card(model: str = MODEL, nano_usd_per_token: int = 1) -> RateCard:
    """Returns a card on which an input token costs so much and an output token five times that."""
    return RateCard.of(provider="test", model=model, base=rates(nano_usd_per_token))


CARD = card()


class PriceList:
    """Prices that a test sets; it records what it was asked."""

    def __init__(self) -> None:
        self.cards = {MODEL: CARD, DEARER_MODEL: card(DEARER_MODEL, 10)}
        self.asked: list[tuple[str, date, PriceContext]] = []

    def resolve(self, model: str, day: date, context: PriceContext) -> RateCard:
        """Stands for ``genai_price_list.resolve``."""
        self.asked.append((model, day, context))
        if model not in self.cards:
            raise UnknownModelError(f"The model {model!r} has no price.")
        return self.cards[model]


class Clock:
    """A clock that a test sets."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> float:
        return self.now_ms / 1000


def reserve_request(reservation_id: str = "call-1", **changes: object) -> ReserveRequest:
    """Returns a request whose worst case is 100 x 1 + 20 x 5 = 200 nano-dollars."""
    request = ReserveRequest(reservation_id, "agent", "run", MODEL, 100, 20)
    return msgspec.structs.replace(request, **changes)


def settle_request(entry_id: str = "call-1", **changes: object) -> SettleRequest:
    """Returns the settlement of ``reserve_request``, which costs 50 x 1 + 10 x 5 = 100."""
    request = SettleRequest(
        entry_id, "agent", "run", MODEL, TokenUsage(50, 10), reservation_id=entry_id
    )
    return msgspec.structs.replace(request, **changes)


def hold(reservation_id: str = "call-1", **changes: object) -> Reservation:
    """Returns a reservation of 200 nano-dollars for an hour."""
    reservation = Reservation(
        id=reservation_id,
        organization_id="acme",
        user_id="ada",
        agent_id="agent",
        run_id="run",
        model=MODEL,
        max_input_tokens=100,
        max_output_tokens=20,
        writes_cache=False,
        rate_card_id=CARD.id,
        held_nano_usd=NanoUsd(200),
        created_at_ms=NOW_MS,
        expires_at_ms=NOW_MS + HOUR_MS,
    )
    return msgspec.structs.replace(reservation, **changes)


def settlement(entry_id: str = "call-1", **changes: object) -> Settlement:
    """Returns a settlement of 100 nano-dollars under the reservation of the same id."""
    settled = Settlement(
        entry_id=entry_id,
        organization_id="acme",
        user_id="ada",
        agent_id="agent",
        run_id="run",
        model=MODEL,
        usage=TokenUsage(50, 10),
        reservation_id=entry_id,
    )
    return msgspec.structs.replace(settled, **changes)


def budget(budget_id: str = "all", limit_nano_usd: int = 1_000, **changes: object) -> Budget:
    """Returns a budget of the whole organization without an end."""
    return msgspec.structs.replace(Budget(budget_id, "acme", NanoUsd(limit_nano_usd)), **changes)
