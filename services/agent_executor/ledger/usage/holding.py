"""What is done with money that is held: freeing it, or holding it for longer."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from agent_executor.errors import FailedPreconditionError, ReservationNotFoundError
from agent_executor.ledger.accounting.commands import Outcome, Renew, Void
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.usage.checks import (
    MAX_ID_BYTES,
    MAX_TTL_SECONDS,
    WRITE_PERMISSION,
    check_integer,
    check_text,
)
from agent_executor.ledger.usage.metrics import Happened
from agent_executor.ledger.usage.operation import Operation
from agent_executor.serving.security import SecurityContext


class RenewRequest(msgspec.Struct, frozen=True):
    """A hold that is needed for longer: ``ttl_seconds`` from now, 1 to 86,400."""

    reservation_id: str
    ttl_seconds: int


class VoidReservation(Operation[str, Void, Reservation]):
    """Frees a hold whose call was never made. To void twice, or after its end, is no error."""

    async def prepare(self, request: str, security: SecurityContext) -> Void:
        """Takes the reservation's id.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:write``.
            InvalidArgumentError: The id cannot be.
        """
        security.require(WRITE_PERMISSION)
        check_text("reservation_id", request, MAX_ID_BYTES, min_bytes=1)
        return Void(security.organization_id, request)

    def conclude(self, command: Void, outcome: Outcome, happened: Happened) -> Reservation:
        """Returns the reservation as it then stands.

        Raises:
            ReservationNotFoundError: The organization has no such reservation.
            FailedPreconditionError: It was settled, so that the call was made.
        """
        del happened
        reservation = found(outcome, command.reservation_id)
        if reservation.state == "settled":
            raise FailedPreconditionError(
                "The reservation was settled, so it cannot be voided.",
                metadata={"reservation_id": command.reservation_id},
            )
        return reservation


class RenewReservation(Operation[RenewRequest, Renew, Reservation]):
    """Lets an open hold end later, for a caller that lives; it never ends earlier.

    Args:
        clock: Seconds since 1970-01-01 UTC.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    async def prepare(self, request: RenewRequest, security: SecurityContext) -> Renew:
        """Finds out when it is to end.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:write``.
            InvalidArgumentError: The id or the time cannot be.
        """
        security.require(WRITE_PERMISSION)
        check_text("reservation_id", request.reservation_id, MAX_ID_BYTES, min_bytes=1)
        check_integer("ttl_seconds", request.ttl_seconds, 1, MAX_TTL_SECONDS)
        expires_at_ms = int((self._clock() + request.ttl_seconds) * 1000)
        return Renew(security.organization_id, request.reservation_id, expires_at_ms)

    def conclude(self, command: Renew, outcome: Outcome, happened: Happened) -> Reservation:
        """Returns the reservation as it then stands.

        Raises:
            ReservationNotFoundError: The organization has no such reservation.
            FailedPreconditionError: It is not open any more.
        """
        del happened
        reservation = found(outcome, command.reservation_id)
        if reservation.state != "open":
            raise FailedPreconditionError(
                f"The reservation is {reservation.state}, so it cannot be renewed.",
                metadata={"reservation_id": command.reservation_id, "state": reservation.state},
            )
        return reservation


def found(outcome: object, reservation_id: str) -> Reservation:
    """Returns the reservation that an outcome is.

    Raises:
        ReservationNotFoundError: It is none.
    """
    if isinstance(outcome, Reservation):
        return outcome
    raise ReservationNotFoundError(
        "There is no such reservation.", metadata={"reservation_id": reservation_id}
    )
