"""The events of a run. The log of them is the run; everything else is derived from it.

Events are stored as JSON by ``encode_event`` and outlive every version of the code: a field may
be added with a default, none may change its meaning. Money is integer nano-US-dollars.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from agent_executor.executor.models.model import ModelUsage, ResponseBlock


class RunStarted(msgspec.Struct, frozen=True, tag="run_started"):
    """The run began: it is bound to one version of one agent, and of each custom tool.

    ``tool_versions`` holds the custom tools by name; logs of before there were any have none.
    """

    agent_id: str
    agent_version: int
    model: str
    input: str
    is_test: bool = False
    tool_versions: dict[str, str] = {}


class RunResumed(msgspec.Struct, frozen=True, tag="run_resumed"):
    """Another owner took the run over; ``attempt`` counts from 2."""

    attempt: int


class ModelCallStarted(msgspec.Struct, frozen=True, tag="model_call_started"):
    """A model call is about to be made; ``model_call_id`` is its reservation's id too."""

    model_call_id: str
    turn: int


class ModelCallCompleted(msgspec.Struct, frozen=True, tag="model_call_completed"):
    """The model answered."""

    model_call_id: str
    content: tuple[ResponseBlock, ...]
    stop_reason: str
    usage: ModelUsage


class ModelCallFailed(msgspec.Struct, frozen=True, tag="model_call_failed"):
    """The model call gave no answer that can be used; ``usage`` is what it is taken to have cost.

    ``usage`` is None when nothing can have been spent. It is an estimate in every other case.
    """

    model_call_id: str
    error: str
    code: str
    will_retry: bool
    usage: ModelUsage | None = None


class ModelCallSettled(msgspec.Struct, frozen=True, tag="model_call_settled"):
    """The ledger recorded what a model call cost."""

    model_call_id: str
    usage_entry_id: str
    cost_nano_usd: int
    estimated: bool = False


class ToolCallStarted(msgspec.Struct, frozen=True, tag="tool_call_started"):
    """A tool call is about to be sent. ``tool_use_id`` is the model's own id for it."""

    tool_call_id: str
    tool_use_id: str
    tool_name: str
    arguments_json: str


class ToolCallCompleted(msgspec.Struct, frozen=True, tag="tool_call_completed"):
    """A tool call has its result; ``result_json`` is ``null`` unless ``success``."""

    tool_call_id: str
    tool_name: str
    success: bool
    result_json: str
    error: str
    code: str
    timestamp_ms: int


class RunFinished(msgspec.Struct, frozen=True, tag="run_finished"):
    """The run ended. No event follows."""

    state: str
    response: str = ""
    error: str = ""
    code: str = ""


Payload: TypeAlias = (
    RunStarted
    | RunResumed
    | ModelCallStarted
    | ModelCallCompleted
    | ModelCallFailed
    | ModelCallSettled
    | ToolCallStarted
    | ToolCallCompleted
    | RunFinished
)


class RunEvent(msgspec.Struct, frozen=True):
    """One event at its place in the log.

    Attributes:
        sequence: From 1, without a gap.
        created_at_ms: Milliseconds since 1970-01-01 UTC.
        payload: What happened.
    """

    sequence: int
    created_at_ms: int
    payload: Payload


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final[msgspec.json.Decoder[Payload]] = msgspec.json.Decoder(Payload)


def encode_payload(payload: Payload) -> bytes:
    """Returns the payload as JSON, with its name under ``type``."""
    return _ENCODER.encode(payload)


def decode_payload(data: bytes | str) -> Payload:
    """Returns the payload of ``encode_payload``.

    Raises:
        msgspec.DecodeError: The text is not such a payload; the journal is damaged.
    """
    return _DECODER.decode(data)


def payload_type(payload: Payload) -> str:
    """Returns the payload's name, for example ``tool_call_completed``."""
    return str(payload.__struct_config__.tag)
