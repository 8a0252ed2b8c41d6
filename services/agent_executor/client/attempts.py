"""Whether and when a call is made again: backoff with jitter, within its deadline."""

from __future__ import annotations

import random
import time
import uuid
from typing import Any, Final

from agent_executor.client.call_options import CallOptions, Method, Repeat
from agent_executor.errors import (
    AgentExecutorError,
    DeadlineExceededError,
    RateLimitExceededError,
    UnauthenticatedError,
    UnavailableError,
)

FIRST_WAIT_SECONDS: Final = 0.1
MAX_WAIT_SECONDS: Final = 3.0
_KEY_METADATA: Final = "idempotency-key"


class Attempts:
    """The attempts of one call.

    Args:
        method: What is called.
        options: How.
    """

    def __init__(self, method: Method[Any], options: CallOptions) -> None:
        self._may_repeat = method.repeat is not Repeat.NEVER
        self._max_attempts = options.max_attempts
        self._failures = 0
        timeout_seconds = (
            method.timeout_seconds if options.timeout_seconds is None else options.timeout_seconds
        )
        self._deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        self._options = options
        self._key = options.idempotency_key
        if not self._key and method.repeat is Repeat.UNDER_KEY:
            self._key = str(uuid.uuid4())

    def remaining_seconds(self) -> float | None:
        """How long the call may still take; None without a deadline.

        Raises:
            DeadlineExceededError: It is over.
        """
        if self._deadline is None:
            return None
        remaining_seconds = self._deadline - time.monotonic()
        if remaining_seconds <= 0:
            raise DeadlineExceededError("The deadline of the call has passed.")
        return remaining_seconds

    def metadata(self, token: str) -> tuple[tuple[str, str], ...]:
        """Returns what goes with the next attempt.

        Raises:
            UnauthenticatedError: The token is none that a header can carry.
        """
        if not (token.isascii() and token.isprintable()):
            raise UnauthenticatedError(
                "The token holds a line break, or another character that no header can carry."
            )
        entries = dict(self._options.metadata)
        if self._options.metadata_hook is not None:
            entries |= self._options.metadata_hook()
        if token:
            entries["authorization"] = f"Bearer {token}"
        if self._key:
            entries[_KEY_METADATA] = self._key
        return tuple(entries.items())

    def progressed(self) -> None:
        """Takes note that a stream has brought something new."""
        self._failures = 0

    def wait_seconds_after(self, error: AgentExecutorError) -> float:
        """Returns how long to wait before the next attempt.

        Raises:
            AgentExecutorError: There is none: this is how the call ends.
        """
        self._failures += 1
        passes = isinstance(error, UnavailableError | RateLimitExceededError)
        if not passes or not self._may_repeat or self._failures >= self._max_attempts:
            raise error
        backoff = min(MAX_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** (self._failures - 1))
        # Between half and all of it: callers that failed together do not come back together.
        wait_seconds = backoff * random.uniform(0.5, 1.0)  # noqa: S311 -- nothing is kept secret by it
        wait_seconds = max(wait_seconds, error.retry_after_seconds or 0.0)
        if self._deadline is not None and time.monotonic() + wait_seconds >= self._deadline:
            raise error
        return wait_seconds
