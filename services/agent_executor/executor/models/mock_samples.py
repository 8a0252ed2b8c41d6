"""Sample arguments for a tool, made from its JSON Schema."""

from __future__ import annotations

from typing import Any

_DEPTH_MAX = 8
_PARTS_MAX = 500
_ITEMS_MAX = 16
_TEXT_CHARACTERS_MAX = 1_000
_TEXT = "sample"
_NUMBER_MAX = 10**15  # What lies beyond is no bound of a sample.

_TEXT_BY_FORMAT = {
    "date": "2026-01-15",
    "date-time": "2026-01-15T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "user@example.com",
    "hostname": "example.com",
    "idn-email": "user@example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
# What a property without a format most likely holds, by a part of its name.
_TEXT_BY_NAME = {"url": "https://example.com/", "email": "user@example.com", "channel": "#general"}


def sample_arguments(schema: dict[str, Any]) -> dict[str, Any]:
    """Arguments that the schema most likely accepts: its required properties and no others.

    Takes a schema's own word first (const, example, default, enum), then its type and bounds.
    It knows no patterns and combines no alternatives; a schema that needs them gets a guess.
    """
    sample = _Sampler(schema).sample(schema, "", 0)
    return sample if isinstance(sample, dict) else {}


class _Sampler:
    """Samples the parts of one schema, at most ``_PARTS_MAX`` of them."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._parts = 0

    def sample(self, schema: Any, name: str, depth: int) -> Any:
        self._parts += 1
        # A schema may refer to itself, so both the depth and the whole are bounded.
        if not isinstance(schema, dict) or depth > _DEPTH_MAX or self._parts > _PARTS_MAX:
            return _TEXT
        schema = self._resolve(schema)
        for keyword in ("const", "default"):
            if keyword in schema:
                return schema[keyword]
        for keyword in ("examples", "enum"):
            if option := _first(schema.get(keyword)):
                return option[0]
        for keyword in ("anyOf", "oneOf", "allOf"):
            if "properties" not in schema and (option := _first(schema.get(keyword))):
                return self.sample(option[0], name, depth + 1)
        return self._sample_type(schema, name, depth)

    def _sample_type(self, schema: dict[str, Any], name: str, depth: int) -> Any:
        match _type(schema):
            case "object":
                return self._sample_object(schema, depth)
            case "array":
                count = min(_bound(schema, "minItems", 1), _ITEMS_MAX)
                return [self.sample(schema.get("items", {}), name, depth + 1)] * count
            case "integer":
                return _sample_number(schema, is_integer=True)
            case "number":
                return _sample_number(schema, is_integer=False)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return _sample_text(schema, name)

    def _sample_object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        required = schema.get("required")
        known = properties if isinstance(properties, dict) else {}
        return {
            name: self.sample(known.get(name, {}), name, depth + 1)
            for name in (required if isinstance(required, list) else ())
            if isinstance(name, str)
        }

    def _resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Follows references into the schema itself; any other is as good as no schema."""
        for _ in range(_DEPTH_MAX):
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                return schema
            target: Any = self._root
            for part in filter(None, reference.removeprefix("#").split("/")):
                target = target.get(part) if isinstance(target, dict) else None
            schema = target if isinstance(target, dict) else {}
        return {}


def _first(options: Any) -> list[Any]:
    return options[:1] if isinstance(options, list) else []


def _type(schema: dict[str, Any]) -> str:
    declared = schema.get("type")
    if isinstance(declared, list):
        declared = next((kind for kind in declared if kind != "null"), "null")
    if isinstance(declared, str):
        return declared
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else "string"


def _sample_number(schema: dict[str, Any], *, is_integer: bool) -> int | float:
    """One if it fits, else the number within the bounds that is the easiest to find."""
    step = _number(schema, "multipleOf") or 1
    low = _number(schema, "minimum")
    above = _number(schema, "exclusiveMinimum")
    high = _number(schema, "maximum")
    below = _number(schema, "exclusiveMaximum")
    bounds = [bound for bound in (low, above, high, below) if bound is not None]
    candidates: list[int | float] = [1, step, 0]
    candidates += [(bound // step + shift) * step for bound in bounds for shift in (0, 1, -1)]
    candidates.append(sum(bounds) / max(len(bounds), 1))
    for candidate in candidates:
        if (
            (low is None or candidate >= low)
            and (above is None or candidate > above)
            and (high is None or candidate <= high)
            and (below is None or candidate < below)
            and (not is_integer or candidate % 1 == 0)
            and ("multipleOf" not in schema or candidate % step == 0)
        ):
            return int(candidate) if is_integer else candidate
    return 1


def _sample_text(schema: dict[str, Any], name: str) -> str:
    text = _TEXT_BY_FORMAT.get(str(schema.get("format")))
    if text is None:
        name = "email" if name == "to" else name.lower()
        by_name = (text for part, text in _TEXT_BY_NAME.items() if part in name)
        text = next(by_name, _TEXT)
    length_min = min(_bound(schema, "minLength", 0), _TEXT_CHARACTERS_MAX)
    return text.ljust(length_min, "x")[: _bound(schema, "maxLength", _TEXT_CHARACTERS_MAX)]


def _bound(schema: dict[str, Any], keyword: str, default: int) -> int:
    value = schema.get(keyword)
    return value if isinstance(value, int) and value >= 0 else default


def _number(schema: dict[str, Any], keyword: str) -> int | float | None:
    value = schema.get(keyword)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= _NUMBER_MAX else None
