"""UsageService over gRPC: proto in, proto out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any, Final, NamedTuple, cast

from google.protobuf.message import Message

from agent_executor.api.ledger.v1 import usage_pb2, usage_service_pb2
from agent_executor.ledger.reports.exports import UsageExports
from agent_executor.ledger.reports.reports import UsageReports
from agent_executor.ledger.reports.servicer import ReportsServicer
from agent_executor.ledger.usage import convert
from agent_executor.ledger.usage.operation import Asked, Operation
from agent_executor.ledger.usage.recording import RecordUsage
from agent_executor.ledger.usage.rerating import RerateUsage
from agent_executor.ledger.usage.usage import Usage
from agent_executor.serving.interceptors import Context
from agent_executor.serving.multiplex_server import Batched, MultiplexedServer
from agent_executor.serving.pipeline import AdmittedCall, CallPipeline
from agent_executor.serving.security import current_security_context

BATCHED_METHODS: Final = ("reserve", "reserve_amount", "renew", "settle", "void", "correct")


class _Served(NamedTuple):
    """How a request is read, what serves it, and how its answer is shown."""

    read: Callable[[Any], object]
    operation: Operation[Any, Any, Any]
    show: Callable[[Any], Message]


class UsageServicer(ReportsServicer):
    """See ``protos/agent_executor/api/ledger/v1/usage_service.proto``.

    A call that changes the books takes the same way over a stream and by itself: it is one of
    many there, and the only one here.

    Args:
        usage: The operations around a model call.
        recording: Records in bulk.
        rerating: Prices again.
        reports: Answers what is asked of the books.
        exports: Sends them as files.
        pipeline: What the calls of a stream pass.
    """

    def __init__(
        self,
        usage: Usage,
        recording: RecordUsage,
        rerating: RerateUsage,
        reports: UsageReports,
        exports: UsageExports,
        pipeline: CallPipeline,
    ) -> None:
        super().__init__(reports, exports)
        self._usage = usage
        self._recording = recording
        self._rerating = rerating
        self._served = _served(usage)
        self._multiplexed = MultiplexedServer(
            usage_service_pb2.StreamUsageRequest,
            usage_service_pb2.StreamUsageResponse,
            {"get": self._get},
            pipeline,
            batched=Batched(frozenset(BATCHED_METHODS), self._serve_together),
        )

    def drain(self) -> None:
        """Ends the streams once the calls that run on them are answered."""
        self._multiplexed.drain()

    async def ReserveUsage(  # noqa: N802 -- the contract's name
        self, request: usage_service_pb2.ReserveUsageRequest, context: Context
    ) -> usage_pb2.Reservation:
        """Holds the worst case of a model call."""
        del context
        return cast("usage_pb2.Reservation", await self._serve(request))

    async def ReserveAmount(  # noqa: N802 -- the contract's name
        self, request: usage_service_pb2.ReserveAmountRequest, context: Context
    ) -> usage_pb2.Reservation:
        """Holds an amount from which others draw."""
        del context
        return cast("usage_pb2.Reservation", await self._serve(request))

    async def RenewReservation(  # noqa: N802 -- the contract's name
        self, request: usage_service_pb2.RenewReservationRequest, context: Context
    ) -> usage_pb2.Reservation:
        """Lets a hold end later."""
        del context
        return cast("usage_pb2.Reservation", await self._serve(request))

    async def SettleUsage(  # noqa: N802 -- the contract's name
        self, request: usage_service_pb2.SettleUsageRequest, context: Context
    ) -> usage_pb2.UsageEntry:
        """Records what a model call used."""
        del context
        return cast("usage_pb2.UsageEntry", await self._serve(request))

    async def VoidReservation(  # noqa: N802 -- the contract's name
        self, request: usage_service_pb2.VoidReservationRequest, context: Context
    ) -> usage_pb2.Reservation:
        """Frees a hold whose call was never made."""
        del context
        return cast("usage_pb2.Reservation", await self._serve(request))

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

    async def RecordUsage(  # noqa: N802 -- the contract's name
        self, request: usage_service_pb2.RecordUsageRequest, context: Context
    ) -> usage_service_pb2.RecordUsageResponse:
        """Records usage in bulk."""
        del context
        recorded = await self._recording.record(
            convert.usage_rows(request), current_security_context.get()
        )
        return convert.recorded_to_proto(recorded)

    async def CorrectUsage(  # noqa: N802 -- the contract's name
        self, request: usage_service_pb2.CorrectUsageRequest, context: Context
    ) -> usage_pb2.UsageEntry:
        """Corrects the usage of an entry."""
        del context
        return cast("usage_pb2.UsageEntry", await self._serve(request))

    async def RerateUsage(  # noqa: N802 -- the contract's name
        self, request: usage_service_pb2.RerateUsageRequest, context: Context
    ) -> usage_service_pb2.RerateUsageResponse:
        """Prices past model calls again."""
        del context
        rerated = await self._rerating.rerate(
            convert.rerate_request(request), current_security_context.get()
        )
        return convert.rerated_to_proto(rerated)

    async def _get(self, request: usage_service_pb2.GetReservationRequest) -> usage_pb2.Reservation:
        reservation = await self._usage.get(request.reservation_id, current_security_context.get())
        return convert.reservation_to_proto(reservation)

    async def _serve(self, request: Message) -> Message:
        security = current_security_context.get()
        (answer,) = await self._serve_together((AdmittedCall(request, security),))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _serve_together(self, calls: Sequence[AdmittedCall]) -> list[Message | Exception]:
        served = [self._served[type(request)] for request, _ in calls]
        answers = await self._usage.operations.run(
            [
                # The contract's rules have been kept, so that a request can always be read.
                Asked(operation, read(request), security)
                for (request, security), (read, operation, _) in zip(calls, served, strict=True)
            ]
        )
        return [
            answer if isinstance(answer, Exception) else show(answer)
            for answer, (_, _, show) in zip(answers, served, strict=True)
        ]


def _served(usage: Usage) -> dict[type[Message], _Served]:
    reservation, entry = convert.reservation_to_proto, convert.entry_to_proto
    return {
        usage_service_pb2.ReserveUsageRequest: _Served(
            convert.reserve_request, usage.reserving, reservation
        ),
        usage_service_pb2.ReserveAmountRequest: _Served(
            convert.amount_request, usage.reserving_amount, reservation
        ),
        usage_service_pb2.RenewReservationRequest: _Served(
            convert.renew_request, usage.renewing, reservation
        ),
        usage_service_pb2.SettleUsageRequest: _Served(
            convert.settle_request, usage.settling, convert.settled_to_proto
        ),
        usage_service_pb2.VoidReservationRequest: _Served(
            convert.reservation_id, usage.voiding, reservation
        ),
        usage_service_pb2.CorrectUsageRequest: _Served(
            convert.correct_request, usage.correcting, entry
        ),
    }
