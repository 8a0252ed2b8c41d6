"""Holds requests against the rules of their contract."""

from __future__ import annotations

from typing import Any

import protovalidate
from google.protobuf.message import Message

from agent_executor.errors import InvalidArgumentError

MAX_VIOLATIONS_IN_MESSAGE = 3


class RequestValidator:
    """Checks requests by the protovalidate rules of their messages, compiled at first use."""

    def __init__(self) -> None:
        self._validator = protovalidate.Validator()

    def check(self, request: Message) -> None:
        """Passes if the request keeps every rule.

        Raises:
            InvalidArgumentError: It does not; ``field_violations`` names every field concerned.
        """
        violations = self._validator.collect_violations(request)
        if not violations:
            return
        protos = [violation.proto for violation in violations]
        fields = tuple((_path(proto.field), proto.message) for proto in protos)
        raise InvalidArgumentError(_sentence(fields), field_violations=fields)


def _sentence(fields: tuple[tuple[str, str], ...]) -> str:
    shown = [
        f"{path}: {text}" if path else text for path, text in fields[:MAX_VIOLATIONS_IN_MESSAGE]
    ]
    if len(fields) > len(shown):
        shown.append(f"and {len(fields) - len(shown)} more")
    return f"The request is invalid: {'; '.join(shown)}."


def _path(field: Any) -> str:
    """Writes a field path in the contract's names, for example ``frames[0].limits["x"]``."""
    path = ""
    for element in field.elements if field is not None else ():
        path += f".{element.field_name}" if path else element.field_name
        subscript = element.subscript
        if subscript is not None:
            quoted = f'"{subscript.value}"' if subscript.field == "string_key" else subscript.value
            path += f"[{quoted}]"
    return path
