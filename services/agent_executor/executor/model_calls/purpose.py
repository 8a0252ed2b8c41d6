"""What a model call was made for: the evidence from which the ledger computes its suggestions.

It is recorded in the run's log when the call begins, since a settlement that is repeated, also by
a later version of this code, must say the same as the first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

from agent_executor.executor.models.model import ModelRequest

# Text has about 4 bytes a token.
BYTES_PER_ESTIMATED_TOKEN: Final = 4
# What one settlement may name, by the contract of the ledger.
TOOL_USES_MAX: Final = 1000
TOOL_NAME_BYTES_MAX: Final = 128

_DIGEST_BYTES: Final = 16
_ENCODER: Final = msgspec.json.Encoder()
_SORTING_ENCODER: Final = msgspec.json.Encoder(order="sorted")


class CallPurpose(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a model call was made for.

    Attributes:
        prefix_digest: Names system prompt and tools, which are the same from call to call.
        prefix_tokens: About how many tokens they are.
        history_tokens: About how many tokens earlier turns of the conversation are.
        is_background: Nobody waits for the run.
    """

    prefix_digest: str = ""
    prefix_tokens: int = 0
    history_tokens: int = 0
    is_background: bool = False


class ToolUse(msgspec.Struct, frozen=True):
    """A tool call whose result a model call was given; ``arguments_digest`` names its arguments."""

    tool_call_id: str
    tool_name: str
    arguments_digest: str


def prefix_digest_of(request: ModelRequest) -> str:
    """Returns what names the part of the request that stays the same from call to call."""
    prefix = _ENCODER.encode((request.system, request.tools))
    return hashlib.blake2b(prefix, digest_size=_DIGEST_BYTES).hexdigest()


def arguments_digest_of(arguments_json: str) -> str:
    """Returns what names arguments, however their keys are ordered and spaced."""
    canonical = _SORTING_ENCODER.encode(msgspec.json.decode(arguments_json))
    return hashlib.blake2b(canonical, digest_size=_DIGEST_BYTES).hexdigest()


def tool_uses_of(calls: Iterable[tuple[str, str, str]]) -> tuple[ToolUse, ...]:
    """Returns the uses of tool calls, each given as its id, its tool and its arguments in JSON."""
    uses = [
        ToolUse(tool_call_id, tool_name, arguments_digest_of(arguments_json))
        for tool_call_id, tool_name, arguments_json in calls
        if 0 < len(tool_name.encode()) <= TOOL_NAME_BYTES_MAX
    ]
    return tuple(uses[:TOOL_USES_MAX])


def estimated_tokens(size_bytes: int) -> int:
    """Returns about how many tokens a text of this length is."""
    return size_bytes // BYTES_PER_ESTIMATED_TOKEN
