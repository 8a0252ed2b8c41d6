"""How a monitor's WebSocket ends: a code and a reason, which deploy/docs/monitoring.md lists."""

from __future__ import annotations

from typing import Final, NamedTuple

from agent_executor.errors import (
    AgentExecutorError,
    InvalidArgumentError,
    LimitExceededError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)

# Of RFC 6455 and its registry: a bug; what is needed restarts; too much at present.
BROKEN: Final = 1011
RESTART: Final = 1012
TRY_LATER: Final = 1013
# Our own, named after the HTTP statuses that mean the same.
BAD_REQUEST: Final = 4400
UNAUTHENTICATED: Final = 4401
FORBIDDEN: Final = 4403

# A frame that closes holds no more.
MAX_REASON_BYTES: Final = 123


class Close(NamedTuple):
    """The end of a WebSocket: a code, and a sentence of at most ``MAX_REASON_BYTES`` bytes."""

    code: int
    reason: str


TOKEN_TOO_OLD: Final = Close(
    RESTART, "An executor was restarted, and the token has ended; connect again with `since`."
)
STOPPING: Final = Close(RESTART, "This server stops; connect again with `since`.")
TOOK_A_MESSAGE: Final = Close(BAD_REQUEST, "The monitor takes no messages.")
BUG: Final = Close(BROKEN, "Something broke inside the platform.")


def close_for(error: AgentExecutorError) -> Close:
    """Returns how a stream ends that an error ended."""
    match error:
        case UnauthenticatedError():
            code = UNAUTHENTICATED
        case PermissionDeniedError():
            code = FORBIDDEN
        case InvalidArgumentError():
            code = BAD_REQUEST
        case LimitExceededError():
            code = TRY_LATER
        case UnavailableError():
            code = RESTART
        case _:
            return BUG
    cut = error.message.encode()[:MAX_REASON_BYTES]
    return Close(code, cut.decode(errors="ignore"))
