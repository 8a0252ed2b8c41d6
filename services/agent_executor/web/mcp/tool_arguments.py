"""The arguments of tools, checked; what they mean is checked by the executor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from agent_executor.errors import InvalidArgumentError

ArgumentsT = TypeVar("ArgumentsT", bound=BaseModel)


class CallArguments(BaseModel):
    """What an agent's tool takes.

    Attributes:
        input: What is asked of the agent.
        conversation_id: The conversation that is continued; empty: none.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    input: str
    conversation_id: str = ""


class RunArguments(BaseModel):
    """What the tools for runs take.

    Attributes:
        task_id: The run's id.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    task_id: str


def parse_arguments(model: type[ArgumentsT], arguments: Mapping[str, Any] | None) -> ArgumentsT:
    """Returns the arguments of a call.

    Raises:
        InvalidArgumentError: One is missing, unknown or of the wrong type.
    """
    try:
        return model.model_validate(dict(arguments or {}))
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, found['loc']))}: {found['msg']}"
            for found in error.errors(include_url=False, include_input=False, include_context=False)
        )
        raise InvalidArgumentError(f"The tool's arguments are wrong: {wrong}.") from None
