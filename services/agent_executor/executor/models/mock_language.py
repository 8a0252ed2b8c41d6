"""How mock Claude understands a text: as the goals that it sets.

Reads no more than ``ATTENTION_CHARACTERS`` of a text, from its beginning and its end, and uses
no pattern that goes back over more than a few characters, so the time is bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from agent_executor.executor.models.mock_arguments import read_arguments
from agent_executor.executor.models.mock_arithmetic import TooComplexError, find_expressions
from agent_executor.executor.models.mock_expression import Operation
from agent_executor.executor.models.mock_goals import (
    CALCULATOR,
    EMAIL,
    HTTP_REQUEST,
    SLACK,
    Calculation,
    Found,
    Goal,
    HeadCalculation,
    Remark,
    ToolUse,
)
from agent_executor.executor.models.mock_messages import find_messages
from agent_executor.executor.models.mock_samples import sample_arguments
from agent_executor.executor.models.model import ToolSpecification

ATTENTION_CHARACTERS = 8_192
_TAIL_CHARACTERS = 2_048
CALLS_MAX = 64
_JSON_ATTEMPTS_MAX = 8

_URL = re.compile(r"https?://[^\s<>\"'`\\^{}|]++", re.IGNORECASE)
_METHOD = re.compile(
    r"\b(?:GET|POST|PUT|DELETE|PATCH|HEAD|OPTIONS|get|post|put|delete|patch|Get|Post|Put|Delete)\b"
)
_METHOD_CHARACTERS = 100  # How far before its address a method may stand.
_REQUEST_FIELD = re.compile(
    r"\b(json|headers?|params|data|body)\b[ ]{0,3}[:=]?[ ]{0,3}(?=[{\[\"])", re.IGNORECASE
)
_VERB = r"\b(test|try|use|call|run|invoke|execute)\b"
_TOOL_VERB = re.compile(_VERB, re.IGNORECASE)
_NAMED_TOOL = re.compile(
    _VERB + r"\s{1,3}(?:(?:the|your|my)\s{1,3})?([\w-]{1,64}+)\s{1,3}tool\b", re.IGNORECASE
)
_ALL_TOOLS = re.compile(
    r"\b(?:all|every|each|your|the)\s{1,3}(?:(?:of|the|your)\s{1,3}){0,2}tools?\b"
)
_ARGUMENTS_CHARACTERS = 40  # How far after a tool's name its arguments may begin.


def attend(text: str) -> str:
    """The part of a text that is read: all of it, or its beginning and its end."""
    if len(text) > ATTENTION_CHARACTERS:
        head = text[: ATTENTION_CHARACTERS - _TAIL_CHARACTERS]
        text = f"{head}\n{text[-_TAIL_CHARACTERS:]}"
    # Half a surrogate pair cannot be written to JSON, so it must not be echoed.
    return text if text.isascii() else text.encode(errors="replace").decode()


def understand(
    text: str, tools: Sequence[ToolSpecification], previous: Decimal | None = None
) -> list[Goal]:
    """The goals that a text sets, at most ``CALLS_MAX``; none if it needs no tool.

    Args:
        text: The task, as ``attend`` gives it.
        tools: The tools on offer.
        previous: The last number that was answered before, for "multiply that by 2".
    """
    names = {tool.name for tool in tools}
    requests = list(_find_requests(text, names)) if "://" in text else []
    rest = _without(text, requests)
    messages = list(find_messages(rest, names))
    rest = _without(rest, messages)
    uses = list(_find_tool_uses(rest, tools)) if _TOOL_VERB.search(rest) else []
    rest = _without(rest, uses)
    calculations = _find_calculations(rest, CALCULATOR in names, previous)
    # "Use the calculator for 2 + 2" names the tool that the calculation uses anyway.
    implied = {CALCULATOR if calculations else None, HTTP_REQUEST if requests else None}
    implied |= {EMAIL, SLACK} if messages else set()
    goals = [found.goal for found in (*requests, *messages)]
    goals += calculations
    goals += [
        found.goal
        for found in uses
        if not (found.start == found.end and _tool_of(found.goal) in implied)
    ]
    if not goals and (unknown := _NAMED_TOOL.search(text)) is not None:
        goals.append(Remark(_no_such_tool(unknown[2], names)))
    return goals[:CALLS_MAX]


def _tool_of(goal: Goal) -> str:
    return goal.tool_name if isinstance(goal, ToolUse) else CALCULATOR


def _without(text: str, found: Sequence[Found]) -> str:
    """The text with the found parts blanked, so that nobody reads sums in a request's body."""
    for part in found:
        text = text[: part.start] + " " * (part.end - part.start) + text[part.end :]
    return text


