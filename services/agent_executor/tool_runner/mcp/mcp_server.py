"""An MCP server of an organization, and the versions of its tools."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Any, Final, Self

import msgspec

from agent_executor.tool_runner.calls.tool_call import sha256_hex
from agent_executor.tool_runner.tool_base import TOOL_NAME_LENGTH_MAX, Effect

SERVERS_MAX: Final = 100
TOOLS_MAX: Final = 256
# Each time that the server is asked for its tools; versions that were last seen before are dropped.
GENERATIONS_KEPT: Final = 200

SEPARATOR: Final = "__"
_SERVER_NAME: Final = re.compile(r"[a-z][a-z0-9]{0,23}", re.ASCII)
_NOT_OF_A_NAME: Final = re.compile(r"[^a-z0-9_]")
_DIGEST_CHARACTERS: Final = 8


class McpTool(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a tool.

    Attributes:
        name: In the platform, ``<server>__<tool>``.
        version: SHA-256 of all that follows but the time, in hexadecimal.
        server_tool_name: Its name at the server.
        description: What the server says that it does; not to be trusted.
        input_schema_json: JSON Schema of the arguments, as JSON text.
        effect: What running it again can do.
        requires_approval: Whether each call waits for a person's decision.
        timeout_seconds: How long one call may run; 0 for the tool-runner's own limit.
        created_at_ms: When the version was first seen, in milliseconds since 1970-01-01 UTC.
    """

    name: str
    version: str
    server_tool_name: str
    description: str
    input_schema_json: str
    effect: Effect
    requires_approval: bool
    timeout_seconds: float
    created_at_ms: int

    @classmethod
    def of(cls, *, created_at_ms: int, **content: Any) -> Self:
        """Returns the tool of this content, with its version."""
        # The schema as a value, so that the order of its keys does not matter.
        digested = content | {"input_schema_json": json.loads(content["input_schema_json"])}
        text = json.dumps(digested, sort_keys=True, separators=(",", ":"))
        return cls(version=sha256_hex(text.encode()), created_at_ms=created_at_ms, **content)


class McpServer(msgspec.Struct, frozen=True, kw_only=True):
    """A server as it is kept.

    Attributes:
        name: Unique in the organization.
        url: Its endpoint for streamable HTTP.
        credential_name: The credential that goes with each request; empty for none.
        allowed_tools: The tools that may be used, by their names at the server; empty for all.
        effect: What running one of its tools again can do.
        trusts_hints: Whether the server's hints about a tool go before ``effect``.
        requires_approval: Whether each call waits for a person's decision.
        timeout_seconds: How long one call may run; 0 for the tool-runner's own limit.
        server_title: What it calls itself.
        protocol_version: The protocol's version that it spoke last.
        findings: What was not accepted of its tools, and what looks suspicious.
        refreshed_at_ms: When it was last asked, in milliseconds since 1970-01-01 UTC.
        generation: Grows by one whenever it is stored, from the time at which it was stored first,
            so that one that was deleted and stored again has none of the old ones.
        tools: Those that may be used now, by name; left out where only the server is meant.
    """

    name: str
    url: str
    credential_name: str = ""
    allowed_tools: tuple[str, ...] = ()
    effect: Effect = "unsafe"
    trusts_hints: bool = False
    requires_approval: bool = False
    timeout_seconds: float = 0.0
    server_title: str = ""
    protocol_version: str = ""
    findings: tuple[str, ...] = ()
    refreshed_at_ms: int = 0
    generation: int = 0
    tools: tuple[McpTool, ...] = ()


def is_server_name(name: str) -> bool:
    """Tells whether a server can have this name."""
    return _SERVER_NAME.fullmatch(name) is not None


def server_name_of(tool_name: str) -> str:
    """Returns the name of the server whose tool can have this name; empty if none can."""
    server_name, separator, rest = tool_name.partition(SEPARATOR)
    is_possible = separator and rest and is_server_name(server_name)
    return server_name if is_possible and len(tool_name) <= TOOL_NAME_LENGTH_MAX else ""


def platform_name(server_name: str, server_tool_name: str) -> str:
    """Returns the name of a server's tool in the platform; two tools can come to the same.

    Capitals become small, and what is no letter, digit or ``_`` becomes ``_``. A name that is too
    long ends with a digest of the whole.
    """
    name = server_name + SEPARATOR + _NOT_OF_A_NAME.sub("_", server_tool_name.lower())
    if len(name) <= TOOL_NAME_LENGTH_MAX:
        return name
    digest = sha256(server_tool_name.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{name[: TOOL_NAME_LENGTH_MAX - _DIGEST_CHARACTERS - 1]}_{digest}"
