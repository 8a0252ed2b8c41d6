"""UsageService over gRPC: proto in, proto out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import cast

from agent_executor.api.ledger.v1 import (
    usage_pb2,
    usage_service_pb2,
    usage_service_pb2_grpc,
)
from agent_executor.ledger.accounting.budget import Refusal
from agent_executor.ledger.convert import (
    entry_filter,
    entry_to_proto,
    reservation_to_proto,
    reserve_request,
    settle_request,
    summary_to_proto,
)
from agent_executor.ledger.reports.reports import UsageReports
from agent_executor.ledger.reports.usage_query import Dimension
from agent_executor.ledger.usage.reservations import Reservations
from agent_executor.serving.interceptors import Context
from agent_executor.serving.multiplex_server import MultiplexedServer
from agent_executor.serving.pipeline import CallPipeline
from agent_executor.serving.security import current_security_context


class UsageServicer(usage_service_pb2_grpc.UsageServiceServicer):
    """See ``protos/agent_executor/api/ledger/v1/usage_service.proto``."""

    def __init__(
        self,
        reservations: Reservations,
        reports: UsageReports,
        pipeline: CallPipeline,
        clock: Callable[[], float],
    ) -> None:
        self._reservations = reservations
        self._reports = reports
        self._clock = clock
        self._multiplexed = MultiplexedServer(
            usage_service_pb2.StreamUsageRequest,
            usage_service_pb2.StreamUsageResponse,
            {
                "reserve": self._reserve,
                "settle": self._settle,
                "void": self._void,
                "get": self._get,
            },
            pipeline,
        )

    def drain(self) -> None:
        """Ends the streams once the calls that run on them are answered."""
        self._multiplexed.drain()

    async def ReserveUsage(  # noqa: N802 -- the contract's name
        self, request: usage_service_pb2.ReserveUsageRequest, context: Context
    ) -> usage_pb2.Reservation:
        """Holds the worst case of a model call."""
        del context
        return await self._reserve(request)

    async def SettleUsage(  # noqa: N802 -- the contract's name
        self, request: usage_service_pb2.SettleUsageRequest, context: Context
    ) -> usage_pb2.UsageEntry:
        """Records what a model call used."""
        del context
        return await self._settle(request)

    async def VoidReservation(  # noqa: N802 -- the contract's name
        self, request: usage_service_pb2.VoidReservationRequest, context: Context
    ) -> usage_pb2.Reservation:
        """Frees a hold whose call was never made."""
        del context
        return await self._void(request)

    async def GetReservation(  # noqa: N802 -- the contract's name
        self, request: usage_service_pb2.GetReservationRequest, context: Context
    ) -> usage_pb2.Reservation:
        """Returns a reservation."""
        del context
        return await self._get(request)

    def StreamUsage(  # noqa: N802 -- the contract's name
        self,
        request_iterator: AsyncIterator[usage_service_pb2.StreamUsageRequest],
        context: Context,
    ) -> AsyncGenerator[usage_service_pb2.StreamUsageResponse, None]:
        """Serves the calls of all runs of one executor."""
        del context
        return cast(
            "AsyncGenerator[usage_service_pb2.StreamUsageResponse, None]",
            self._multiplexed.serve(request_iterator),
        )

    async def ListUsageEntries(  # noqa: N802 -- the contract's name
        self, request: usage_service_pb2.ListUsageEntriesRequest, context: Context
    ) -> usage_service_pb2.ListUsageEntriesResponse:
        """Lists entries."""
        del context
        page = await self._reports.entries(
            current_security_context.get(),
            entry_filter(request),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return usage_service_pb2.ListUsageEntriesResponse(
            entries=map(entry_to_proto, page.entries), next_page_token=page.next_page_token
        )

    async def SummarizeUsage(  # noqa: N802 -- the contract's name
        self, request: usage_service_pb2.SummarizeUsageRequest, context: Context
    ) -> usage_service_pb2.SummarizeUsageResponse:
        """Sums usage."""
        del context
        page = await self._reports.summarize(
            current_security_context.get(),
            # The contract's rules let no other words pass.
            cast("Sequence[Dimension]", tuple(request.group_by)),
            entry_filter(request),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return usage_service_pb2.SummarizeUsageResponse(
            summaries=map(summary_to_proto, page.rows),
            total=summary_to_proto(page.total),
            next_page_token=page.next_page_token,
        )

    async def _reserve(
        self, request: usage_service_pb2.ReserveUsageRequest
    ) -> usage_pb2.Reservation:
        answer = await self._reservations.reserve(
            reserve_request(request), current_security_context.get()
        )
        if isinstance(answer, Refusal):
            raise answer.to_error(int(self._clock() * 1000))
        return reservation_to_proto(answer)

    async def _settle(self, request: usage_service_pb2.SettleUsageRequest) -> usage_pb2.UsageEntry:
        entry = await self._reservations.settle(
            settle_request(request), current_security_context.get()
        )
        return entry_to_proto(entry)

    async def _void(
        self, request: usage_service_pb2.VoidReservationRequest
    ) -> usage_pb2.Reservation:
        reservation = await self._reservations.void(
            request.reservation_id, current_security_context.get()
        )
        return reservation_to_proto(reservation)

    async def _get(self, request: usage_service_pb2.GetReservationRequest) -> usage_pb2.Reservation:
        reservation = await self._reservations.get(
            request.reservation_id, current_security_context.get()
        )
        return reservation_to_proto(reservation)
