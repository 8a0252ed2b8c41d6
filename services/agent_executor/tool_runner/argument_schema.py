"""JSON Schemas of arguments, compiled once, which can neither fetch anything nor run for long."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

import jsonschema_rs

from agent_executor.errors import InvalidArgumentError, LimitExceededError

SCHEMA_BYTES_MAX: Final = 65_536
SCHEMA_DEPTH_MAX: Final = 32
VIOLATIONS_MAX: Final = 5
MESSAGE_CHARACTERS_MAX: Final = 200
# Steps back that a pattern may take on one text; one that needs more does not match.
_BACKTRACK_MAX: Final = 100_000
_TRUNCATED: Final = "…"


class ArgumentSchema:
    """A JSON Schema (draft 2020-12) of an object, ready to check arguments.

    Attributes:
        json_text: The schema as compact JSON text.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Compiles a schema.

        Raises:
            InvalidArgumentError: It is no schema of an object, or refers to another document.
            LimitExceededError: It is larger than 64 KiB or nested more than 32 levels deep.
        """
        try:
            self.json_text: Final = json.dumps(
                schema, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=dict
            )
            size_bytes = len(self.json_text.encode())
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidArgumentError(f"The input schema is not JSON: {error}.") from None
        if size_bytes > SCHEMA_BYTES_MAX:
            raise LimitExceededError(
                f"The input schema is {size_bytes} bytes; at most {SCHEMA_BYTES_MAX} are allowed."
            )
        copy = json.loads(self.json_text)
        _check_depth(copy)
        if not isinstance(copy, dict) or copy.get("type") != "object":
            raise InvalidArgumentError('The input schema must have the type "object".')
        try:
            self._validator: Final = jsonschema_rs.Draft202012Validator(
                copy,
                retriever=_refuse,
                pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACK_MAX),
            )
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            message = _shortened(getattr(error, "message", str(error)))
            raise InvalidArgumentError(f"The input schema is not valid: {message}") from None

    def check(self, arguments: dict[str, Any]) -> None:
        """Passes if the arguments are as the schema says; they must be capped in size and depth.

        Raises:
            InvalidArgumentError: They are not; ``field_violations`` names the first five faults.
        """
        if self._validator.is_valid(arguments):
            return
        violations = tuple(
            (_path_of(error.instance_path), _shortened(error.message))
            for error in islice(self._validator.iter_errors(arguments), VIOLATIONS_MAX)
        )
        path, message = violations[0]
        raise InvalidArgumentError(f"{path}: {message}.", field_violations=violations)


def _refuse(uri: str) -> Any:
    raise ValueError(f"a schema may not refer to another document: {uri}")


def _path_of(path: list[str | int]) -> str:
    return _shortened(".".join(("arguments", *map(str, path))))


def _shortened(text: str) -> str:
    line = text.partition("\n")[0]
    if len(line) <= MESSAGE_CHARACTERS_MAX:
        return line
    return line[:MESSAGE_CHARACTERS_MAX] + _TRUNCATED


def _check_depth(schema: object) -> None:
    waiting = [(schema, 1)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, dict | list):
            if depth > SCHEMA_DEPTH_MAX:
                raise LimitExceededError(
                    f"The input schema is nested more than {SCHEMA_DEPTH_MAX} levels deep."
                )
            items = value.values() if isinstance(value, dict) else value
            waiting.extend((item, depth + 1) for item in items)
