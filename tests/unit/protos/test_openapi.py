from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from protos.compiler import compile_image
from protos.contracts import Contracts
from protos.openapi import build_document

SCHEMES = ("bearer", "api_key", "session")

SHOP = """
// A shop.
syntax = "proto3";
package agent_executor.api.shop.v1;
import "agent_executor/api/error/v1/error.proto";
import "buf/validate/validate.proto";
import "google/api/annotations.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";

// Keeps things.
service ThingStoreService {
  // Stores a thing. A second sentence. Takes an `Idempotency-Key`.
  // Errors: INVALID_ARGUMENT; NOT_FOUND (AGENT_NOT_FOUND) when the shelf is gone; UNAVAILABLE.
  rpc PutThing(PutThingRequest) returns (Thing) {
    option (google.api.http) = {
      put: "/api/v1/shelves/{shelf_id}/things"
      body: "*"
      additional_bindings {put: "/api/v1/things" body: "thing"}
    };
  }
  // Watches things.
  // Errors: those of PutThing, without UNAVAILABLE.
  rpc WatchThings(WatchThingsRequest) returns (stream Thing) {
    option (google.api.http) = {get: "/api/v1/shelves/{shelf_id}/events"};
  }
  // Takes a thing back.
  // Errors: UNAVAILABLE.
  rpc TakeThing(WatchThingsRequest) returns (PutThingResponse) {
    option (google.api.http) = {delete: "/api/v1/shelves/{shelf_id}"};
  }
  // Has no route.
  // Errors: UNAVAILABLE.
  rpc CountThings(WatchThingsRequest) returns (CountThingsResponse);
}

// A request.
message PutThingRequest {
  // Where.
  string shelf_id = 1 [(buf.validate.field).string.min_len = 1];
  // What.
  Thing thing = 2 [(buf.validate.field).required = true];
  // How many.
  int32 count = 3 [(buf.validate.field).int32 = {gte: 1 lte: 9}];
  // How.
  string mode = 4 [(buf.validate.field).string = {in: ["", "fast"]}];
  // Words.
  repeated string tags = 5 [(buf.validate.field).repeated = {
    max_items: 3 unique: true items: {string: {min_len: 2 max_bytes: 8}}
  }];
  // Numbers by name.
  map<string, double> weights = 6 [(buf.validate.field).map = {
    max_pairs: 2 keys: {string: {pattern: "^[a-z]+$"}} values: {double: {gt: 0}}
  }];
  // Said once.
  string api_key = 7 [debug_redact = true];
  // Checked only if given.
  string code = 8 [
    (buf.validate.field).string = {len: 3 pattern: "^[A-Z]+$"},
    (buf.validate.field).ignore = IGNORE_IF_ZERO_VALUE
  ];
  // At most three bytes, which are four characters.
  bytes data = 9 [(buf.validate.field).bytes.max_len = 3];
  // Not negative.
  int64 after_nano_usd = 10 [(buf.validate.field).int64.gte = 0];
}

// A thing.
message Thing {
  // Its state.
  State state = 1;
  // Its price.
  int64 price_nano_usd = 2;
  // Its size.
  optional double size = 3;
  // Made at.
  google.protobuf.Timestamp created_at = 4;
  // Anything.
  google.protobuf.Value extra = 5;
  // Bytes.
  bytes data = 6;
  // Things inside.
  repeated Thing parts = 7;
}

// A state.
enum State {
  // None.
  STATE_UNSPECIFIED = 0;
  // New.
  STATE_NEW = 1;
}

// A request.
message WatchThingsRequest {
  // Where.
  string shelf_id = 1;
  // After.
  int32 after_sequence = 2 [(buf.validate.field).int32.gte = 0];
  // Only these.
  Filter filter = 3;
}

// A filter.
message Filter {
  // By maker.
  string made_by = 1 [(buf.validate.field).required = true];
}

// An answer.
message CountThingsResponse {}

// A receipt.
message PutThingResponse {
  // Shown once.
  string receipt = 1 [debug_redact = true];
}
"""

ERROR = Path(__file__).parents[3] / "protos/agent_executor/api/error/v1/error.proto"


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    protos = tmp_path_factory.mktemp("protos")
    for package, text in (("shop", SHOP), ("error", ERROR.read_text())):
        folder = protos / "agent_executor" / "api" / package / "v1"
        folder.mkdir(parents=True)
        (folder / f"{package}.proto").write_text(text)
    return build_document(Contracts(compile_image(protos)), "1.2.3")


