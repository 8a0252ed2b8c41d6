"""What a JSON Schema can cost whoever checks against it, known before anything is checked.

A schema of a few lines can make a check take years: definitions that refer to each other twice
double the work at each step. Checks cannot be interrupted, so such schemas are not let in, and
what is left takes time in proportion to ``steps`` and to the size of what is checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from agent_executor.errors import InvalidArgumentError, LimitExceededError

STEPS_MAX: Final = 10_000

_ROOT: Final = "#"
# A name for a part of a schema changes what the references in it lead to.
_REFUSED: Final = frozenset({"$dynamicRef", "$recursiveRef", "$id"})
_DEFINITIONS: Final = frozenset({"$defs", "definitions"})
# They say nothing about what fits.
_ANNOTATIONS: Final = frozenset({"title", "description", "default", "examples", "$comment"})
# Each part of the value meets one of these at most.
_DISJOINT: Final = frozenset({"properties", "prefixItems"})
# Schemas by names that are no keywords.
_NAMED: Final = frozenset({"patternProperties", "dependentSchemas", "dependencies"})
_ALTERNATIVES: Final = frozenset({"anyOf", "oneOf"})
# To know what is left over, a check goes through all that stands beside them again.
_LEFT_OVER: Final = frozenset({"unevaluatedProperties", "unevaluatedItems"})
_PASSES: Final = 3
_REFERENCE_CHARACTERS_SHOWN: Final = 100
# A list or an object among the values of ``enum`` is compared with each value, part by part.
_COMPARISON_STEPS: Final = 20
# How often a part of the value is looked at by the definitions that are under way.
_Visits = Counter[str]


@dataclass(slots=True)
class SchemaCost:
    """The cost of a schema.

    Attributes:
        steps: How many parts it has, each counted as often as it is referred to.
        patterns: How many of them are regular expressions.
        has_alternatives: Whether it has several ways to fit, so that a fault has several causes.
    """

    steps: int = 0
    patterns: int = 0
    has_alternatives: bool = False


def cost_of(schema: dict[str, Any]) -> SchemaCost:
    """Returns the cost of a schema whose own size and depth are capped.

    Raises:
        LimitExceededError: It comes to more than 10,000 steps.
        InvalidArgumentError: It refers to itself in a way that multiplies, to a place that is not
            in it, or by the name of an anchor.
    """
    count = _Count(schema)
    try:
        count.of_reference(_ROOT)
    except RecursionError:
        raise LimitExceededError("The input schema has too long a chain of references.") from None
    return count.cost


class _Count:
    """Walks through a schema as a check does, on every way that there is."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.cost = SchemaCost()
        self._root = root
        self._under_way: set[str] = set()

    def of_reference(self, reference: str) -> _Visits:
        """Walks through what is referred to; says which definitions under way it leads back to."""
        if reference in self._under_way:
            return Counter((reference,))
        target = _found(self._root, reference)
        self._under_way.add(reference)
        visits = self._of_value(target)
        self._under_way.discard(reference)
        if reference in visits and visits.total() > 1:
            raise InvalidArgumentError(
                f"The input schema refers to {_shown(reference)} from within it in several ways, "
                "so that a check could take for ever."
            )
        del visits[reference]
        return visits

    def _of_value(self, value: object) -> _Visits:
        self._step()
        if isinstance(value, dict):
            return self._of_schema(value)
        if isinstance(value, list):
            return sum(map(self._of_value, value), Counter())
        return Counter()

    def _of_schema(self, schema: dict[str, Any]) -> _Visits:
        visits: _Visits = Counter()
        passes = 1 if _LEFT_OVER.isdisjoint(schema) else _PASSES
        for keyword, value in schema.items():
            if keyword in _REFUSED and schema is not self._root:
                raise InvalidArgumentError(
                    f"The input schema cannot use {keyword} in a part of it."
                )
            if keyword in _DISJOINT and isinstance(value, dict | list):
                visits += self._of_disjoint(value)
            elif keyword not in _ANNOTATIONS and keyword not in _DEFINITIONS:
                for _ in range(passes):
                    visits += self._of_keyword(keyword, value)
        return visits

    def _of_keyword(self, keyword: str, value: object) -> _Visits:
        self._note(keyword, value)
        if keyword == "$ref" and isinstance(value, str):
            self._step()
            return self.of_reference(value)
        if keyword in {"enum", "const"}:
            self._step(_comparison_steps(value))
            return Counter()
        if keyword in _NAMED and isinstance(value, dict):
            value = list(value.values())
        return self._of_value(value)

    def _of_disjoint(self, parts: dict[str, Any] | list[Any]) -> _Visits:
        self._step()
        values: Iterable[object] = parts.values() if isinstance(parts, dict) else parts
        return max(map(self._of_value, values), key=Counter.total, default=Counter())

    def _note(self, keyword: str, value: object) -> None:
        if keyword in _ALTERNATIVES:
            self.cost.has_alternatives = True
        elif keyword == "pattern":
            self.cost.patterns += 1
        elif keyword == "patternProperties" and isinstance(value, dict):
            self.cost.patterns += len(value)

    def _step(self, steps: int = 1) -> None:
        self.cost.steps += steps
        if self.cost.steps > STEPS_MAX:
            raise LimitExceededError(
                f"The input schema comes to more than {STEPS_MAX} steps of a check, with each "
                "definition counted as often as it is referred to.",
                metadata={"stepsMax": str(STEPS_MAX)},
            )


def _comparison_steps(value: object) -> int:
    """Returns the steps of comparing with what ``const`` or ``enum`` holds; texts are looked up."""
    steps = 1
    waiting = list(value) if isinstance(value, list) else [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict | list):
            steps += _COMPARISON_STEPS * (1 + len(part))
            waiting.extend(part.values() if isinstance(part, dict) else part)
    return steps


def _found(root: dict[str, Any], reference: str) -> object:
    """Returns what a reference within the schema names, as ``#/$defs/address`` does."""
    if reference == _ROOT:
        return root
    place: object = root if reference.startswith("#/") else None
    for part in reference.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(place, dict) and name in place:
            place = place[name]
        elif isinstance(place, list) and name.isascii() and name.isdecimal():
            index = int(name[:9])
            place = place[index] if index < len(place) else None
        else:
            place = None
    if not isinstance(place, dict | bool):
        raise InvalidArgumentError(
            f"The input schema refers to {_shown(reference)}; a reference is to a place in it, "
            "like #/$defs/address."
        )
    return place


def _shown(reference: str) -> str:
    cut = "…" if len(reference) > _REFERENCE_CHARACTERS_SHOWN else ""
    return f'"{reference[:_REFERENCE_CHARACTERS_SHOWN]}{cut}"'
