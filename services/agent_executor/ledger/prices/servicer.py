"""RateCardService over gRPC: proto in, proto out."""

from __future__ import annotations

from agent_executor.api.ledger.v1 import rate_card_service_pb2, rate_card_service_pb2_grpc
from agent_executor.ledger.money import to_usd
from agent_executor.ledger.prices import convert
from agent_executor.ledger.prices.card_administration import CardAdministration
from agent_executor.serving.interceptors import Context
from agent_executor.serving.security import current_security_context
from agent_executor.serving.timestamp_convert import ceil_to_ms


class RateCardServicer(rate_card_service_pb2_grpc.RateCardServiceServicer):
    """See ``protos/agent_executor/api/ledger/v1/rate_card_service.proto``."""

    def __init__(self, administration: CardAdministration) -> None:
        self._administration = administration

    async def CreateRateCard(  # noqa: N802 -- the contract's name
        self, request: rate_card_service_pb2.CreateRateCardRequest, context: Context
    ) -> rate_card_service_pb2.RateCard:
        """Sets a price."""
        del context
        card = await self._administration.create(
            convert.new_card(request), current_security_context.get()
        )
        return convert.card_to_proto(card)

    async def GetRateCard(  # noqa: N802 -- the contract's name
        self, request: rate_card_service_pb2.GetRateCardRequest, context: Context
    ) -> rate_card_service_pb2.RateCard:
        """Returns a card."""
        del context
        card = await self._administration.get(
            convert.rate_card_id(request), current_security_context.get()
        )
        return convert.card_to_proto(card)

    async def ListRateCards(  # noqa: N802 -- the contract's name
        self, request: rate_card_service_pb2.ListRateCardsRequest, context: Context
    ) -> rate_card_service_pb2.ListRateCardsResponse:
        """Lists the organization's own cards."""
        del context
        page = await self._administration.list(
            current_security_context.get(),
            page_size=request.page_size,
            page_token=request.page_token,
            model=request.model,
            tool_name=request.tool_name,
        )
        return rate_card_service_pb2.ListRateCardsResponse(
            rate_cards=map(convert.card_to_proto, page.cards), next_page_token=page.next_page_token
        )

    async def WithdrawRateCard(  # noqa: N802 -- the contract's name
        self, request: rate_card_service_pb2.WithdrawRateCardRequest, context: Context
    ) -> rate_card_service_pb2.RateCard:
        """Withdraws one of the organization's own cards."""
        del context
        card = await self._administration.withdraw(
            convert.rate_card_id(request), current_security_context.get()
        )
        return convert.card_to_proto(card)

    async def ResolveRateCard(  # noqa: N802 -- the contract's name
        self, request: rate_card_service_pb2.ResolveRateCardRequest, context: Context
    ) -> rate_card_service_pb2.ResolveRateCardResponse:
        """Returns the card by which a call is priced."""
        del context
        card, cost = await self._administration.resolve(
            request.model,
            convert.example_usage(request),
            current_security_context.get(),
            at_ms=ceil_to_ms(request.time) if request.HasField("time") else None,
            processing=request.processing,
            speed=request.speed,
        )
        return rate_card_service_pb2.ResolveRateCardResponse(
            rate_card=convert.card_to_proto(card), cost_nano_usd=cost, cost_usd=to_usd(cost)
        )
