"""The one place where an error becomes a ``google.rpc.Status``, and a status an error again.

A status carries an ``ErrorInfo`` (domain ``agent-executor``), our ``ErrorBody``, which the gateway
turns into the REST answer, a ``RetryInfo`` if waiting helps, and a ``BadRequest`` if fields are
wrong. It is kept within what HTTP/2 headers hold.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Final, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from agent_executor import errors
from agent_executor.api.error.v1 import error_pb2
from agent_executor.errors import AgentExecutorError, InvalidArgumentError

DetailT = TypeVar("DetailT", bound=Message)

ERROR_DOMAIN: Final = "agent-executor"

# A peer refuses more than 8 KiB of headers, and a status travels in them twice: once as text, in
# which a character may take nine bytes, and once as base64.
MAX_STATUS_BYTES: Final = 4_096
MAX_MESSAGE_BYTES: Final = 400
MAX_TEXT_BYTES: Final = 200

# What names a request in an answer's metadata, and how an error of ours names it.
_REQUEST_NAMES: Final[Mapping[str, str]] = {
    "x-request-id": "request_id",
    "x-trace-id": "trace_id",
}

_NANOSECONDS: Final = 1_000_000_000

_CLASS_OF_REASON: Final[Mapping[str, type[AgentExecutorError]]] = {
    member.reason: member
    for member in vars(errors).values()
    if isinstance(member, type) and issubclass(member, AgentExecutorError)
}

# What a status without our details means: it comes from gRPC itself or a proxy, and its own text
# tells of addresses and internals.
_FOREIGN: Final[Mapping[str, tuple[type[AgentExecutorError], str]]] = {
    "UNAVAILABLE": (errors.UnavailableError, "A service that is needed does not answer."),
    "CANCELLED": (errors.UnavailableError, "A service that is needed broke off the call."),
    "DEADLINE_EXCEEDED": (errors.DeadlineExceededError, "The deadline of the call has passed."),
    "UNAUTHENTICATED": (errors.UnauthenticatedError, "The credentials do not hold."),
    "PERMISSION_DENIED": (errors.PermissionDeniedError, "The caller lacks a permission."),
    "NOT_FOUND": (errors.NotFoundError, "There is no such resource."),
    "ALREADY_EXISTS": (errors.ConflictError, "The resource exists already."),
    "INVALID_ARGUMENT": (errors.InvalidArgumentError, "The request is malformed."),
    "FAILED_PRECONDITION": (errors.FailedPreconditionError, "The resource is not in that state."),
    "RESOURCE_EXHAUSTED": (errors.LimitExceededError, "A limit in calls or size is reached."),
    "UNIMPLEMENTED": (AgentExecutorError, "What was called does not have this method."),
}
_UNKNOWN: Final = (AgentExecutorError, "A service that is needed failed.")


def to_status(error: AgentExecutorError) -> status_pb2.Status:
    """Returns the status by which the error travels; its text is cut to what a header holds."""
    message = _shorten(error.message, MAX_MESSAGE_BYTES)
    status = status_pb2.Status(code=code_pb2.Code.Value(error.code), message=message)
    body = error_pb2.ErrorBody(
        success=False,
        error=message,
        tool_name=_shorten(error.tool_name, MAX_TEXT_BYTES),
        code=error.reason,
    )
    body.timestamp.FromNanoseconds(time.time_ns())
    status.details.add().Pack(body)
    if error.retry_after_seconds is not None:
        retry = error_details_pb2.RetryInfo()
        delay_ns = math.ceil(max(error.retry_after_seconds, 0.0) * _NANOSECONDS)
        retry.retry_delay.FromNanoseconds(delay_ns)
        status.details.add().Pack(retry)
    _add_within_limit(status, _error_info(error))
    if isinstance(error, InvalidArgumentError) and error.field_violations:
        _add_within_limit(status, _bad_request(error))
    return status


def from_status(status: status_pb2.Status) -> AgentExecutorError:
    """Returns the error that the status was made of, or the nearest for a foreign status."""
    info = _detail(status, error_details_pb2.ErrorInfo())
    error_class = _CLASS_OF_REASON.get(info.reason) if info.domain == ERROR_DOMAIN else None
    if error_class is None:
        return _foreign_error(status.code)
    metadata = dict(info.metadata)
    tool_name = _detail(status, error_pb2.ErrorBody()).tool_name
    if issubclass(error_class, InvalidArgumentError):
        violations = _detail(status, error_details_pb2.BadRequest()).field_violations
        return error_class(
            status.message,
            field_violations=tuple((item.field, item.description) for item in violations),
            metadata=metadata,
            tool_name=tool_name,
        )
    return error_class(
        status.message,
        metadata=metadata,
        tool_name=tool_name,
        retry_after_seconds=_retry_after_seconds(status),
    )


def from_rpc_error(error: grpc.aio.AioRpcError | grpc.Call) -> AgentExecutorError:
    """Returns the error that a peer's RPC ended with, for a client to raise from it.

    What the answer's metadata says of the request, by which an operator finds it, is added to the
    error's own as ``request_id`` and ``trace_id``.
    """
    try:
        status = rpc_status.from_call(error)
    except (ValueError, DecodeError):
        status = None
    returned = _foreign_error(error.code().value[0]) if status is None else from_status(status)
    for key, value in (*(error.initial_metadata() or ()), *(error.trailing_metadata() or ())):
        name = _REQUEST_NAMES.get(key)
        if name is not None and isinstance(value, str):
            returned.metadata.setdefault(name, value)
    return returned


def from_reason(reason: str, message: str) -> AgentExecutorError:
    """Returns the error that a stream's last message tells of."""
    return _CLASS_OF_REASON.get(reason, AgentExecutorError)(message)


