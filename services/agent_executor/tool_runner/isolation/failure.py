"""An error as it passes the sandbox's wall, in either direction.

Standard library only: the launcher loads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from agent_executor import errors
from agent_executor.errors import AgentExecutorError, InvalidArgumentError, ToolExecutionError
from agent_executor.tool_runner.tool_base import ERROR_CHARACTERS_MAX

LIMIT_KEY: Final = "limit"
_METADATA_ENTRIES_MAX: Final = 16
_METADATA_CHARACTERS_MAX: Final = 200
# A day; a larger number is none that a caller could be told.
_RETRY_AFTER_SECONDS_MAX: Final = 86_400.0
# What only the platform can say; a tool that says it has failed, and no more.
_REASONS_OF_THE_PLATFORM: Final = frozenset(
    {
        errors.AgentInactiveError.reason,
        errors.BudgetExceededError.reason,
        errors.CancelledRunError.reason,
        errors.LeaseLostError.reason,
        errors.OutcomeUnknownError.reason,
        errors.RunFinishedError.reason,
        errors.SandboxUnavailableError.reason,
        errors.UnauthenticatedError.reason,
    }
)


def as_payload(error: AgentExecutorError) -> dict[str, Any]:
    """Returns an error as a JSON object; what a tool has put into it may be anything."""
    return {
        "reason": error.reason,
        "message": text_of(error.message),
        "metadata": _metadata_of(error.metadata),
        "retry_after_seconds": _seconds_of(error.retry_after_seconds),
    }


def from_payload(payload: Mapping[str, Any], tool_name: str = "") -> AgentExecutorError:
    """Returns the error that an object describes.

    Whatever the object holds, an error comes out; one that a tool may not raise, or that does not
    exist, is a ``ToolExecutionError``.
    """
    reason = payload.get("reason")
    error_type = _TYPE_OF_REASON.get(reason) if isinstance(reason, str) else None
    message = text_of(payload.get("message"))
    metadata = _metadata_of(payload.get("metadata"))
    # Which limit of the sandbox was reached is for the sandbox to say.
    metadata.pop(LIMIT_KEY, None)
    if error_type is None or reason in _REASONS_OF_THE_PLATFORM:
        error_type = ToolExecutionError
    if issubclass(error_type, InvalidArgumentError):
        return error_type(message, metadata=metadata, tool_name=tool_name)
    return error_type(
        message,
        metadata=metadata,
        tool_name=tool_name,
        retry_after_seconds=_seconds_of(payload.get("retry_after_seconds")),
    )


def text_of(value: object) -> str:
    """Returns a value as text that can travel: Unicode, and not without end."""
    text = str(value)[:ERROR_CHARACTERS_MAX]
    return text.encode(errors="replace").decode()


def _metadata_of(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    entries = list(value.items())[:_METADATA_ENTRIES_MAX]
    return {
        text_of(key)[:_METADATA_CHARACTERS_MAX]: text_of(entry)[:_METADATA_CHARACTERS_MAX]
        for key, entry in entries
    }


def _seconds_of(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Compared before it is converted: an integer may be larger than any float.
    return float(min(value, _RETRY_AFTER_SECONDS_MAX)) if value >= 0 else None


def _tree(root: type[AgentExecutorError]) -> Iterator[type[AgentExecutorError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


# Before any tool is loaded, so that it holds the platform's own classes only.
_TYPE_OF_REASON: Final = {each.reason: each for each in _tree(AgentExecutorError)}
