"""Sample arguments satisfy the schema that they are made from."""

from __future__ import annotations

import time
from typing import Any

import jsonschema_rs
import pytest

from agent_executor.executor.models.mock_samples import sample_arguments


def schema_of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


@pytest.mark.parametrize(
    ("part", "sample"),
    [
        ({"type": "string"}, "sample"),
        ({"type": "string", "minLength": 8}, "samplexx"),
        ({"type": "string", "maxLength": 3}, "sam"),
        ({"type": "string", "format": "email"}, "user@example.com"),
        ({"type": "string", "format": "date-time"}, "2026-01-15T12:00:00Z"),
        ({"type": "string", "enum": ["b", "a"]}, "b"),
        ({"type": "string", "default": "d", "enum": ["b", "d"]}, "d"),
        ({"const": 7}, 7),
        ({"type": "string", "examples": ["e"]}, "e"),
        ({"type": "integer"}, 1),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer", "multipleOf": 7, "minimum": 10}, 14),
        ({"type": "integer", "minimum": 0.5, "maximum": 3}, 1),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5}, 0.25),
        ({"type": "number", "minimum": 2.5}, 3.0),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "integer"]}, 1),
        ({"type": "array", "items": {"type": "integer", "minimum": 2}, "minItems": 2}, [2, 2]),
        ({"type": "array"}, ["sample"]),
        ({"type": "object"}, {}),
        (schema_of(inner={"type": "boolean"}), {"inner": True}),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, 1),
        ({"$ref": "#/$defs/city"}, "Paris"),
        ({}, "sample"),
        (True, "sample"),
    ],
)
def test_a_required_property(part: Any, sample: Any) -> None:
    schema = schema_of(value=part) | {"$defs": {"city": {"enum": ["Paris"]}}}
    arguments = sample_arguments(schema)
    assert arguments == {"value": sample}
    jsonschema_rs.validator_for(schema).validate(arguments)


def test_optional_properties_are_left_out() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert sample_arguments(schema) == {}


def test_a_property_named_url_is_an_address() -> None:
    assert sample_arguments(schema_of(image_url={"type": "string"})) == {
        "image_url": "https://example.com/"
    }


def test_the_required_properties_of_messages_are_receivers() -> None:
    schema = schema_of(to={"type": "string"}, channel={"type": "string"})
    assert sample_arguments(schema) == {"to": "user@example.com", "channel": "#general"}


def test_an_example_of_all_arguments_is_taken_as_it_is() -> None:
    schema = schema_of(city={"type": "string"}) | {"examples": [{"city": "Oslo", "days": 3}]}
    assert sample_arguments(schema) == {"city": "Oslo", "days": 3}


def test_a_schema_that_contains_itself_comes_to_an_end() -> None:
    names = [f"child_{number}" for number in range(50)]
    schema = schema_of(**{name: {"$ref": "#"} for name in names})
    start = time.process_time()
    assert set(sample_arguments(schema)) == set(names)
    assert sample_arguments(schema_of(a={"$ref": "#/properties/a"})) == {"a": "sample"}
    assert time.process_time() - start < 1.0


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "string"},
        {"type": 7, "required": 5, "properties": []},
        {"type": "object", "required": [1, "a"], "properties": {"a": 5}},
        {"required": ["a"], "properties": {"a": {"type": "array", "minItems": -1, "items": []}}},
        {"required": ["a"], "properties": {"a": {"type": "string", "minLength": "x"}}},
        {"required": ["a"], "properties": {"a": {"type": "number", "minimum": "x"}}},
        {"required": ["a"], "properties": {"a": {"type": "integer", "multipleOf": 0}}},
        schema_of(a={"type": "integer", "minimum": 10**400, "maximum": float("inf")}),
        schema_of(a={"type": "integer", "minimum": 10**14, "multipleOf": 1e-320}),
        schema_of(a={"type": "integer", "minimum": 0.4, "maximum": 0.6}),
        {"required": ["a"], "properties": {"a": {"enum": [], "anyOf": {}, "$ref": "http://x/y"}}},
    ],
)
def test_a_broken_schema_gives_some_object(schema: dict[str, Any]) -> None:
    assert isinstance(sample_arguments(schema), dict)
