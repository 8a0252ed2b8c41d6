"""JSON Schemas of arguments, compiled once, which can neither fetch anything nor run for long."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

import jsonschema_rs

from agent_executor.errors import InvalidArgumentError, LimitExceededError
from agent_executor.json_schema.schema_cost import SchemaCost, cost_of

SCHEMA_BYTES_MAX: Final = 65_536
SCHEMA_DEPTH_MAX: Final = 32
VIOLATIONS_MAX: Final = 5
MESSAGE_CHARACTERS_MAX: Final = 200
# Of a compiled pattern, in bytes. The slowest that fits takes some microseconds for a character.
PATTERN_BYTES_MAX: Final = 131_072
# The caps on one check, which nothing can interrupt: what reaches them takes about a second.
CHECK_STEPS_MAX: Final = 10_000_000
PATTERN_CHARACTERS_MAX: Final = 262_144
# The checker holds all faults at once, each with the value at fault in its text, so that those of
# a large value would take minutes and gigabytes.
_FAULT_STEPS_MAX: Final = 20_000
_FAULT_CHARACTERS_MAX: Final = 5_000_000
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
            InvalidArgumentError: It is no schema of an object, refers to another document, has a
                pattern that is too large, or refers to itself in a way that multiplies.
            LimitExceededError: It is larger than 64 KiB or nested more than 32 levels deep, or
                comes to more than 10,000 steps: see ``schema_cost``.
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
        # Before it is compiled, which goes after references, too.
        self._cost: Final[SchemaCost] = cost_of(copy)
        try:
            self._validator: Final = jsonschema_rs.Draft202012Validator(
                copy,
                retriever=_refuse,
                pattern_options=jsonschema_rs.FancyRegexOptions(
                    backtrack_limit=_BACKTRACK_MAX, size_limit=PATTERN_BYTES_MAX
                ),
            )
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            message = _shortened(getattr(error, "message", str(error)))
            raise InvalidArgumentError(f"The input schema is not valid: {message}") from None

    def describes(self, arguments: dict[str, Any]) -> bool:
        """Tells whether the arguments are as the schema says.

        Raises:
            LimitExceededError: To check so much against this schema would take too long.
            ValueError: They are nested too deep to be checked.
        """
        self._require_quick(_size_of(arguments))
        return bool(self._validator.is_valid(arguments))

    def check(self, arguments: dict[str, Any], *, size_bytes: int | None = None) -> None:
        """Passes if the arguments are as the schema says; they must be capped in size and depth.

        Args:
            arguments: What to check.
            size_bytes: Of their JSON text, if it is known, which saves looking for their size.

        Raises:
            InvalidArgumentError: They are not; ``field_violations`` names the first five faults,
                or the first one of large arguments, or none.
            LimitExceededError: To check so much against this schema would take too long.
        """
        size = None if size_bytes is None else _Size(size_bytes // 2 + 1, size_bytes)
        if size is None or not self._is_quick(size):
            self._require_quick(_size_of(arguments))
        if not self._validator.is_valid(arguments):
            raise self._refusal(arguments)

    def _require_quick(self, size: _Size) -> None:
        if not self._is_quick(size):
            raise LimitExceededError(
                "The arguments are too large to be checked against the tool's input schema."
            )

    def _is_quick(self, size: _Size) -> bool:
        return (
            self._cost.steps * size.values <= CHECK_STEPS_MAX
            and self._cost.patterns * size.characters <= PATTERN_CHARACTERS_MAX
        )

    def _refusal(self, arguments: dict[str, Any]) -> InvalidArgumentError:
        violations = tuple(
            (_path_of(error.instance_path), _shortened(error.message))
            for error in self._faults(arguments)
        )
        if not violations:
            return InvalidArgumentError(
                "The arguments do not fit the tool's input schema; they are too large to be told "
                "where."
            )
        path, message = violations[0]
        return InvalidArgumentError(f"{path}: {message}.", field_violations=violations)

    def _faults(self, arguments: dict[str, Any]) -> list[jsonschema_rs.ValidationError]:
        size, steps = _size_of(arguments), self._cost.steps
        is_small = (
            steps * size.values <= _FAULT_STEPS_MAX
            and steps * size.characters <= _FAULT_CHARACTERS_MAX
        )
        if is_small:
            return list(islice(self._validator.iter_errors(arguments), VIOLATIONS_MAX))
        if self._cost.has_alternatives:
            return []
        try:
            self._validator.validate(arguments)
        except jsonschema_rs.ValidationError as error:
            return [error]
        return []


class _Size(NamedTuple):
    """How large arguments are, at most: their values, keys included, and the characters of texts."""

    values: int
    characters: int


def _size_of(arguments: dict[str, Any]) -> _Size:
    values, characters = 0, 0
    waiting: list[object] = [arguments]
    while waiting:
        value = waiting.pop()
        values += 1
        if isinstance(value, str):
            characters += len(value)
        elif isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
    return _Size(values, characters)


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