@pytest.fixture(scope="module")
def put(document: dict[str, Any]) -> dict[str, Any]:
    operation = document["paths"]["/api/v1/shelves/{shelf_id}/things"]["put"]
    assert isinstance(operation, dict)
    return operation


@pytest.fixture(scope="module")
def body(document: dict[str, Any]) -> jsonschema_rs.Validator:
    """What the body of PutThing must be, with the components that it refers to."""
    schema = {"$ref": "#/components/schemas/PutThingRequestBody"}
    return jsonschema_rs.validator_for({**schema, "components": document["components"]})


def test_each_route_is_an_operation_with_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = {
        (path, verb): operation["operationId"]
        for path, item in document["paths"].items()
        for verb, operation in item.items()
    }
    assert names == {
        ("/healthz", "get"): "getHealth",
        ("/openapi.json", "get"): "getOpenApi",
        ("/api/v1/shelves/{shelf_id}/things", "put"): "putThing",
        ("/api/v1/things", "put"): "putThing_1",
        ("/api/v1/shelves/{shelf_id}/events", "get"): "watchThings",
        ("/api/v1/shelves/{shelf_id}", "delete"): "takeThing",
    }


def test_comments_are_descriptions(document: dict[str, Any], put: dict[str, Any]) -> None:
    assert put["summary"] == "Stores a thing"
    assert put["description"] == "Stores a thing. A second sentence. Takes an `Idempotency-Key`."
    assert put["tags"] == ["Thing store"]
    assert document["tags"][0] == {"name": "Thing store", "description": "Keeps things."}
    assert [tag["name"] for tag in document["tags"]] == ["Thing store", "Gateway"]
    assert document["info"]["version"] == "1.2.3"


def test_errors_are_answers_by_status(document: dict[str, Any], put: dict[str, Any]) -> None:
    assert {status: answer.get("description") for status, answer in put["responses"].items()} == {
        "200": "A thing.",
        "400": "INVALID_ARGUMENT.",
        "404": "NOT_FOUND (AGENT_NOT_FOUND) when the shelf is gone.",
        "413": None,
        "429": None,
        "503": "UNAVAILABLE.",
        "504": None,
        "default": None,
    }
    watch = document["paths"]["/api/v1/shelves/{shelf_id}/events"]["get"]
    assert list(watch["responses"]) == [*("200", "400", "404", "429", "503", "504", "default")]


def test_an_error_shows_its_codes_in_examples(
    document: dict[str, Any], put: dict[str, Any]
) -> None:
    media = put["responses"]["404"]["content"]["application/json"]
    (reference,) = media["examples"].values()
    assert reference == {"$ref": "#/components/examples/AGENT_NOT_FOUND"}
    example = document["components"]["examples"]["AGENT_NOT_FOUND"]["value"]
    assert example["error"] == "No such agent in the caller's organization."
    assert (example["success"], example["code"]) == (False, "AGENT_NOT_FOUND")


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = set(re.findall(r'"#/components/(\w+)/([^"]+)"', json.dumps(document)))
    there = {(kind, name) for kind, parts in document["components"].items() for name in parts}
    assert references <= there
    # What nothing refers to is of no use.
    assert there - references == {("securitySchemes", name) for name in SCHEMES}


def test_a_repeat_that_the_comment_promises_has_its_header(
    document: dict[str, Any], put: dict[str, Any]
) -> None:
    assert {"$ref": "#/components/parameters/IdempotencyKey"} in put["parameters"]
    watch = document["paths"]["/api/v1/shelves/{shelf_id}/events"]["get"]
    assert {"$ref": "#/components/parameters/IdempotencyKey"} not in watch["parameters"]


def test_waiting_is_told_by_headers(document: dict[str, Any]) -> None:
    responses = document["components"]["responses"]
    assert "retry-after" in responses["Unavailable"]["headers"]
    assert {"retry-after", "x-ratelimit-remaining"} <= responses["TooManyRequests"][
        "headers"
    ].keys()
    assert all("x-request-id" in response["headers"] for response in responses.values())


