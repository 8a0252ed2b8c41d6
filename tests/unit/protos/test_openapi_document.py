"""The checked-in document itself: its examples and limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from protos.openapi_examples import EXAMPLES

DOCUMENT: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "gateway" / "openapi.json").read_text(encoding="utf-8")
)


def validator(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for({**schema, "components": DOCUMENT["components"]})


def examples() -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Yields where an example is, its schema and the example."""
    for path, item in DOCUMENT["paths"].items():
        for verb, operation in item.items():
            bodies = {"request": operation.get("requestBody", {}), **operation["responses"]}
            for name, body in bodies.items():
                for media in body.get("content", {}).values():
                    if "example" in media:
                        yield f"{verb} {path} {name}", media["schema"], media["example"]
                        data = media["schema"].get("properties", {}).get("data", {})
                        if "contentSchema" in data:
                            message = json.loads(media["example"]["data"])
                            yield f"{verb} {path} data", data["contentSchema"], message
    error = {"$ref": "#/components/schemas/ErrorBody"}
    for name, example in DOCUMENT["components"]["examples"].items():
        yield name, error, example["value"]


@pytest.mark.parametrize(
    ("schema", "example"), [pytest.param(*rest, id=name) for name, *rest in examples()]
)
def test_an_example_is_what_it_is_an_example_of(schema: dict[str, Any], example: Any) -> None:
    validator(schema).validate(example)


def test_every_example_is_in_the_document() -> None:
    operations = {
        operation["operationId"]: operation
        for item in DOCUMENT["paths"].values()
        for operation in item.values()
    }
    for name, example in EXAMPLES.items():
        operation = operations[name[0].lower() + name[1:]]
        if example.request is not None:
            media = operation["requestBody"]["content"]["application/json"]
            assert media["example"] == example.request
        (media,) = operation["responses"]["200"]["content"].values()
        assert (example.answer is not None) == bool(media.keys() - {"schema"})


def test_a_request_has_no_field_that_the_document_does_not_name() -> None:
    for path, item in DOCUMENT["paths"].items():
        for operation in item.values():
            for media in operation.get("requestBody", {}).get("content", {}).values():
                name = media["schema"]["$ref"].rpartition("/")[2]
                assert DOCUMENT["components"]["schemas"][name]["additionalProperties"] is False, (
                    path
                )
