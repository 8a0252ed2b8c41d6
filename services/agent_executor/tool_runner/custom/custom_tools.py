"""Registering and retiring the tools that organizations write."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from agent_executor.errors import (
    ConflictError,
    FailedPreconditionError,
    InvalidArgumentError,
    LimitExceededError,
    ToolNotFoundError,
)
from agent_executor.json_schema.argument_schema import ArgumentSchema
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.custom.custom_tool import (
    ALLOWED_ORIGINS_MAX,
    SOURCE_BYTES_MAX,
    TIMEOUT_SECONDS_MAX,
    TOOLS_MAX,
    VERSIONS_MAX,
    CustomTool,
)
from agent_executor.tool_runner.custom.origins import WEB_SCHEMES, normalise_origins
from agent_executor.tool_runner.custom.source_findings import findings_of
from agent_executor.tool_runner.custom.tools import Tools, is_custom_tool
from agent_executor.tool_runner.registry import RESERVED_NAMES
from agent_executor.tool_runner.tool_base import CACHE_TTL_SECONDS_MAX, Effect
from agent_executor.tool_runner.tool_program import SourceInspector, ToolDescription, ToolProgram

WRITE_PERMISSION: Final = "tool:write"
DESCRIPTION_BYTES_MAX: Final = 4_096
INSPECTION_TIMEOUT_SECONDS: Final = 10.0

_LOGGER: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRegistration:
    """What an organization wants to register; what is left out is as the class says.

    Attributes:
        name: Lower-case letters, digits and ``_``, beginning with a letter, up to 64; the class
            must give the same.
        source: Python code, up to 256 KiB.
        class_name: The subclass of ``ToolBase`` in it.
        description: What it does, in a sentence for the model.
        input_schema: JSON Schema of the arguments.
        effect: What running it again can do.
        timeout_seconds: How long one call may run, up to 600; 0 for the tool-runner's own limit.
        cache_ttl_seconds: How long a result may be given again to an equal call, up to a day.
        allowed_origins: What it may ask the host to reach, up to 32.
        requires_approval: Whether each call waits for a person's decision; None for what the class
            says.
    """

    name: str
    source: str
    class_name: str
    description: str = ""
    input_schema: Mapping[str, Any] | None = None
    effect: Effect | Literal[""] = ""
    timeout_seconds: float = 0.0
    cache_ttl_seconds: int = 0
    allowed_origins: Sequence[str] = ()
    requires_approval: bool | None = None


class CustomTools:
    """Registers and retires. Every method raises PermissionDeniedError without ``tool:write``.

    Args:
        tools: Where they are found afterwards.
        inspector: Loads their sources.
        now_ms: The time, in milliseconds since 1970-01-01 UTC.
    """

    def __init__(self, tools: Tools, inspector: SourceInspector, now_ms: Callable[[], int]) -> None:
        self._tools = tools
        self._inspector = inspector
        self._now_ms = now_ms

    async def register(self, asked: ToolRegistration, security: SecurityContext) -> CustomTool:
        """Registers a tool, or a version of it, which is then the newest.

        Returns:
            The version; of content that there is already, the one that there is.

        Raises:
            InvalidArgumentError: The source does not load, its class says another name, or a
                field is none.
            ConflictError: The name is reserved, or a tool of the platform has it.
            SandboxUnavailableError: The source cannot be loaded safely on this host.
            LimitExceededError: The source or the schema is too large, or the organization has
                1000 tools, or the tool 1000 versions.
            UnavailableError: The storage failed.
        """
        security.require(WRITE_PERMISSION)
        self._check(asked)
        origins = normalise_origins(asked.allowed_origins, WEB_SCHEMES)
        if asked.input_schema is not None:
            ArgumentSchema(asked.input_schema)
        program = ToolProgram(asked.name, asked.source, asked.class_name, security.organization_id)
        described = await self._inspector.inspect(
            program, timeout_seconds=INSPECTION_TIMEOUT_SECONDS
        )
        if described.name != asked.name:
            raise _invalid("name", f'The class gives the tool another name than "{asked.name}".')
        fields = _completed(asked, described)
        # After the sandbox, so that no source comes here that breaks the parser.
        findings = await asyncio.to_thread(findings_of, asked.source)
        tool = CustomTool.of(
            organization_id=security.organization_id,
            allowed_origins=origins,
            findings=findings,
            created_at_ms=self._now_ms(),
            **fields,
        )
        stored = await self._tools.store.put(tool, tools_max=TOOLS_MAX, versions_max=VERSIONS_MAX)
        if not isinstance(stored, CustomTool):
            raise _limit_reached(stored, asked.name)
        self._tools.changed(security.organization_id, asked.name)
        _LOGGER.info(
            "User %s of %s registered the tool %s at version %s.",
            security.user_id,
            security.organization_id,
            stored.name,
            stored.version,
        )
        return stored

    async def delete(self, tool_name: str, security: SecurityContext) -> None:
        """Retires every version of a tool; its name can be registered again.

        Raises:
            FailedPreconditionError: It comes with the platform.
            ToolNotFoundError: The organization has none of that name.
            UnavailableError: The storage failed.
        """
        security.require(WRITE_PERMISSION)
        organization_id = security.organization_id
        deleted = is_custom_tool(tool_name) and await self._tools.store.delete(
            organization_id, tool_name
        )
        if deleted:
            self._tools.changed(organization_id, tool_name)
            _LOGGER.info(
                "User %s of %s retired the tool %s.", security.user_id, organization_id, tool_name
            )
            return
        if self._tools.registry.find(tool_name) is not None:
            raise FailedPreconditionError(
                f'The tool "{tool_name}" comes with the platform and stays.', tool_name=tool_name
            )
        raise ToolNotFoundError(f'There is no tool named "{tool_name}".', tool_name=tool_name)

    def _check(self, asked: ToolRegistration) -> None:
        if not is_custom_tool(asked.name):
            raise _invalid(
                "name",
                "A name is 1 to 64 lower-case letters, digits and _, and begins with a letter.",
            )
        if asked.name in RESERVED_NAMES or self._tools.registry.find(asked.name) is not None:
            raise ConflictError(
                f'The name "{asked.name}" belongs to the platform.', tool_name=asked.name
            )
        if _size_bytes("source", asked.source) > SOURCE_BYTES_MAX:
            raise LimitExceededError(
                f"The source is larger than {SOURCE_BYTES_MAX} bytes.",
                metadata={"sourceBytesMax": str(SOURCE_BYTES_MAX)},
                tool_name=asked.name,
            )
        if not asked.class_name.isidentifier():
            raise _invalid("class_name", "class_name is the name of a class in the source.")
        if not 0 <= asked.timeout_seconds <= TIMEOUT_SECONDS_MAX:
            raise _invalid(
                "timeout_seconds", f"timeout_seconds is from 0 to {TIMEOUT_SECONDS_MAX:.0f}."
            )
        if not 0 <= asked.cache_ttl_seconds <= CACHE_TTL_SECONDS_MAX:
            raise _invalid(
                "cache_ttl_seconds", f"cache_ttl_seconds is from 0 to {CACHE_TTL_SECONDS_MAX}."
            )
        if len(asked.allowed_origins) > ALLOWED_ORIGINS_MAX:
            raise _invalid(
                "allowed_origins", f"There are at most {ALLOWED_ORIGINS_MAX} allowed_origins."
            )


def _completed(asked: ToolRegistration, described: ToolDescription) -> dict[str, Any]:
    """Returns the fields of the content, those left out as the class says."""
    _check_description(described)
    description = asked.description or described.description
    size_bytes = _size_bytes("description", description)
    if not description.strip() or "\0" in description or size_bytes > DESCRIPTION_BYTES_MAX:
        raise _invalid(
            "description", f"A description is a text of up to {DESCRIPTION_BYTES_MAX} bytes."
        )
    schema = described.input_schema if asked.input_schema is None else asked.input_schema
    return {
        "name": asked.name,
        "class_name": asked.class_name,
        "source": asked.source,
        "description": description,
        "input_schema_json": ArgumentSchema(schema).json_text,
        "effect": asked.effect or described.effect,
        "timeout_seconds": float(asked.timeout_seconds),
        "cache_ttl_seconds": asked.cache_ttl_seconds or described.cache_ttl_seconds,
        "requires_approval": (
            described.requires_approval
            if asked.requires_approval is None
            else asked.requires_approval
        ),
    }


def _check_description(described: ToolDescription) -> None:
    """What comes out of the sandbox may be anything that the source could make up."""
    text: object = described.description
    ttl_seconds: object = described.cache_ttl_seconds
    demand: object = described.requires_approval
    if not isinstance(demand, bool):
        raise InvalidArgumentError("The class does not say whether it requires approval.")
    if not isinstance(text, str) or described.effect not in get_args(Effect):
        raise InvalidArgumentError("The class gives no description or no effect.")
    if type(ttl_seconds) is not int or not 0 <= ttl_seconds <= CACHE_TTL_SECONDS_MAX:
        raise InvalidArgumentError(
            f"The class gives no cache_ttl_seconds from 0 to {CACHE_TTL_SECONDS_MAX}."
        )


def _size_bytes(field: str, text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise _invalid(field, f"{field} holds half a character.") from None


def _limit_reached(reached: Literal["tools", "versions"], tool_name: str) -> LimitExceededError:
    if reached == "tools":
        message = f"The organization has {TOOLS_MAX} tools, which is the limit."
    else:
        message = f'The tool "{tool_name}" has {VERSIONS_MAX} versions, which is the limit.'
    return LimitExceededError(message, tool_name=tool_name)


def _invalid(field: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, field_violations=((field, message),))
