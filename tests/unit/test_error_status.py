from __future__ import annotations

import time
from collections.abc import Iterator

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from agent_executor import errors
from agent_executor.api.error.v1 import error_pb2
from agent_executor.error_status import (
    ERROR_DOMAIN,
    MAX_STATUS_BYTES,
    from_rpc_error,
    from_status,
    to_status,
)
from agent_executor.errors import AgentExecutorError, InvalidArgumentError


def error_classes(root: type[AgentExecutorError]) -> Iterator[type[AgentExecutorError]]:
    yield root
    for child in root.__subclasses__():
        yield from error_classes(child)


def detail(status: status_pb2.Status, empty: error_pb2.ErrorBody) -> error_pb2.ErrorBody:
    assert any(packed.Unpack(empty) for packed in status.details)
    return empty


def rpc_error(
    code: grpc.StatusCode, details: str, *trailing: tuple[str, bytes]
) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details=details
    )


@pytest.mark.parametrize("error_class", list(error_classes(AgentExecutorError)))
def test_every_error_comes_back_as_itself(error_class: type[AgentExecutorError]) -> None:
    original = error_class("Größer geht nicht.", metadata={"limit": "100"}, tool_name="calculator")
    status = status_pb2.Status.FromString(to_status(original).SerializeToString())
    returned = from_status(status)
    assert type(returned) is error_class
    assert returned.message == "Größer geht nicht."
    assert returned.metadata == {"limit": "100"}
    assert returned.tool_name == "calculator"
    assert returned.retry_after_seconds is None
    assert code_pb2.Code.Name(status.code) == error_class.code


def test_reasons_are_those_of_the_contract() -> None:
    reasons = {error_class.reason for error_class in error_classes(AgentExecutorError)}
    names = {
        name.removeprefix("ERROR_REASON_")
        for name in error_pb2.ErrorReason.DESCRIPTOR.values_by_name
    }
    assert reasons == names - {"UNSPECIFIED"}


def test_the_body_has_what_rest_answers() -> None:
    before_ns = time.time_ns()
    status = to_status(
        errors.RateLimitExceededError("Too many.", tool_name="http_request", retry_after_seconds=7)
    )
    body = detail(status, error_pb2.ErrorBody())
    assert (body.success, body.error, body.tool_name) == (False, "Too many.", "http_request")
    assert body.code == "RATE_LIMIT_EXCEEDED"
    assert before_ns <= body.timestamp.ToNanoseconds() <= time.time_ns()


@pytest.mark.parametrize("seconds", [0.0, 0.25, 7, 86_400.5])
def test_the_time_to_wait_is_exact(seconds: float) -> None:
    original = errors.RateLimitExceededError("Too many.", retry_after_seconds=seconds)
    assert from_status(to_status(original)).retry_after_seconds == seconds


def test_field_violations_travel_in_order() -> None:
    violations = (("b.c[0]", "must be set"), ("a", "must be greater than 0"))
    original = InvalidArgumentError("Wrong.", field_violations=violations)
    returned = from_status(to_status(original))
    assert isinstance(returned, InvalidArgumentError)
    assert returned.field_violations == violations


def test_an_error_of_any_size_fits_into_headers() -> None:
    original = InvalidArgumentError(
        "ü" * 100_000,
        field_violations=tuple((f"field_{number}" * 50, "ö" * 5_000) for number in range(500)),
        metadata={f"key{number}": "ä" * 10_000 for number in range(500)},
        tool_name="ß" * 10_000,
    )
    status = to_status(original)
    assert status.ByteSize() <= MAX_STATUS_BYTES
    returned = from_status(status)
    assert returned.message.startswith("üü")
    assert returned.message.endswith("…")
    assert returned.metadata


def test_text_that_is_no_unicode_does_not_break_the_mapping() -> None:
    assert from_status(to_status(AgentExecutorError("a\ud800b"))).message == "a?b"


class TestForeignStatus:
    @pytest.mark.parametrize(
        ("code", "error_class"),
        [
            (grpc.StatusCode.UNAVAILABLE, errors.UnavailableError),
            (grpc.StatusCode.CANCELLED, errors.UnavailableError),
            (grpc.StatusCode.DEADLINE_EXCEEDED, errors.DeadlineExceededError),
            (grpc.StatusCode.UNAUTHENTICATED, errors.UnauthenticatedError),
            (grpc.StatusCode.NOT_FOUND, errors.NotFoundError),
            (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.LimitExceededError),
            (grpc.StatusCode.UNIMPLEMENTED, AgentExecutorError),
            (grpc.StatusCode.UNKNOWN, AgentExecutorError),
        ],
    )
    def test_its_code_is_kept_and_its_text_is_not(
        self, code: grpc.StatusCode, error_class: type[AgentExecutorError]
    ) -> None:
        error = from_rpc_error(rpc_error(code, "failed to connect to ipv4:10.0.0.7:50052"))
        assert type(error) is error_class
        assert "10.0.0.7" not in error.message

    def test_an_rpc_that_ended_with_our_status_gives_our_error(self) -> None:
        status = to_status(errors.ToolNotFoundError("No such tool.", tool_name="x"))
        trailing = ("grpc-status-details-bin", status.SerializeToString())
        error = from_rpc_error(rpc_error(grpc.StatusCode.NOT_FOUND, "No such tool.", trailing))
        assert type(error) is errors.ToolNotFoundError
        assert error.message == "No such tool."

    @pytest.mark.parametrize("details", [b"\xff\xff", b"\x08\x05"])
    def test_details_that_do_not_fit_are_ignored(self, details: bytes) -> None:
        trailing = ("grpc-status-details-bin", details)
        error = from_rpc_error(rpc_error(grpc.StatusCode.UNAVAILABLE, "x", trailing))
        assert type(error) is errors.UnavailableError

    def test_a_reason_of_another_domain_is_foreign(self) -> None:
        status = status_pb2.Status(code=code_pb2.NOT_FOUND, message="secret")
        info = error_details_pb2.ErrorInfo(reason="RUN_NOT_FOUND", domain="another.example")
        status.details.add().Pack(info)
        assert type(from_status(status)) is errors.NotFoundError

    def test_a_reason_that_is_newer_than_this_client_falls_back_to_the_code(self) -> None:
        status = status_pb2.Status(code=code_pb2.NOT_FOUND, message="x")
        info = error_details_pb2.ErrorInfo(reason="DRAGON_NOT_FOUND", domain=ERROR_DOMAIN)
        status.details.add().Pack(info)
        assert type(from_status(status)) is errors.NotFoundError

    def test_a_code_that_does_not_exist_is_internal(self) -> None:
        assert type(from_status(status_pb2.Status(code=99))) is AgentExecutorError