def _no_such_tool(name: str, names: set[str]) -> str:
    if not names:
        return f"I have no tool named {name}, and no other tool either."
    return f"I have no tool named {name}. My tools: {', '.join(sorted(names))}."


def _find_calculations(text: str, has_calculator: bool, previous: Decimal | None) -> list[Goal]:
    try:
        expressions = find_expressions(text, previous)
    except TooComplexError:
        return [Remark("That calculation is too long or too deeply nested for me.")]
    if has_calculator:
        return [Calculation(expression) for expression in expressions]
    is_only = len(expressions) == 1
    return [HeadCalculation(expression, is_only) for expression in expressions]


def _find_requests(text: str, names: set[str]) -> Iterator[Found]:
    addresses = list(_URL.finditer(text))[:CALLS_MAX]
    starts = [*(address.start() for address in addresses), len(text)]
    start = 0
    for address, until in zip(addresses, starts[1:], strict=True):
        url = address[0].rstrip(".,;:!?)]")
        methods = _METHOD.findall(
            text, max(start, address.start() - _METHOD_CHARACTERS), address.start()
        )
        arguments: dict[str, Any] = {"method": methods[-1].upper() if methods else "GET"}
        arguments["url"] = url
        fields, start = _read_fields(text, address.end(), until)
        if HTTP_REQUEST in names:
            goal: Goal = ToolUse(HTTP_REQUEST, arguments | fields)
        else:
            goal = Remark(f"I have no tool for HTTP requests, so I cannot reach {url}")
        yield Found(goal, address.start(), start)


def _read_fields(text: str, start: int, until: int) -> tuple[dict[str, Any], int]:
    """The headers, parameters and body that follow an address, and where they end."""
    fields: dict[str, Any] = {}
    end = start
    for _ in range(_JSON_ATTEMPTS_MAX):
        keyword = _REQUEST_FIELD.search(text, start, until)
        if keyword is None:
            break
        start = keyword.end()
        read = _read_json(text, start)
        if read is None:
            continue
        value, start = read
        end = start
        name = keyword[1].lower()
        if name == "body":
            name = "data" if isinstance(value, str) else "json"
        fields["headers" if name == "header" else name] = value
    return fields, end


def _read_json(text: str, start: int) -> tuple[Any, int] | None:
    """The JSON value that begins at ``start`` and where it ends, or None if there is none."""
    try:
        _, end = json.JSONDecoder().raw_decode(text, start)
        # The second reader is the strict one: no NaN, no infinity, no half surrogate pair.
        return msgspec.json.decode(text[start:end]), end
    except (ValueError, RecursionError):
        return None


def _find_tool_uses(text: str, tools: Sequence[ToolSpecification]) -> Iterator[Found]:
    """The tools that a text with a verb such as "test" or "use" names, with their arguments."""
    lowered = text.lower()
    spaced = lowered.replace("_", " ")
    verb = _TOOL_VERB.search(lowered)
    is_test = verb is not None and verb[1] == "test"
    mentions = [(_mention(tool.name.lower(), lowered, spaced), tool) for tool in tools]
    named = [(position, tool) for position, tool in mentions if position >= 0]
    if not named and is_test and _ALL_TOOLS.search(lowered):
        named = [(0, tool) for tool in tools]
    for position, tool in sorted(named, key=lambda pair: pair[0]):
        after = position + len(tool.name)
        brace = text.find("{", after, after + _ARGUMENTS_CHARACTERS)
        read = _read_json(text, brace) if brace >= 0 else None
        if read is not None and isinstance(read[0], dict):
            yield Found(ToolUse(tool.name, read[0], is_test), brace, read[1])
            continue
        named_arguments = None
        if tool.name != CALCULATOR:
            named_arguments = read_arguments(text, after, tool.input_schema)
        if named_arguments is not None:
            arguments, end = named_arguments
            sample = sample_arguments(tool.input_schema)
            yield Found(ToolUse(tool.name, sample | arguments, is_test), after, end)
        else:
            yield Found(_sample_use(tool, is_test), 0, 0)


def _mention(name: str, lowered: str, spaced: str) -> int:
    """Where the tool's name stands as a word or as words, or -1."""
    for text, wanted in ((lowered, name), (spaced, name.replace("_", " "))):
        position = text.find(wanted)
        end = position + len(wanted)
        around = text[max(position - 1, 0) : position] + text[end : end + 1]
        if position >= 0 and not any(character.isalnum() for character in around):
            return position
    return -1


def _sample_use(tool: ToolSpecification, is_test: bool) -> Goal:
    properties = tool.input_schema.get("properties")
    if tool.name == CALCULATOR and isinstance(properties, dict) and "operation" in properties:
        return Calculation(Operation("add", Decimal(15), Decimal(27)), is_test)
    return ToolUse(tool.name, sample_arguments(tool.input_schema), is_test)
