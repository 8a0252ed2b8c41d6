"""The exception tree, the ErrorReason enum and the drawing of the tree say the same."""

from __future__ import annotations

import re
from collections import Counter

import grpc

from agent_executor import errors
from agent_executor.errors import AgentExecutorError

CODES = {code.name for code in grpc.StatusCode}


def error_classes(
    root: type[AgentExecutorError] = AgentExecutorError,
) -> list[type[AgentExecutorError]]:
    return [root, *(found for child in root.__subclasses__() for found in error_classes(child))]


def declared_classes() -> list[type[AgentExecutorError]]:
    """The classes of errors.py; a subclass elsewhere (a test's, say) is not of the tree."""
    return [found for found in error_classes() if found.__module__ == errors.__name__]


def test_each_class_has_a_reason_of_its_own() -> None:
    counts = Counter(found.reason for found in declared_classes())
    assert [reason for reason, count in counts.items() if count > 1] == []
    assert [found for found in declared_classes() if "reason" not in vars(found)] == []


def test_each_class_has_a_code_that_grpc_has() -> None:
    assert {found.code for found in declared_classes()} <= CODES - {"OK"}


def test_classes_and_enum_have_the_same_reasons_and_codes(reason_codes: dict[str, str]) -> None:
    assert {found.reason: found.code for found in declared_classes()} == reason_codes


def test_no_error_is_defined_outside_the_tree() -> None:
    strays = [found for found in error_classes() if not found.__module__.startswith("test")]
    assert [found for found in strays if found.__module__ != errors.__name__] == []


def test_the_drawing_shows_the_tree() -> None:
    rows = re.findall(
        r"^ {4}[│├└─ ]*(\w+) +([A-Z_]+) +([A-Z_]+)$", errors.__doc__ or "", re.MULTILINE
    )
    assert rows == [(found.__name__, found.code, found.reason) for found in declared_classes()]