def _foreign_error(code: int) -> AgentExecutorError:
    name = code_pb2.Code.Name(code) if code in code_pb2.Code.values() else "UNKNOWN"
    error_class, message = _FOREIGN.get(name, _UNKNOWN)
    return error_class(message)


def _error_info(error: AgentExecutorError) -> error_details_pb2.ErrorInfo:
    metadata = {
        _shorten(key, MAX_TEXT_BYTES): _shorten(value, MAX_TEXT_BYTES)
        for key, value in error.metadata.items()
    }
    return error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=metadata)


def _bad_request(error: InvalidArgumentError) -> error_details_pb2.BadRequest:
    bad_request = error_details_pb2.BadRequest()
    for field, description in error.field_violations:
        bad_request.field_violations.add(
            field=_shorten(field, MAX_TEXT_BYTES),
            description=_shorten(description, MAX_TEXT_BYTES),
        )
    return bad_request


def _add_within_limit(
    status: status_pb2.Status, detail: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest
) -> None:
    """Packs the detail, without the last of its entries if they do not fit."""
    room = MAX_STATUS_BYTES - status.ByteSize() - MAX_TEXT_BYTES
    while detail.ByteSize() > room:
        if isinstance(detail, error_details_pb2.BadRequest):
            detail.field_violations.pop()
        else:
            detail.metadata.pop(list(detail.metadata)[-1])
    status.details.add().Pack(detail)


def _detail(status: status_pb2.Status, empty: DetailT) -> DetailT:
    """Returns the status's detail of this type, or the empty one."""
    for packed in status.details:
        if packed.Unpack(empty):
            break
    return empty


def _retry_after_seconds(status: status_pb2.Status) -> float | None:
    retry = _detail(status, error_details_pb2.RetryInfo())
    return (
        retry.retry_delay.ToNanoseconds() / _NANOSECONDS if retry.HasField("retry_delay") else None
    )


def _shorten(text: str, max_bytes: int) -> str:
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= max_bytes:
        return encoded.decode()
    return encoded[: max_bytes - len("…".encode())].decode("utf-8", "ignore") + "…"
