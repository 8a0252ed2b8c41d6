"""What a call that failed is raised as."""

from __future__ import annotations

from typing import Final, cast

import grpc

from agent_executor.error_status import from_rpc_error
from agent_executor.errors import AgentExecutorError, UnavailableError

_NO_CONNECTION: Final = "failed to connect to all addresses"
_REFUSED: Final = "Failed to connect to remote host: "
_NO_GRPC: Final = "Failed parsing HTTP/2"
# How a gateway tells in the middle of an answer that the service behind it is gone. gRPC calls it
# an internal error.
_RESET: Final = "RST_STREAM"


def failure_of(ended: grpc.RpcError) -> AgentExecutorError:
    """Returns the error of a call; what gRPC raised is its cause."""
    # Every error that a channel raises is the call itself too.
    call = cast("grpc.Call", ended)
    details = call.details() or ""
    if details.startswith(_NO_CONNECTION):
        error: AgentExecutorError = UnavailableError(_without_connection(details))
    elif call.code() is grpc.StatusCode.INTERNAL and _RESET in details:
        error = UnavailableError("The platform broke off the call.")
    else:
        error = from_rpc_error(call)
    error.__cause__ = ended
    return error


def _without_connection(details: str) -> str:
    if _NO_GRPC in details:
        return "What answers is no platform: it does not speak gRPC."
    _, _, why = details.partition(_REFUSED)
    return f"The platform cannot be reached: {why}." if why else "The platform cannot be reached."
