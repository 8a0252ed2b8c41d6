from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent_executor.errors import InvalidArgumentError, LimitExceededError
from agent_executor.tool_runner.argument_schema import VIOLATIONS_MAX, ArgumentSchema

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
            with pytest.raises(InvalidArgumentError, match="not valid"):
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
