"""Errors as REST answers: the one place where the web process gives an error its shape and status."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import grpc
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ExceptionHandler

from agent_executor.error_status import from_rpc_error
from agent_executor.errors import AgentExecutorError

_LOGGER = logging.getLogger(__name__)

# As the gateway translates the same codes.
_STATUS_OF_CODE: Final[Mapping[str, int]] = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": HTTPStatus.BAD_REQUEST,
    "DEADLINE_EXCEEDED": HTTPStatus.GATEWAY_TIMEOUT,
    "NOT_FOUND": HTTPStatus.NOT_FOUND,
    "ALREADY_EXISTS": HTTPStatus.CONFLICT,
    "PERMISSION_DENIED": HTTPStatus.FORBIDDEN,
    "RESOURCE_EXHAUSTED": HTTPStatus.TOO_MANY_REQUESTS,
    "FAILED_PRECONDITION": HTTPStatus.BAD_REQUEST,
    "UNAVAILABLE": HTTPStatus.SERVICE_UNAVAILABLE,
    "UNAUTHENTICATED": HTTPStatus.UNAUTHORIZED,
}

# What statuses mean that have no error of ours: the code, a name of ErrorReason, as at the gateway,
# and what is said; empty for what the exception says.
_OF_STATUS: Final[Mapping[int, tuple[str, str]]] = {
    HTTPStatus.NOT_FOUND: ("NOT_FOUND", "There is no such route."),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("LIMIT_EXCEEDED", ""),
    HTTPStatus.METHOD_NOT_ALLOWED: (
        "INVALID_ARGUMENT",
        "The route does not have this method; the header `allow` lists those it has.",
    ),
}


def answer_to(error: AgentExecutorError) -> Response:
    """Returns the REST answer that an error is."""
    headers = {}
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(max(0, math.ceil(error.retry_after_seconds)))
    status = _STATUS_OF_CODE.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
    return error_answer(status, error.reason, error.message, error.tool_name, headers)


def error_answer(
    status: int,
    code: str,
    message: str,
    tool_name: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Returns an answer in the shape of ErrorBody.

    Args:
        status: The HTTP status.
        code: A name of ErrorReason without its prefix.
        message: One sentence for a person.
        tool_name: The tool concerned, or the empty string.
        headers: Further headers.
    """
    return JSONResponse(error_body(code, message, tool_name), status, headers)


def error_body(code: str, message: str, tool_name: str = "") -> dict[str, Any]:
    """Returns an error as the platform shows it everywhere, in the shape of ErrorBody.

    Args:
        code: A name of ErrorReason without its prefix.
        message: One sentence for a person.
        tool_name: The tool concerned, or the empty string.
    """
    return {
        "success": False,
        "error": message,
        "tool_name": tool_name,
        "code": code,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


async def _of_ours(_request: Request, error: Exception) -> Response:
    assert isinstance(error, AgentExecutorError)  # noqa: S101 -- registered for this class below
    return answer_to(error)


async def _of_service(_request: Request, error: Exception) -> Response:
    assert isinstance(error, grpc.aio.AioRpcError)  # noqa: S101 -- registered for this class below
    return answer_to(from_rpc_error(error))


async def _of_router(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 -- registered for this class below
    code, message = _OF_STATUS.get(error.status_code, ("INVALID_ARGUMENT", ""))
    return error_answer(error.status_code, code, message or error.detail, headers=error.headers)


async def _of_anything(_request: Request, _error: Exception) -> Response:
    # Its text may tell of internals. Starlette raises it again, and the server logs it.
    message = "Something broke inside the platform."
    return error_answer(HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL", message)


EXCEPTION_HANDLERS: Final[Mapping[type[Exception], ExceptionHandler]] = {
    AgentExecutorError: _of_ours,
    grpc.aio.AioRpcError: _of_service,
    HTTPException: _of_router,
    Exception: _of_anything,
}
"""What Starlette calls for each kind of exception that a room raises."""
