"""A custom tool as the sandbox gets it, and what it says of itself there. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from agent_executor.tool_runner.tool_base import Effect


@dataclass(frozen=True, slots=True)
class ToolProgram:
    """Python code that defines a tool.

    Attributes:
        tool_name: The name that it is registered under.
        source: The code.
        class_name: The subclass of ``ToolBase`` in it.
        organization_id: Whose it is; organizations share the sandbox fairly.
    """

    tool_name: str
    source: str
    class_name: str
    organization_id: str = ""


@dataclass(frozen=True, slots=True)
class ToolDescription:
    """What an instance of the class says of itself.

    Attributes:
        name: Its name.
        description: What it does, in a sentence for the model.
        input_schema: JSON Schema of the arguments, not yet checked.
        effect: What running it again can do.
        cache_ttl_seconds: How long a result may be given again to an equal call; 0 for never.
        requires_approval: Whether each call waits for a person's decision.
    """

    name: str
    description: str
    input_schema: Mapping[str, Any]
    effect: Effect
    cache_ttl_seconds: int
    requires_approval: bool = False


class SourceInspector(Protocol):
    """Loads the source of tools where it can do no harm."""

    async def inspect(self, program: ToolProgram, *, timeout_seconds: float) -> ToolDescription:
        """Loads a program in the sandbox, makes an instance of its class, and lets it go.

        Raises:
            InvalidArgumentError: It cannot be loaded; the message says why, with the line.
            SandboxUnavailableError: There is no sandbox on this host.
        """
        ...
