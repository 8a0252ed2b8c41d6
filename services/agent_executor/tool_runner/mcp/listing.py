"""Which of the tools that a server offers are accepted, and what is said about the others.

All that a server says of its tools is text from outside: models read it, so it is capped, and what
looks like an attack in it is told to whoever registers the server. It is advice and not a gate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agent_executor.errors import InvalidArgumentError, LimitExceededError
from agent_executor.json_schema.argument_schema import ArgumentSchema
from agent_executor.tool_runner.mcp.mcp_server import (
    TOOLS_MAX,
    McpServer,
    McpTool,
    platform_name,
)
from agent_executor.tool_runner.policy.screening import ScreeningPolicy
from agent_executor.tool_runner.tool_base import Effect

DESCRIPTION_BYTES_MAX: Final = 4_096
TOOL_NAME_CHARACTERS_MAX: Final = 128
FINDINGS_MAX: Final = 100
_SHOWN_CHARACTERS: Final = 80
# Tags and their like: nobody sees them, and models read them as letters.
_HIDDEN_LETTERS: Final = re.compile("[\U000e0000-\U000e0fff]")
_CONTROL: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
    rf"|{_HIDDEN_LETTERS.pattern}"
)
# How texts speak that are meant to lead a model astray.
_ORDERS_TO_THE_MODEL: Final = re.compile(
    r"\b(?:ignore|disregard|forget)\b.{0,40}\b(?:previous|prior|above|other|all)\b"
    r"|\b(?:do not|don't|never)\b.{0,20}\b(?:tell|mention|inform|show)\b.{0,20}\buser\b"
    r"|<\s{0,3}/?(?:important|system|instructions?|secret)\b|\bsystem prompt\b",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool as a server offers it.

    Attributes:
        name: At the server.
        description: What it is said to do.
        input_schema: JSON Schema of the arguments, as it came.
        read_only: The hint that it only reads; None without one.
        idempotent: The hint that a repeat changes nothing more; None without one.
    """

    name: str
    description: str
    input_schema: Mapping[str, Any]
    read_only: bool | None = None
    idempotent: bool | None = None


@dataclass(slots=True)
class AcceptedTools:
    """What became of a list of tools.

    Attributes:
        tools: Those that are accepted, by name.
        findings: One sentence about each that is not, or that looks suspicious.
        refused: The names at the server of those that are not accepted or not there, with why.
    """

    tools: dict[str, McpTool] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def refuse(self, tool_name: str, reason: str) -> None:
        """Notes that a tool is left out."""
        self.refused[tool_name] = reason
        self.find(f'The tool "{_shown(tool_name)}" is left out: {reason}')

    def find(self, finding: str) -> None:
        """Notes a finding, unless there are many already."""
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(clean(finding))
        elif len(self.findings) == FINDINGS_MAX:
            self.findings.append("There are more findings than are shown.")


def accept(
    server: McpServer, offered: Sequence[OfferedTool], taken: frozenset[str], now_ms: int
) -> AcceptedTools:
    """Returns the tools that can be used, and what is found about the others.

    Args:
        server: Whose tools they are.
        offered: As the server lists them.
        taken: Names in the platform that other tools have.
        now_ms: The time, in milliseconds since 1970-01-01 UTC.
    """
    accepted = AcceptedTools()
    wanted = frozenset(server.allowed_tools)
    # A name that fits as it is goes before those that have to be made to fit.
    for tool in sorted(offered, key=lambda each: (not _fits(server, each.name), each.name)):
        if wanted and tool.name not in wanted:
            continue
        _accept_one(accepted, server, tool, taken, now_ms)
    for name in sorted(wanted - {tool.name for tool in offered}):
        accepted.refuse(name, "the server has no such tool.")
    accepted.tools = dict(sorted(accepted.tools.items()))
    return accepted


def clean(text: str) -> str:
    """Returns a text from outside without what no text needs: control and invisible characters."""
    return _CONTROL.sub(" ", text).encode(errors="replace").decode().strip()


def _accept_one(
    accepted: AcceptedTools,
    server: McpServer,
    tool: OfferedTool,
    taken: frozenset[str],
    now_ms: int,
) -> None:
    name = platform_name(server.name, tool.name)
    if not 0 < len(tool.name) <= TOOL_NAME_CHARACTERS_MAX or not tool.name.isprintable():
        accepted.refuse(tool.name, "its name is empty, too long or not printable.")
    elif name in accepted.tools or name in taken:
        accepted.refuse(tool.name, f'another tool has the name "{name}".')
    elif len(accepted.tools) >= TOOLS_MAX:
        accepted.refuse(tool.name, f"only {TOOLS_MAX} tools of a server can be used.")
    else:
        try:
            schema = ArgumentSchema(tool.input_schema)
        except (InvalidArgumentError, LimitExceededError) as error:
            accepted.refuse(tool.name, error.message)
            return
        description = _description(accepted, server, tool)
        _screen(accepted, tool, description)
        accepted.tools[name] = McpTool.of(
            name=name,
            server_tool_name=tool.name,
            description=description,
            input_schema_json=schema.json_text,
            effect=_effect_of(server, tool),
            requires_approval=server.requires_approval,
            timeout_seconds=server.timeout_seconds,
            created_at_ms=now_ms,
        )


def _description(accepted: AcceptedTools, server: McpServer, tool: OfferedTool) -> str:
    text = clean(tool.description)
    if not text:
        return f"The tool {_shown(tool.name)} of the MCP server {server.name}."
    data = text.encode()
    if len(data) > DESCRIPTION_BYTES_MAX:
        accepted.find(
            f'The description of "{_shown(tool.name)}" is cut off after {DESCRIPTION_BYTES_MAX} '
            "bytes."
        )
    return data[:DESCRIPTION_BYTES_MAX].decode(errors="ignore")


def _screen(accepted: AcceptedTools, tool: OfferedTool, description: str) -> None:
    texts = [description, *_descriptions_in(tool.input_schema)]
    verdict = ScreeningPolicy().screen("", {"texts": texts})
    rules = {finding.rule for finding in (*verdict.blocked, *verdict.reported)}
    if any(map(_ORDERS_TO_THE_MODEL.search, texts)):
        rules.add("orders_to_the_model")
    if any(map(_HIDDEN_LETTERS.search, (tool.description, *texts))):
        rules.add("hidden_letters")
    if rules:
        accepted.find(
            f'What is said about "{_shown(tool.name)}" looks suspicious: '
            f"{', '.join(sorted(rules))}."
        )


def _descriptions_in(schema: object) -> Iterator[str]:
    """Yields the descriptions in a schema, whose depth has been checked."""
    if isinstance(schema, Mapping):
        description = schema.get("description")
        if isinstance(description, str):
            yield description
        for part in schema.values():
            yield from _descriptions_in(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _descriptions_in(part)


def _effect_of(server: McpServer, tool: OfferedTool) -> Effect:
    if not server.trusts_hints:
        return server.effect
    if tool.read_only:
        return "read_only"
    if tool.idempotent:
        return "idempotent"
    return server.effect if tool.read_only is None else "unsafe"


def _fits(server: McpServer, tool_name: str) -> bool:
    return platform_name(server.name, tool_name).endswith(f"__{tool_name}")


def _shown(name: str) -> str:
    shown = "".join(character if character.isprintable() else "?" for character in name)
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + "…"