def test_every_call_needs_a_credential_but_those_that_cannot(document: dict[str, Any]) -> None:
    assert document["security"] == [{name: []} for name in SCHEMES]
    assert document["components"]["securitySchemes"].keys() == set(SCHEMES)
    open_paths = {
        path
        for path, item in document["paths"].items()
        for operation in item.values()
        if operation.get("security") == []
    }
    assert open_paths == {"/healthz", "/openapi.json"}
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_a_stream_answers_server_sent_events(document: dict[str, Any]) -> None:
    watch = document["paths"]["/api/v1/shelves/{shelf_id}/events"]["get"]
    assert list(watch["responses"]["200"]["content"]) == ["text/event-stream"]


def test_parameters_are_what_is_not_in_the_body(document: dict[str, Any]) -> None:
    def parameters(path: str, verb: str) -> list[tuple[str, str, bool]]:
        return [
            (parameter["in"], parameter["name"], parameter.get("required", False))
            for parameter in document["paths"][path][verb].get("parameters", ())
            if "$ref" not in parameter
        ]

    assert parameters("/api/v1/shelves/{shelf_id}/things", "put") == [("path", "shelf_id", True)]
    assert parameters("/api/v1/shelves/{shelf_id}/events", "get") == [
        ("path", "shelf_id", True),
        ("query", "after_sequence", False),
        ("query", "filter.made_by", True),
    ]


def test_a_body_may_be_one_field(document: dict[str, Any]) -> None:
    request = document["paths"]["/api/v1/things"]["put"]["requestBody"]
    assert request["required"] is True
    assert request["content"]["application/json"]["schema"] == {
        "description": "What.",
        "$ref": "#/components/schemas/Thing",
    }


@pytest.mark.parametrize(
    "value",
    [
        {"thing": {}, "count": 1},
        {"thing": {"size": 2.5, "extra": [1], "state": "STATE_NEW"}, "count": 9, "mode": ""},
        {"thing": {"parts": [{"price_nano_usd": "12"}]}, "count": 1, "tags": ["ab", "cd"]},
        {"thing": {}, "count": 1, "weights": {"a": 0.5}, "code": "ABC"},
        {"thing": {}, "count": 1, "code": ""},
        {"thing": {}, "count": 1, "data": "AAAA", "after_nano_usd": "0"},
    ],
)
def test_what_the_rules_allow_is_valid(body: jsonschema_rs.Validator, value: Any) -> None:
    body.validate(value)


@pytest.mark.parametrize(
    "value",
    [
        {"thing": {}},
        {"count": 1},
        {"thing": {}, "count": 0},
        {"thing": {}, "count": 10},
        {"thing": {}, "count": 1, "mode": "slow"},
        {"thing": {}, "count": 1, "tags": ["ab", "ab"]},
        {"thing": {}, "count": 1, "tags": ["ab", "cd", "ef", "gh"]},
        {"thing": {}, "count": 1, "tags": ["a"]},
        {"thing": {}, "count": 1, "weights": {"a": 0}},
        {"thing": {}, "count": 1, "weights": {"A": 1}},
        {"thing": {}, "count": 1, "weights": {"a": 1, "b": 1, "c": 1}},
        {"thing": {}, "count": 1, "code": "abc"},
        {"thing": {}, "count": 1, "code": "ABCD"},
        {"thing": {"state": "NEW"}, "count": 1},
        {"thing": {"price_nano_usd": 12}, "count": 1},
        {"thing": {"price_nano_usd": "twelve"}, "count": 1},
        {"thing": {"colour": "red"}, "count": 1},
        {"thing": {}, "count": 1, "counts": 1},
        {"thing": {}, "count": 1, "data": "AAAAA"},
        {"thing": {}, "count": 1, "after_nano_usd": "-1"},
    ],
)
def test_what_the_rules_refuse_is_invalid(body: jsonschema_rs.Validator, value: Any) -> None:
    assert not body.is_valid(value)


def test_a_secret_is_only_written(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["PutThingRequestBody"]["properties"]["api_key"]
    assert (schema["writeOnly"], schema["format"]) == (True, "password")


def test_a_secret_that_is_answered_is_not_only_written(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["PutThingResponse"]["properties"]["receipt"]
    assert schema["format"] == "password"
    assert "writeOnly" not in schema


def test_fields_that_are_always_printed_are_required_in_an_answer(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["ErrorBody"]["required"] == ["success", "error", "tool_name", "code"]
    # A thing is sent too, and nothing of it has to be.
    assert "required" not in schemas["Thing"]
