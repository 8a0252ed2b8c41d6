"""A tool that an organization wrote: its definition, and the version that its content is."""

from __future__ import annotations

import json
from typing import Any, Final, Self

import msgspec

from agent_executor.tool_runner.calls.tool_call import sha256_hex
from agent_executor.tool_runner.tool_base import Effect
from agent_executor.tool_runner.tool_program import ToolProgram

SOURCE_BYTES_MAX: Final = 262_144
TIMEOUT_SECONDS_MAX: Final = 600.0
ALLOWED_ORIGINS_MAX: Final = 32
# In each organization, and of each tool.
TOOLS_MAX: Final = 1_000
VERSIONS_MAX: Final = 1_000

_CONTENT: Final = (
    "name",
    "class_name",
    "source",
    "description",
    "effect",
    "timeout_seconds",
    "cache_ttl_seconds",
)


class CustomTool(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a tool.

    Attributes:
        organization_id: Whose it is.
        name: Unique in the organization.
        version: SHA-256 of the content, in hexadecimal.
        class_name: The subclass of ``ToolBase`` in the source.
        source: Python code.
        description: What it does, in a sentence for the model.
        input_schema_json: JSON Schema of the arguments, as JSON text.
        effect: What running it again can do.
        timeout_seconds: How long one call may run; 0 for the tool-runner's own limit.
        cache_ttl_seconds: How long a result of a ``read_only`` tool may be given again to an
            equal call; 0 for never.
        allowed_origins: What it may ask the host to reach, in normal form, sorted.
        findings: What looks suspicious in the source; no part of the content.
        created_at_ms: When the version was registered, in milliseconds since 1970-01-01 UTC.
        requires_approval: Whether each call waits for a person's decision.
    """

    organization_id: str
    name: str
    version: str
    class_name: str
    source: str
    description: str
    input_schema_json: str
    effect: Effect
    timeout_seconds: float
    cache_ttl_seconds: int
    allowed_origins: tuple[str, ...]
    findings: tuple[str, ...]
    created_at_ms: int
    requires_approval: bool = False

    @classmethod
    def of(cls, **fields: Any) -> Self:
        """Returns the tool of these fields, all but the version."""
        return cls(version=_version_of(fields), **fields)

    @property
    def program(self) -> ToolProgram:
        """What the sandbox gets of it."""
        return ToolProgram(self.name, self.source, self.class_name, self.organization_id)


def _version_of(fields: dict[str, Any]) -> str:
    content = {name: fields[name] for name in _CONTENT}
    content["timeout_seconds"] = float(content["timeout_seconds"])
    # As a value, so that the order of its keys does not matter.
    content["input_schema"] = json.loads(fields["input_schema_json"])
    content["allowed_origins"] = sorted(fields["allowed_origins"])
    # Left out where it is not demanded, as of before it could be.
    if fields.get("requires_approval"):
        content["requires_approval"] = True
    return sha256_hex(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())
