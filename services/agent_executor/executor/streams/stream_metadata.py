"""What the callers of streams say beside the request.

Neither header is part of the contract of a native gRPC client, whose connection is kept alive by
HTTP/2. A REST client reads server-sent events through proxies that cut what is silent, and resumes as
browsers do; the gateway asks for it on the client's behalf.
"""

from __future__ import annotations

from typing import Final

from agent_executor.errors import InvalidArgumentError
from agent_executor.serving.interceptors import Context

# After how many seconds of silence a heartbeat is sent, 1 to 3,600; the gateway makes it a comment.
HEARTBEAT_HEADER: Final = "agent-executor-heartbeat-seconds"
# The sequence of the last event that the client of a cut stream has seen.
LAST_EVENT_ID_HEADER: Final = "last-event-id"

_HEARTBEAT_SECONDS_MAX: Final = 3_600
_SEQUENCE_MAX: Final = 2**31 - 1
_DIGITS_MAX: Final = 20


def silence_seconds_of(context: Context) -> float | None:
    """Returns after which time without news the caller wants a heartbeat; None: never.

    Raises:
        InvalidArgumentError: The header is no such number.
    """
    seconds = _number(context, HEARTBEAT_HEADER, _HEARTBEAT_SECONDS_MAX)
    return float(seconds) if seconds else None


def last_event_id_of(context: Context) -> int:
    """Returns the sequence that the caller resumes from; 0 if it does not say.

    Raises:
        InvalidArgumentError: The header is no such number.
    """
    return _number(context, LAST_EVENT_ID_HEADER, _SEQUENCE_MAX)


def _number(context: Context, header: str, maximum: int) -> int:
    for key, value in context.invocation_metadata() or ():
        if key == header and value:
            text = str(value)
            # Python reads no number of thousands of digits.
            is_short = len(text) <= _DIGITS_MAX
            if not (is_short and text.isascii() and text.isdigit() and int(text) <= maximum):
                raise InvalidArgumentError(f"The header {header} is no number of 0 to {maximum}.")
            return int(text)
    return 0
