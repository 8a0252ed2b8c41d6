"""What a worker says of a custom tool, checked: it is a stranger's word."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final, get_args

from agent_executor.errors import AgentExecutorError, InvalidArgumentError
from agent_executor.tool_runner.isolation.untrusted_json import JsonError, parse_object
from agent_executor.tool_runner.tool_base import CACHE_TTL_SECONDS_MAX, Effect
from agent_executor.tool_runner.tool_program import ToolDescription

DESCRIPTION_CHARACTERS_MAX: Final = 10_000


def description_of(payload: bytes, tool_name: str) -> ToolDescription:
    """Returns the description that a worker has written.

    Raises:
        InvalidArgumentError: It is none.
    """
    try:
        fields = parse_object(payload)
        return _checked(ToolDescription(**fields))
    except JsonError as error:
        raise _not_valid(f"it {error}", tool_name) from None
    except TypeError:
        raise _not_valid("it has other fields", tool_name) from None
    except AgentExecutorError as error:
        raise _not_valid(error.message, tool_name) from None


def _checked(description: ToolDescription) -> ToolDescription:
    # The types are what the fields should be; what they are is the worker's word.
    fields: dict[str, Any] = asdict(description)
    if not isinstance(fields["name"], str):
        raise InvalidArgumentError("its name is not text")
    text = fields["description"]
    if not isinstance(text, str) or not 0 < len(text) <= DESCRIPTION_CHARACTERS_MAX:
        raise InvalidArgumentError(
            f"its description is not a text of 1 to {DESCRIPTION_CHARACTERS_MAX} characters"
        )
    if not isinstance(fields["input_schema"], dict):
        raise InvalidArgumentError("its input_schema is not an object")
    if fields["effect"] not in get_args(Effect):
        raise InvalidArgumentError(f"its effect is not one of {', '.join(get_args(Effect))}")
    seconds = fields["cache_ttl_seconds"]
    if type(seconds) is not int or not 0 <= seconds <= CACHE_TTL_SECONDS_MAX:
        raise InvalidArgumentError(
            f"its cache_ttl_seconds is not a whole number from 0 to {CACHE_TTL_SECONDS_MAX}"
        )
    if not isinstance(fields["requires_approval"], bool):
        raise InvalidArgumentError("its requires_approval is neither true nor false")
    return description


def _not_valid(why: str, tool_name: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"The tool's description of itself is not valid: {why}.", tool_name=tool_name
    )
