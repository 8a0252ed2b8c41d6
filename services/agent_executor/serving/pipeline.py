"""What every call passes, whether it came as a unary RPC or as a frame of a multiplexed stream.

In this order: telemetry, metrics, error mapping, authentication, deadline, validation. Metrics come
before authentication, so that refusals count too. What leaves a pipeline is a response, an
``AgentExecutorError`` or a cancellation, and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

from google.protobuf.message import Message
from opentelemetry.trace import NoOpTracer, Tracer

from agent_executor.api.call.v1 import grant_pb2
from agent_executor.errors import AgentExecutorError, DeadlineExceededError
from agent_executor.serving.authentication import TokenVerifier
from agent_executor.serving.grants import GrantVerifier, ServiceKey, check_binding, current_grant
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.observation import (
    DEADLINE_MESSAGE,
    ObservedBatch,
    ObservedCall,
    current_deadline,
)
from agent_executor.serving.security import SecurityContext, current_security_context
from agent_executor.serving.telemetry import NO_TRACE, CallTrace
from agent_executor.serving.validation import RequestValidator

RequestT = TypeVar("RequestT", bound=Message)
ResultT = TypeVar("ResultT")


class Credentials(NamedTuple):
    """What a caller shows: a token, or a service of this platform a grant. A grant goes first."""

    authorization: str = ""
    grant: grant_pb2.SignedGrant | None = None


class ShownCall(NamedTuple):
    """One call of a batch as it came; see ``CallPipeline.run`` for what its fields mean."""

    method: str
    request: Message
    credentials: Credentials
    deadline_seconds: float
    trace: CallTrace


class AdmittedCall(NamedTuple):
    """One call of a batch that has passed every check: its request, whose type tells its method."""

    request: Any
    security: SecurityContext


BatchHandler: TypeAlias = Callable[
    [Sequence[AdmittedCall]], Awaitable[Sequence[Message | Exception]]
]
"""Serves calls together and returns the response of each, or its error, in their order."""


def remaining_seconds() -> float | None:
    """Returns how long the caller of the running call still waits; None if it set no deadline.

    gRPC does not pass a deadline on, so whoever calls a peer passes this.
    """
    deadline = current_deadline.get()
    return None if deadline is None else deadline - asyncio.get_running_loop().time()


class CallPipeline:
    """Admits, bounds, observes and maps the calls of one service.

    Args:
        service_name: Which grants are for this service.
        token_verifier: Verifies bearer tokens.
        service_key: Verifies grants; None for a service that accepts none.
        metrics: Where calls are counted.
        tracer: Makes the span of a call that asks for one.
        validator: Checks requests. Default: by the rules of their contract.
        clock: Seconds since 1970-01-01 UTC, for the expiry of grants.
    """

    def __init__(
        self,
        *,
        service_name: str,
        token_verifier: TokenVerifier,
        service_key: ServiceKey | None,
        metrics: Metrics,
        tracer: Tracer,
        validator: RequestValidator | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tokens = token_verifier
        self._grants = GrantVerifier(service_key, service_name, clock)
        self._metrics = metrics
        self._tracer = None if isinstance(tracer, NoOpTracer) else tracer
        self._validator = validator or RequestValidator()

    async def run(
        self,
        method: str,
        request: RequestT,
        credentials: Credentials | None,
        deadline_seconds: float | None,
        trace: CallTrace,
        handler: Callable[[RequestT], Awaitable[ResultT]],
        *,
        span: bool,
    ) -> ResultT:
        """Admits one call and runs its handler. To be awaited in a task of the call's own.

        While the handler runs, ``current_security_context``, ``current_grant``,
        ``remaining_seconds`` and OpenTelemetry's current span are the call's.

        Args:
            method: The full name of the RPC, as ``/package.Service/Method``.
            request: What is asked.
            credentials: Who asks; None for a method that is open to all.
            deadline_seconds: How long the caller still waits; None for no end.
            trace: The trace that the caller is in.
            handler: Serves the request.
            span: Whether the call gets a span of its own; its trace is joined either way.

        Raises:
            AgentExecutorError: The call is refused or has failed.
        """
        with ObservedCall(
            method, self._metrics, self._tracer if span else None, trace, deadline_seconds
        ):
            if deadline_seconds is None:
                return await self._serve(request, credentials, handler)
            if deadline_seconds <= 0:
                raise DeadlineExceededError(DEADLINE_MESSAGE)
            timeout = asyncio.timeout(deadline_seconds)
            try:
                async with timeout:
                    return await self._serve(request, credentials, handler)
            except TimeoutError:
                if timeout.expired():
                    raise DeadlineExceededError(DEADLINE_MESSAGE) from None
                raise

    async def run_batch(
        self, calls: Sequence[ShownCall], handler: BatchHandler
    ) -> list[Message | AgentExecutorError]:
        """Admits calls one after the other, and serves together those that are admitted.

        Each is checked, bounded, counted and refused as by ``run``, but for these: it has no context
        of its own, since its handler gets the caller beside the request; it has a span, as long as
        the batch takes, only if its caller's trace is recorded; and one whose deadline passes while
        it is served is told so when the others are answered.

        Returns:
            The response of each call, or why there is none.
        """
        observed = ObservedBatch(self._metrics, self._tracer)
        outcomes: list[Any] = [None] * len(calls)
        admitted: dict[int, AdmittedCall] = {}
        for place, call in enumerate(calls):
            try:
                admitted[place] = await self._admit(call)
            except Exception as error:  # noqa: BLE001 -- it is the outcome of this call alone
                outcomes[place] = error
        try:
            served = await self._serve_batch(tuple(admitted.values()), handler)
        except asyncio.CancelledError as cancelled:
            observed.end(calls, [outcome or cancelled for outcome in outcomes])
            raise
        for place, outcome in zip(admitted, served, strict=True):
            outcomes[place] = outcome
        return cast("list[Message | AgentExecutorError]", observed.end(calls, outcomes))

    async def observe(self, method: str, work: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Counts and maps the errors of work that authenticates in another way, or cannot.

        Raises:
            AgentExecutorError: The work has failed.
        """
        with ObservedCall(method, self._metrics, None, NO_TRACE, None):
            return await work()

    async def _admit(self, call: ShownCall) -> AdmittedCall:
        if call.deadline_seconds <= 0:
            raise DeadlineExceededError(DEADLINE_MESSAGE)
        _, security = await self._authenticate(call.request, call.credentials)
        self._validator.check(call.request)
        return AdmittedCall(call.request, security)

    @staticmethod
    async def _serve_batch(
        admitted: Sequence[AdmittedCall], handler: BatchHandler
    ) -> Sequence[Message | Exception]:
        try:
            return await handler(admitted) if admitted else ()
        except Exception as error:  # noqa: BLE001 -- it is the outcome of each
            return (error,) * len(admitted)

    async def _serve(
        self,
        request: RequestT,
        credentials: Credentials | None,
        handler: Callable[[RequestT], Awaitable[ResultT]],
    ) -> ResultT:
        if credentials is not None:
            grant, security = await self._authenticate(request, credentials)
            current_grant.set(grant)
            current_security_context.set(security)
        self._validator.check(request)
        return await handler(request)

    async def _authenticate(
        self, request: Message, credentials: Credentials
    ) -> tuple[grant_pb2.Grant | None, SecurityContext]:
        if credentials.grant is None:
            return None, await self._tokens.verify(credentials.authorization)
        verified = self._grants.verify(credentials.grant)
        check_binding(verified.grant, request)
        return verified
