"""What a stream's caller was told, so that one which was cut goes on without a gap or a repeat."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, Protocol, TypeVar

from google.protobuf.message import Message

from agent_executor.api.executor.v1 import run_event_pb2, run_service_pb2
from agent_executor.error_status import from_reason

MessageT = TypeVar("MessageT", bound=Message)

# The type of a message that says nothing but that the stream is there.
_HEARTBEAT: Final = "heartbeat"
# Proxies cut what is silent for minutes; the platform speaks as often as this asks it to.
_HEARTBEATS: Final = {"agent-executor-heartbeat-seconds": "30"}


class Told(Protocol[MessageT]):
    """What the caller was told of a stream.

    Attributes:
        metadata: Goes with the call.
        is_over: Whether the stream has said that it ends.
        may_just_end: Whether a stream that ends without a word is whole.
    """

    metadata: dict[str, str]
    is_over: bool
    may_just_end: bool

    def request(self) -> Message:
        """Returns what to ask for, so that what comes next is new."""
        ...

    def new(self, message: MessageT) -> MessageT | None:
        """Returns what of a message is new to the caller, None if nothing is.

        Raises:
            AgentExecutorError: The message says that the stream cannot go on.
        """
        ...


class ToldFile:
    """Of a file that comes in pieces; it cannot be taken up in its middle.

    Args:
        request: What was asked for.
    """

    def __init__(self, request: Message) -> None:
        self.metadata: dict[str, str] = {}
        self.is_over = False
        self.may_just_end = True
        self._request = request

    def request(self) -> Message:
        """See ``Told``."""
        return self._request

    def new(self, message: Any) -> Any:
        """See ``Told``."""
        return message


class ToldEvents:
    """Of the events of a run's log: it is taken up after the last one.

    Args:
        request: What was asked for.
    """

    def __init__(self, request: run_service_pb2.StreamRunEventsRequest) -> None:
        self.metadata = dict(_HEARTBEATS)
        self.is_over = False
        self.may_just_end = False
        self._request = run_service_pb2.StreamRunEventsRequest()
        self._request.CopyFrom(request)

    def request(self) -> run_service_pb2.StreamRunEventsRequest:
        """See ``Told``."""
        return self._request

    def new(self, message: run_event_pb2.RunEvent) -> run_event_pb2.RunEvent | None:
        """See ``Told``."""
        if message.type == _HEARTBEAT or message.sequence <= self._request.after_sequence:
            return None
        self._request.after_sequence = message.sequence
        self.is_over = message.type == "run_finished"
        return message


class ToldUpdates:
    """Of a run that is executed: the same call again, by its key, tells of it from its beginning.

    Args:
        request: What was asked for.
    """

    def __init__(self, request: run_service_pb2.StreamAgentRequest) -> None:
        self.metadata = dict(_HEARTBEATS)
        self.is_over = False
        self.may_just_end = False
        self._request = request
        self._sequence = 0
        # Of each model call, its answer and its thinking: how much was told, and of this stream.
        self._characters: Counter[tuple[str, bool]] = Counter()
        self._here: Counter[tuple[str, bool]] = Counter()

    def request(self) -> run_service_pb2.StreamAgentRequest:
        """See ``Told``."""
        self._here.clear()
        return self._request

    def new(self, message: run_service_pb2.RunUpdate) -> run_service_pb2.RunUpdate | None:
        """See ``Told``."""
        if message.type == "error":
            raise from_reason(message.error.code, message.error.error)
        if message.type == _HEARTBEAT:
            return None
        if message.type == "text_delta":
            return self._new_text(message)
        if message.sequence <= self._sequence:
            return None
        self._sequence = message.sequence
        self.is_over = message.type == "done"
        return message

    def _new_text(self, message: run_service_pb2.RunUpdate) -> run_service_pb2.RunUpdate | None:
        delta = message.text_delta
        part = (delta.model_call_id, delta.is_thinking)
        told = max(0, self._characters[part] - self._here[part])
        self._here[part] += len(delta.text)
        if told >= len(delta.text):
            return None
        delta.text = delta.text[told:]
        self._characters[part] = self._here[part]
        return message
