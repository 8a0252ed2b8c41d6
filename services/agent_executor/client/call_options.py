"""What one call of a client is made with, and what is known of the method that it calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, Generic, TypeVar

from google.protobuf.message import Message

ResponseT = TypeVar("ResponseT", bound=Message)

DEFAULT_TIMEOUT_SECONDS: Final = 30.0
EXECUTION_TIMEOUT_SECONDS: Final = 300.0
DEFAULT_ATTEMPTS: Final = 6


class Repeat(Enum):
    """When a call may be made again after it failed on its way."""

    NEVER = auto()
    # It reads, or the contract says that the same call again changes nothing.
    HARMLESS = auto()
    # The platform knows the repeat by its idempotency key, which the client makes.
    UNDER_KEY = auto()


@dataclass(frozen=True, slots=True)
class Method(Generic[ResponseT]):
    """A method of the contracts.

    Attributes:
        path: Its name on the wire.
        response: What it answers.
        repeat: When it may be called again.
        timeout_seconds: Its deadline if the caller sets none; None: it has none.
    """

    path: str
    response: type[ResponseT]
    repeat: Repeat
    timeout_seconds: float | None

    @property
    def service(self) -> str:
        """Which service has it: ``executor``, ``tool_runner`` or ``ledger``."""
        return self.path.split(".")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """What calls are made with.

    Attributes:
        timeout_seconds: The deadline of a call with its repeats; None: the method's own.
        max_attempts: How often a call is made at most, or a cut stream taken up without anything
            new from it. 1: nothing is repeated.
        idempotency_key: By which the platform knows a repeat; empty: the client makes one.
        metadata: Goes with each call, as ``traceparent``.
        metadata_hook: The same, asked for at each attempt.
    """

    timeout_seconds: float | None = None
    max_attempts: int = DEFAULT_ATTEMPTS
    idempotency_key: str = ""
    # Either may hold what is secret.
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    metadata_hook: Callable[[], Mapping[str, str]] | None = field(default=None, repr=False)
