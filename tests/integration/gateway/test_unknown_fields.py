"""A field that a route does not know is refused, and no body that is right is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_executor.cli.gateway_fields import body_messages
from agent_executor.cli.gateway_files import gateway_files
from tests.integration.gateway.running_gateway import Answer, RunningGateway
from tests.integration.gateway.test_error_shape import assert_is_error

AGENTS = "/api/v1/agents"
TOOLS = "/api/v1/tools"
DESCRIPTOR = FileDescriptorSet.FromString(gateway_files().descriptor.read_bytes())
BODIES = body_messages(DESCRIPTOR)
FREE_MESSAGES = "google.protobuf."
DEEPEST = 3

# The bodies of the specification: the agent of its quick start, and one with a tool of its own.
SPECIFIED = [
    {
        "name": "Math Assistant",
        "description": "A helpful math assistant",
        "agent_type": "llm",
        "model": "claude-sonnet-4-20250514",
        "role": "math expert",
        "instructions": "Use the calculator tool for arithmetic operations.",
        "is_active": True,
        "tools": {"calculator": True},
        "custom_tools": {},
    },
    {
        "name": "Custom Agent",
        "tools": {"custom_tool": True},
        "custom_tools": {
            "custom_tool": {
                "enabled": True,
                "version": "1.0.0",
                "class": "CustomTool",
            }
        },
    },
]


def pool() -> DescriptorPool:
    found = DescriptorPool()
    for file in DESCRIPTOR.file:
        found.Add(file)
    return found


POOL = pool()


def full_body(message: Descriptor, spelling: str, depth: int = 1) -> dict[str, Any]:
    """A body with every field of a message, and of those below it."""
    return {
        getattr(field, spelling): _value(field, spelling, depth)
        for field in message.fields
        if depth < DEEPEST or field.message_type is None
    }


def _value(field: FieldDescriptor, spelling: str, depth: int) -> Any:
    below = field.message_type
    if below is None:
        return [] if field.is_repeated else None
    if below.GetOptions().map_entry:
        value = below.fields_by_name["value"]
        return {"any_key at-all": _value(value, spelling, depth)} if value.message_type else {}
    if below.full_name.startswith(FREE_MESSAGES):
        return {"of": [{"any": "kind"}]} if below.name in {"Struct", "Value"} else None
    body = full_body(below, spelling, depth + 1)
    return [body, body] if field.is_repeated else body


def send(gateway: RunningGateway, verb: str, template: str, body: Any) -> Answer:
    path = template.replace("{", "").replace("}", "")
    return gateway.call(verb, path, body, headers={"content-type": "application/json"})


def is_refused_for_a_field(answer: Answer) -> bool:
    return answer.status == 400 and "here is no field" in answer.body["error"]


@pytest.mark.parametrize("spelling", ["name", "json_name"])
def test_every_known_field_of_every_route_is_let_through(
    gateway: RunningGateway, spelling: str
) -> None:
    for (verb, template), name in BODIES.items():
        body = full_body(POOL.FindMessageTypeByName(name), spelling)
        answer = send(gateway, verb, template, body)
        assert not is_refused_for_a_field(answer), (template, answer.content)


def test_an_unknown_field_of_any_route_is_refused(gateway: RunningGateway) -> None:
    assert len(BODIES) > 20
    for verb, template in BODIES:
        answer = send(gateway, verb, template, {"zzz_unknown": 1})
        assert_is_error(answer, 400, "INVALID_ARGUMENT", 'There is no field "zzz_unknown"')


def test_a_slash_at_the_end_of_a_path_is_no_way_around(gateway: RunningGateway) -> None:
    # The transcoder takes such a path for the one without, and dropped what it did not know.
    for verb, template in BODIES:
        answer = send(gateway, verb, f"{template}/", {"zzz_unknown": 1})
        assert_is_error(answer, 404, "NOT_FOUND", "There is no such route.")


@pytest.mark.parametrize("body", SPECIFIED)
def test_the_bodies_of_the_specification_pass(
    gateway: RunningGateway, body: dict[str, Any]
) -> None:
    answer = gateway.call("POST", AGENTS, body)
    assert answer.status == 200, answer.content
    assert answer.body["name"] == body["name"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"instrutions": "x"}, 'There is no field "instrutions"; did you mean "instructions"?'),
        ({"Name": "x"}, 'There is no field "Name"; did you mean "name"?'),
        (
            {"context_policy": {"maxTurns": 3}},
            'There is no field "maxTurns" in "context_policy"; there are: max_history_turns, max_',
        ),
        (
            {"custom_tools": {"a.b": {"versions": ""}}},
            'There is no field "versions" in "custom_tools.a.b"; did you mean "version"?',
        ),
        (
            {"approvalPolicy": {"rules": [{}, {"tol": ""}]}},
            'There is no field "tol" in "approvalPolicy.rules[1]"; did you mean "tool"?',
        ),
        ('{"name": "x", "name": "y"}', 'The field "name" is there twice.'),
        ('{"base_url": "x", "baseUrl": "y"}', 'The field "baseUrl" is there twice.'),
        (r'{"name": "x", "n\u0061me": "y"}', 'The field "name" is there twice.'),
        ('{"tools": {"é": true, "\\u00E9": true}}', 'The field "tools.??" is there twice.'),
        (
            '{"tools": {"\\ud83d\\ude00": true, "😀": true}}',
            'The field "tools.????" is there twice',
        ),
        (r'{"n\\u0061me": "y"}', r'There is no field "n\u0061me"'),
        ({"\x1b[31m": 1}, 'There is no field "?[31m"'),
        ({"x" * 5000: 1}, f'There is no field "{"x" * 64}..."'),
    ],
)
def test_the_field_and_its_place_are_named(gateway: RunningGateway, body: Any, error: str) -> None:
    content = body.encode() if isinstance(body, str) else body
    assert_is_error(gateway.call("POST", AGENTS, content), 400, "INVALID_ARGUMENT", error)


@pytest.mark.parametrize(
    "body",
    [
        "{'name': 'x'}",
        '{name: "x"}',
        '{"name": "x",}',
        '{"name" "x"}',
        '{"name": "x"} {}',
        '{"name": "x"',
        '{"name": "x',
        '{"name": "x\\"}',
        '{"name": \'x", "nome": "\'}',
        '{"tools": {"a": true}',
        '{"custom_tools": [}',
        '\ufeff{"name": "x"}',
        "nonsense here",
        "{/**/}",
        ",",
    ],
)
def test_what_is_no_json_is_refused(gateway: RunningGateway, body: str) -> None:
    answer = gateway.call("POST", AGENTS, body.encode())
    assert_is_error(answer, 400, "INVALID_ARGUMENT", "")


@pytest.mark.parametrize("body", ["[]", "null", '"x"', "1"])
def test_a_body_is_an_object(gateway: RunningGateway, body: str) -> None:
    answer = gateway.call("POST", AGENTS, body.encode())
    assert_is_error(answer, 400, "INVALID_ARGUMENT", "The body is not a JSON object.")


@pytest.mark.parametrize("body", ["", "{}", " \r\n\t{ }\n", '{"name":null}'])
def test_little_is_enough(gateway: RunningGateway, body: str) -> None:
    answer = gateway.call("POST", "/api/v1/agents/a/execute", body.replace("name", "input"))
    assert answer.status == 200, answer.content


def test_bodies_have_a_depth(gateway: RunningGateway) -> None:
    deep: dict[str, Any] = {}
    for _ in range(30):
        deep = {"properties": deep}
    assert gateway.call("POST", TOOLS, {"input_schema": deep}).status != 400
    free = '{"input_schema":{"a":' + "[" * 70 + "]" * 70 + "}}"
    answer = gateway.call("POST", TOOLS, free)
    assert_is_error(answer, 400, "INVALID_ARGUMENT", "nested more than 64 deep")


def test_what_carries_no_body_or_is_grpc_is_not_looked_at(gateway: RunningGateway) -> None:
    assert gateway.call("GET", "/api/v1/agents/a").status == 200
    answer = gateway.call("POST", f"{AGENTS}/a/execute", b"", headers={"content-length": "0"})
    assert answer.status == 200


def test_chunked_bodies_are_read_whole(gateway: RunningGateway) -> None:
    chunks = iter([b'{"na', b'me":"x",', b'"na', b'mes":1}'])
    answer = gateway.call("POST", AGENTS, chunks, headers={"transfer-encoding": "chunked"})
    assert_is_error(answer, 400, "INVALID_ARGUMENT", 'There is no field "names"')


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(
    value=st.dictionaries(st.text(), JSON_VALUES, max_size=4),
    is_ascii=st.booleans(),
    indent=st.none() | st.integers(0, 2),
)
def test_any_json_is_let_through_where_anything_goes(
    gateway: RunningGateway, value: dict[str, Any], is_ascii: bool, indent: int | None
) -> None:
    body = json.dumps({"input_schema": value}, ensure_ascii=is_ascii, indent=indent)
    answer = gateway.call("POST", TOOLS, body.encode("utf-8", "surrogatepass"))
    refused = answer.body["error"]
    assert "not JSON" not in refused, body
    assert "twice" not in refused, body
    assert "no field" not in refused, body


def test_the_check_can_be_switched_off(lenient_gateway: RunningGateway) -> None:
    answer = lenient_gateway.call("POST", AGENTS, {"name": "x", "nome": "y"})
    assert answer.status == 200
