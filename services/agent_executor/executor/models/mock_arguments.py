"""Reads the arguments that a text gives a tool by name: "with city Paris and days 3"."""

from __future__ import annotations

import re
from typing import Any

import msgspec

PROPERTIES_MAX = 32
_REGION_CHARACTERS = 1_000
_INTRODUCTION = re.compile(r"[ ]{0,3}(?:tool\b)?[ ]{0,3}(?:with|using|where|:)[ ]", re.IGNORECASE)
_QUOTED = re.compile(r"\"([^\"\n]{0,1000}+)\"|“([^”\n]{0,1000}+)”")
_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def read_arguments(
    text: str, start: int, schema: dict[str, Any]
) -> tuple[dict[str, Any], int] | None:
    """The arguments named on the rest of the line, and where they end; None if there are none.

    A value is quoted, or goes on to a comma, an "and", the next name or the end. What does not
    have its property's type is left out.

    Args:
        text: What a person wrote.
        start: Where the tool's name ends.
        schema: The tool's JSON Schema, whose properties are the names.
    """
    properties = schema.get("properties")
    introduction = _INTRODUCTION.match(text, start)
    if introduction is None or not isinstance(properties, dict):
        return None
    names = {_spaced(name): name for name in list(properties)[:PROPERTIES_MAX] if _spaced(name)}
    if not names:
        return None
    line_end = text.find("\n", introduction.end())
    end = min(line_end if line_end >= 0 else len(text), introduction.end() + _REGION_CHARACTERS)
    name = "|".join(re.escape(spaced).replace("\\ ", "[ _]") for spaced in names)
    pattern = re.compile(rf"(?<!\w)({name})(?:[ ]is\b)?[ ]{{0,3}}[=: ][ ]{{0,3}}", re.IGNORECASE)
    stop = re.compile(rf"[,;]|[ ](?:and|with)[ ]|[ ](?:{name})[ =:]|[.!?](?=[ ]|$)", re.IGNORECASE)
    arguments: dict[str, Any] = {}
    position = introduction.end()
    while (found := pattern.search(text, position, end)) is not None:
        quoted = _QUOTED.match(text, found.end(), end)
        if quoted is not None:
            value, position = quoted[1] or quoted[2] or "", quoted.end()
        else:
            stopped = stop.search(text, found.end(), end)
            position = stopped.start() if stopped else end
            value = text[found.end() : position].strip()
        key = names[found[1].lower().replace("_", " ")]
        _set(arguments, key, value, properties[key])
    return (arguments, position) if arguments else None


def _spaced(name: object) -> str:
    return name.lower().replace("_", " ").strip() if isinstance(name, str) else ""


def _set(arguments: dict[str, Any], name: str, value: str, schema: Any) -> None:
    declared = schema.get("type") if isinstance(schema, dict) else None
    if not isinstance(declared, str) or declared == "string":
        arguments[name] = value
        return
    try:
        decoded = msgspec.json.decode(value)
    except ValueError:
        return
    # The exact type, since Python's booleans are integers.
    if type(decoded) in _JSON_TYPES.get(declared, ()):
        arguments[name] = decoded
