"""Every way in which a call can end, on real servers: its code, its details, and what it hides."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from agent_executor.api.call.v1 import grant_pb2
from agent_executor.api.error.v1 import error_pb2
from agent_executor.api.ledger.v1.usage_service_pb2 import ReserveUsageRequest
from agent_executor.serving.grants import GRANT_METADATA_KEY
from agent_executor.serving.observation import INTERNAL_ERROR_MESSAGE
from tests.integration.serving.conftest import Metadata, Sample
from tests.integration.serving.sample_service import NAME, READY_FILE, SECRET, asking
from tests.unit.serving.trace_context import TRACEPARENT


async def refusal_of(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    everything = f"{refused.value.details()} {refused.value.trailing_metadata()}"
    for hidden in (SECRET, "Traceback", "Error:", "<class", ".py"):
        assert hidden not in everything
    return refused.value


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    status: status_pb2.Status | None = rpc_status.from_call(error)
    assert status is not None
    assert status.code == error.code().value[0]
    return status


def detail(error: grpc.aio.AioRpcError, empty: Any) -> Any:
    assert any(packed.Unpack(empty) for packed in status_of(error).details)
    return empty


def reason_of(error: grpc.aio.AioRpcError) -> str:
    info = detail(error, error_details_pb2.ErrorInfo())
    body = detail(error, error_pb2.ErrorBody())
    assert info.domain == "agent-executor"
    assert body.code == info.reason
    assert body.error == error.details()
    return str(info.reason)


def grant(audience: str = NAME, seconds: float = 30) -> grant_pb2.Grant:
    return grant_pb2.Grant(
        audience=audience,
        security_context=grant_pb2.SecurityContext(
            organization_id="organization-2", user_id="user-2", permissions=["ledger:write"]
        ),
        expires_at_unix_ms=int((time.time() + seconds) * 1000),
    )


class TestCredentials:
    async def test_a_token_is_admitted(self, sample: Sample) -> None:
        assert await sample.unary(asking("x"), sample.authorized()) == "organization-1/user-1"

    async def test_a_grant_is_admitted(self, sample: Sample) -> None:
        answer = await sample.unary(asking("x"), sample.granted(grant()))
        assert answer == "organization-2/user-2"

    async def test_what_does_not_hold_is_unauthenticated(self, sample: Sample) -> None:
        shown: dict[str, Metadata] = {
            "carries no credentials": (),
            "not a JSON Web Token": (("authorization", "Bearer abc"),),
            "has expired": sample.authorized(exp=1),
            "another service": sample.granted(grant(audience="ledger")),
            "grant has expired": sample.granted(grant(seconds=-1)),
            "grant cannot be read": ((GRANT_METADATA_KEY, b"\xff\xff"),),
            "grant's signature": (
                (GRANT_METADATA_KEY, grant_pb2.SignedGrant(grant=b"x").SerializeToString()),
            ),
        }
        for sentence, metadata in shown.items():
            error = await refusal_of(sample.unary(asking("x"), metadata))
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED
            assert reason_of(error) == "UNAUTHENTICATED"
            assert sentence in (error.details() or "")
        assert sample.counted("Unary", "UNAUTHENTICATED") == len(shown)

    @pytest.mark.parametrize("method", ["ServerStream", "ClientStream"])
    async def test_no_stream_is_open_to_strangers(self, sample: Sample, method: str) -> None:
        argument = asking("x") if method == "ServerStream" else requests("x")
        call = sample.stream(method, **{_argument_name(method): argument})
        error = await refusal_of(anext(aiter(call)) if method == "ServerStream" else call)
        assert error.code() in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED}

    async def test_client_streams_are_not_served_to_anyone(self, sample: Sample) -> None:
        call = sample.stream(
            "ClientStream", request_iterator=requests("x"), metadata=sample.authorized()
        )
        error = await refusal_of(call)
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED


class TestRequests:
    async def test_a_request_that_breaks_rules_names_its_fields(self, sample: Sample) -> None:
        error = await refusal_of(sample.unary(ReserveUsageRequest(), sample.authorized()))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert reason_of(error) == "INVALID_ARGUMENT"
        violations = detail(error, error_details_pb2.BadRequest()).field_violations
        assert [violation.field for violation in violations] == [
            "reservation_id",
            "agent_id",
            "run_id",
            "model",
            "max_output_tokens",
        ]

    async def test_bytes_that_are_no_message_are_a_bad_request(self, sample: Sample) -> None:
        error = await refusal_of(sample.unary(b"\xff\xff\xff", sample.authorized()))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert reason_of(error) == "INVALID_ARGUMENT"
        assert sample.counted("Unary", "INVALID_ARGUMENT") == 1

    async def test_an_unknown_method_is_unimplemented(self, sample: Sample) -> None:
        call: Any = sample.channel.unary_unary("/sample.v1.SampleService/Missing")
        error = await refusal_of(call(b"", timeout=60))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED


class TestErrors:
    async def test_an_error_of_ours_comes_with_all_details(self, sample: Sample) -> None:
        error = await refusal_of(sample.unary(asking("limit"), sample.authorized()))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason_of(error) == "RATE_LIMIT_EXCEEDED"
        assert detail(error, error_details_pb2.ErrorInfo()).metadata == {"limit": "5"}
        delay = detail(error, error_details_pb2.RetryInfo()).retry_delay
        assert delay.ToMilliseconds() == 6200
        body = detail(error, error_pb2.ErrorBody())
        assert (body.success, body.error, body.tool_name) == (False, "Too many.", "x")
        assert dict(error.trailing_metadata() or ())["retry-after"] == "7"

    @pytest.mark.parametrize("model", ["fail", "no message"])
    async def test_any_other_error_hides_its_text(self, sample: Sample, model: str) -> None:
        error = await refusal_of(sample.unary(asking(model), sample.authorized()))
        assert error.code() is grpc.StatusCode.INTERNAL
        assert reason_of(error) == "INTERNAL"
        assert error.details() == INTERNAL_ERROR_MESSAGE
        assert "retry-after" not in dict(error.trailing_metadata() or ())
        assert sample.counted("Unary", "INTERNAL") == 1

    async def test_a_servicer_that_aborts_by_itself_is_heard(self, sample: Sample) -> None:
        error = await refusal_of(sample.unary(asking("abort"), sample.authorized()))
        assert (error.code(), error.details()) == (
            grpc.StatusCode.NOT_FOUND,
            "as the servicer says",
        )


class TestDeadlines:
    async def test_a_late_call_ends_at_its_deadline(self, sample: Sample) -> None:
        error = await refusal_of(sample.unary(asking("wait long"), sample.authorized(), 0.2))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await asyncio.wait_for(sample.servicer.cancelled.wait(), 10)
        await until(lambda: sample.counted("Unary", "DEADLINE_EXCEEDED") == 1)

    async def test_a_handler_knows_what_is_left(self, sample: Sample) -> None:
        # gRPC counts a deadline on the monotonic clock and tells it on the wall clock, which a
        # machine may be setting at the time; the second is for that.
        left_seconds = float(await sample.unary(asking("deadline"), sample.authorized(), 20))
        assert 0 < left_seconds <= 21
        assert await sample.unary(asking("deadline"), sample.authorized(), None) == "None"

    async def test_a_caller_that_goes_away_stops_the_handler(
        self, sample: Sample, tmp_path: Any
    ) -> None:
        task = asyncio.create_task(sample.unary(asking("wait long"), sample.authorized()))
        await until((tmp_path / READY_FILE).exists)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.wait_for(sample.servicer.cancelled.wait(), 10)
        await until(lambda: sample.counted("Unary", "CANCELLED") == 1)


class TestServerStreams:
    async def read(self, call: Any) -> list[str]:
        return [response.value async for response in call]

    async def test_messages_come_in_order(self, sample: Sample) -> None:
        call = sample.stream("ServerStream", request=asking("x"), metadata=sample.authorized())
        assert await self.read(call) == ["user-1 0", "user-1 1", "user-1 2"]
        assert sample.counted("ServerStream", "OK") == 1

    @pytest.mark.parametrize(
        ("model", "code", "reason"),
        [
            ("fail", grpc.StatusCode.INTERNAL, "INTERNAL"),
            ("no message", grpc.StatusCode.INTERNAL, "INTERNAL"),
            ("limit", grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
        ],
    )
    async def test_an_error_after_messages_is_mapped(
        self, sample: Sample, model: str, code: grpc.StatusCode, reason: str
    ) -> None:
        call = sample.stream("ServerStream", request=asking(model), metadata=sample.authorized())
        error = await refusal_of(self.read(call))
        assert error.code() is code
        assert reason_of(error) == reason

    async def test_a_bad_request_is_refused_before_the_first_message(self, sample: Sample) -> None:
        call = sample.stream(
            "ServerStream", request=ReserveUsageRequest(), metadata=sample.authorized()
        )
        error = await refusal_of(self.read(call))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert sample.servicer.generators_closed == 0

    async def test_a_caller_that_goes_away_closes_the_servicers_generator(
        self, sample: Sample
    ) -> None:
        call = sample.stream(
            "ServerStream", request=asking("wait long"), metadata=sample.authorized()
        )
        for _ in range(3):
            await call.read()
        call.cancel()
        await until(lambda: sample.servicer.generators_closed == 1)


class TestBidirectionalStreams:
    @pytest.mark.parametrize("method", ["Bidirectional", "ByHand"])
    async def test_messages_pass(self, sample: Sample, method: str) -> None:
        call = sample.stream(method, request_iterator=requests("a", "b"))
        assert [response.value async for response in call] == ["a", "b"]
        assert sample.counted(method, "OK") == 1

    @pytest.mark.parametrize(
        ("model", "code"),
        [("fail", grpc.StatusCode.INTERNAL), ("limit", grpc.StatusCode.NOT_FOUND)],
    )
    async def test_errors_are_mapped(
        self, sample: Sample, model: str, code: grpc.StatusCode
    ) -> None:
        call = sample.stream("Bidirectional", request_iterator=requests("a", model))
        assert (await call.read()).value == "a"
        error = await refusal_of(call.read())
        assert error.code() is code
        assert reason_of(error) == code.name

    async def test_bytes_that_are_no_message_hide_why(self, sample: Sample) -> None:
        call = sample.stream("Bidirectional", request_iterator=requests(b"\xff\xff"))
        error = await refusal_of(call.read())
        assert error.code() is grpc.StatusCode.INTERNAL
        assert error.details() == INTERNAL_ERROR_MESSAGE


async def test_the_callers_trace_reaches_the_handler(sample: Sample) -> None:
    metadata = (*sample.authorized(), ("traceparent", TRACEPARENT))
    assert await sample.unary(asking("trace"), metadata) == TRACEPARENT


async def test_many_refusals_leave_nothing_behind(sample: Sample) -> None:
    before = len(asyncio.all_tasks())
    for _ in range(5):
        await asyncio.gather(*(refusal_of(sample.unary(asking("x"))) for _ in range(50)))
    await until(lambda: len(asyncio.all_tasks()) <= before)
    assert sample.counted("Unary", "UNAUTHENTICATED") == 250


async def requests(*models: str | bytes) -> AsyncIterator[ReserveUsageRequest | bytes]:
    for model in models:
        yield model if isinstance(model, bytes) else asking(model)


async def until(is_true: Any, timeout_seconds: float = 10) -> None:
    """Waits for something that no event tells of."""
    async with asyncio.timeout(timeout_seconds):
        while not is_true():  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0.005)


def _argument_name(method: str) -> str:
    return "request" if method == "ServerStream" else "request_iterator"
