from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent_executor.errors import InvalidArgumentError, LimitExceededError
from agent_executor.json_schema.argument_schema import VIOLATIONS_MAX, ArgumentSchema

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 5}, "days": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}


def test_arguments_that_fit_pass() -> None:
    schema = ArgumentSchema(SCHEMA)
    schema.check({"city": "Rome", "days": 3})
    ArgumentSchema({"type": "object"}).check({"x": [Decimal("1.5"), None]})


def test_arguments_that_do_not_fit_are_named() -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        ArgumentSchema(SCHEMA).check({"city": "Constantinople", "days": "many"})
    violations = dict(refused.value.field_violations)
    assert "longer than 5" in violations["arguments.city"]
    assert "integer" in violations["arguments.days"]
    assert refused.value.message.startswith("arguments.")


def test_faults_and_their_texts_are_bounded() -> None:
    schema = ArgumentSchema({"type": "object", "additionalProperties": {"type": "integer"}})
    started = time.process_time()
    with pytest.raises(InvalidArgumentError) as refused:
        schema.check({f"key{number}": "x" * 1_000 for number in range(1_000)})
    assert time.process_time() - started < 1
    assert len(refused.value.field_violations) == VIOLATIONS_MAX
    assert all(len(text) < 300 for pair in refused.value.field_violations for text in pair)


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """Yields the address of a server that has a schema, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"type": "string"}')

        def log_message(self, *args: object) -> None:
            del args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_other_documents_are_not_fetched(server: tuple[str, list[str]], tmp_path: Path) -> None:
    address, asked = server
    file = tmp_path / "schema.json"
    file.write_text('{"type": "string"}')
    for reference in (f"{address}/schema.json", file.as_uri(), "elsewhere.json"):
        for schema in (
            {"type": "object", "properties": {"a": {"$ref": reference}}},
            {"type": "object", "$id": reference, "properties": {"a": {"$ref": "other.json"}}},
        ):
            with pytest.raises(InvalidArgumentError, match="refers to"):
                ArgumentSchema(schema)
        # What a schema calls its language is not looked at.
        ArgumentSchema({"type": "object", "$schema": reference})
    assert asked == []


def test_references_within_the_schema_work() -> None:
    schema = ArgumentSchema(
        {
            "type": "object",
            "$defs": {"node": {"type": "object", "properties": {"n": {"$ref": "#/$defs/node"}}}},
            "properties": {"n": {"$ref": "#/$defs/node"}},
        }
    )
    schema.check({"n": {"n": {"n": {}}}})
    with pytest.raises(InvalidArgumentError):
        schema.check({"n": {"n": {"n": 1}}})


def test_a_pattern_cannot_be_made_to_run_for_long() -> None:
    schema = ArgumentSchema(
        {"type": "object", "properties": {"a": {"pattern": "^(?=(a+)+$)(a+)+$"}}}
    )
    started = time.process_time()
    with pytest.raises(InvalidArgumentError):
        schema.check({"a": "a" * 5_000 + "!"})
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "array"}, '"object"'),
        ({}, '"object"'),
        ({"type": "object", "required": 5}, "not valid"),
        ({"type": "object", "properties": {"a": {"type": "strange"}}}, "not valid"),
        ({"type": "object", "properties": {"a": {"pattern": "("}}}, "not valid"),
        ({"type": "object", "x": {1, 2}}, "not JSON"),
        ({"type": "object", "x": float("nan")}, "not JSON"),
        ({"type": "object", "x": "\ud800"}, "not JSON"),
    ],
)
def test_what_is_no_schema_of_an_object_is_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        ArgumentSchema(schema)


def test_schemas_are_capped() -> None:
    deep: dict[str, Any] = {"type": "object"}
    for _ in range(40):
        deep = {"type": "object", "properties": {"a": deep}}
    with pytest.raises(LimitExceededError, match="levels deep"):
        ArgumentSchema(deep)
    with pytest.raises(LimitExceededError, match="bytes"):
        ArgumentSchema({"type": "object", "description": "x" * 70_000})


def test_a_schema_does_not_change_when_its_source_does() -> None:
    source = {"type": "object", "required": ["a"]}
    schema = ArgumentSchema(source)
    source["required"] = []
    with pytest.raises(InvalidArgumentError):
        schema.check({})


def doubling(levels: int) -> dict[str, Any]:
    """A schema of a few lines in which each definition refers to the next one twice."""
    definitions: dict[str, Any] = {
        f"d{level}": {"anyOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)
    }
    definitions[f"d{levels}"] = {"type": "number"}
    return {
        "type": "object",
        "$defs": definitions,
        "properties": {"a": {"$ref": "#/$defs/d0"}},
    }


def test_definitions_that_double_are_refused_before_anything_is_checked() -> None:
    started = time.process_time()
    with pytest.raises(LimitExceededError, match="steps"):
        ArgumentSchema(doubling(60))
    assert time.process_time() - started < 1


def test_what_the_cap_on_steps_lets_in_is_checked_in_little_time() -> None:
    schema = ArgumentSchema(doubling(10))
    started = time.process_time()
    with pytest.raises(InvalidArgumentError):
        schema.check({"a": "no"})
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "schema",
    [
        {"anyOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]},
        {
            "$defs": {
                "x": {"properties": {"a": {"allOf": [{"$ref": "#/$defs/y"}]}}},
                "y": {"allOf": [{"$ref": "#/$defs/x"}, {"items": {"$ref": "#/$defs/y"}}]},
            },
            "properties": {"a": {"$ref": "#/$defs/x"}},
        },
        {"items": {"$ref": "#"}, "contains": {"$ref": "#"}},
    ],
)
def test_a_schema_that_multiplies_through_itself_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match="in several ways"):
        ArgumentSchema({"type": "object", **schema})


def test_trees_that_refer_to_each_other_once_are_let_in() -> None:
    schema = ArgumentSchema(
        {
            "type": "object",
            "$defs": {
                "tree": {
                    "type": "object",
                    "properties": {
                        "left": {"$ref": "#/$defs/tree"},
                        "right": {"$ref": "#/$defs/tree"},
                        "leaves": {"type": "array", "items": {"$ref": "#/$defs/leaf"}},
                    },
                },
                "leaf": {"properties": {"tree": {"$ref": "#/$defs/tree"}}},
            },
            "properties": {"one": {"$ref": "#/$defs/tree"}, "two": {"$ref": "#/$defs/tree"}},
        }
    )
    schema.check({"one": {"left": {"right": {"leaves": [{"tree": {}}]}}}, "two": {}})
    with pytest.raises(InvalidArgumentError, match=r"arguments\.two\.left"):
        schema.check({"two": {"left": 1}})


@pytest.mark.parametrize(
    "reference", ["#name", "other", "#/nowhere", "#/$defs", "#/required/0", "#/required/9"]
)
def test_a_reference_that_leads_to_no_schema_is_refused(reference: str) -> None:
    with pytest.raises(InvalidArgumentError):
        ArgumentSchema(
            {"type": "object", "required": ["a"], "properties": {"a": {"$ref": reference}}}
        )


@pytest.mark.parametrize("keyword", ["$dynamicRef", "$recursiveRef", "$id"])
def test_what_makes_references_lead_elsewhere_is_refused(keyword: str) -> None:
    with pytest.raises(InvalidArgumentError, match=re.escape(keyword)):
        ArgumentSchema({"type": "object", "properties": {"a": {keyword: "#"}}})


@pytest.mark.parametrize("keyword", ["patternProperties", "dependentSchemas"])
def test_schemas_under_names_that_look_like_keywords_count(keyword: str) -> None:
    schema = doubling(60)
    named = dict.fromkeys(("title", "enum", "default"), schema["properties"]["a"])
    with pytest.raises(LimitExceededError, match="steps"):
        ArgumentSchema({"type": "object", "$defs": schema["$defs"], keyword: named})


def test_what_is_left_over_counts_as_often_as_it_is_looked_for() -> None:
    definitions: dict[str, Any] = {
        f"d{level}": {
            "allOf": [{"$ref": f"#/$defs/d{level + 1}"}],
            "unevaluatedProperties": False,
        }
        for level in range(40)
    }
    definitions["d40"] = {"properties": {"a": {}}}
    with pytest.raises(LimitExceededError, match="steps"):
        ArgumentSchema({"type": "object", "$defs": definitions, "$ref": "#/$defs/d0"})


def test_an_endless_chain_of_references_is_refused() -> None:
    definitions = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(1_500)}
    definitions["d1500"] = {"type": "string"}
    with pytest.raises(LimitExceededError):
        ArgumentSchema({"type": "object", "$defs": definitions, "$ref": "#/$defs/d0"})


def test_many_faults_of_large_arguments_take_little_time() -> None:
    listed = {"items": {"anyOf": [{"type": "number"}] * 20}}
    schema = ArgumentSchema({"type": "object", "properties": {"a": listed}})
    started = time.process_time()
    with pytest.raises(InvalidArgumentError, match="too large to be told where"):
        schema.check({"a": ["x"] * 100_000})
    assert time.process_time() - started < 2


def test_the_first_fault_of_large_arguments_is_named_where_that_is_cheap() -> None:
    schema = ArgumentSchema({"type": "object", "properties": {"a": {"items": {"type": "number"}}}})
    started = time.process_time()
    with pytest.raises(InvalidArgumentError, match=r"arguments\.a\.99999") as refused:
        schema.check({"a": [1] * 99_999 + ["x"] * 100_000})
    assert time.process_time() - started < 2
    assert len(refused.value.field_violations) == 1


def test_arguments_that_would_take_too_long_to_check_are_refused() -> None:
    items = {"items": {"allOf": [{"minimum": -number} for number in range(1_000)]}}
    schema = ArgumentSchema({"type": "object", "properties": {"a": items}})
    schema.check({"a": [1] * 100})
    for size_bytes in (None, 200_000):
        with pytest.raises(LimitExceededError, match="too large to be checked"):
            schema.check({"a": [1] * 100_000}, size_bytes=size_bytes)


def test_long_texts_are_not_held_against_a_pattern() -> None:
    schema = ArgumentSchema({"type": "object", "properties": {"a": {"pattern": "[ab]*a[ab]{99}c"}}})
    schema.check({"a": "ab" * 50 + "a" * 100 + "c"})
    with pytest.raises(LimitExceededError, match="too large to be checked"):
        schema.check({"a": "ab" * 200_000})
    with pytest.raises(InvalidArgumentError, match="not valid"):
        ArgumentSchema({"type": "object", "properties": {"a": {"pattern": "[ab]{1,9999}c"}}})


def test_a_long_text_without_a_pattern_is_checked_whatever_else_there_is() -> None:
    properties: dict[str, Any] = {f"p{number}": {"type": "string"} for number in range(100)}
    schema = ArgumentSchema({"type": "object", "properties": properties})
    schema.check({"p1": "x" * 1_000_000}, size_bytes=1_000_010)
