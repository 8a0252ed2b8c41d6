from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2

from agent_executor.api.tool_runner.v1 import tool_service_pb2
from agent_executor.tool_runner.resource_convert import (
    dict_from_struct,
    registration_from_proto,
)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"maxLength": 5, "minimum": -3, "multipleOf": 0.5},
        {"type": "object", "required": ["a"], "nested": {"list": [1, None, True, "x", [2]]}},
        {"big": 2**53, "bigger": 1e300, "small": 1e-300},
    ],
    ids=str,
)
def test_a_struct_is_read_as_the_json_that_it_was(value: dict[str, Any]) -> None:
    struct = struct_pb2.Struct()
    json_format.ParseDict(value, struct)
    assert json.dumps(dict_from_struct(struct)) == json.dumps(value, sort_keys=True)


def test_a_schema_that_is_not_given_is_none() -> None:
    request = tool_service_pb2.CreateToolRequest(name="greeter", source="x", class_name="X")
    assert registration_from_proto(request).input_schema is None
    request.input_schema.SetInParent()
    assert registration_from_proto(request).input_schema == {}
