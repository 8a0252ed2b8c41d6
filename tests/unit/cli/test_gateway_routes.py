from __future__ import annotations

import re
from typing import Any

import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from agent_executor.cli.gateway_files import gateway_files
from agent_executor.cli.gateway_routes import (
    method_not_allowed_routes,
    path_pattern,
    rest_methods,
)
from agent_executor.cli.gateway_rules import rest_services

DESCRIPTOR = FileDescriptorSet.FromString(gateway_files().descriptor.read_bytes())


@pytest.mark.parametrize(
    ("template", "matching", "other"),
    [
        ("/v1/agents", "/v1/agents", "/v1/agents/a"),
        ("/v1/agents/{agent_id}", "/v1/agents/a.b", "/v1/agents/a/b"),
        ("/v1/agents/{agent_id}/test", "/v1/agents/a/test", "/v1/agents//test"),
        ("/v1/{name=runs/*}", "/v1/runs/r", "/v1/runs/r/s"),
        ("/v1/{name=files/**}", "/v1/files/a/b", "/v1/filesa/b"),
        ("/v1/cards/{id=*/**}", "/v1/cards/a%2Fb", "/v1/cards/"),
        ("/v1/*/x.json", "/v1/a/x.json", "/v1/a/xyjson"),
        ("/v1/runs/{run_id}:cancel", "/v1/runs/r:cancel", "/v1/runs/r"),
    ],
)
def test_templates_match_paths(template: str, matching: str, other: str) -> None:
    pattern = path_pattern(template)
    assert re.fullmatch(pattern, matching)
    assert not re.fullmatch(pattern, other)


def test_every_path_knows_its_methods() -> None:
    paths = rest_methods(DESCRIPTOR)
    assert paths["/api/v1/agents"] == {"GET", "POST"}
    assert paths["/api/v1/agents/[^/]+"] == {"DELETE", "GET", "PATCH"}
    assert paths["/healthz"] == {"GET"}


def test_further_bindings_count() -> None:
    (descriptor,) = (file for file in _file_with_bindings().file if file.package == "example.v1")
    paths = rest_methods(FileDescriptorSet(file=[descriptor]))
    assert paths["/v1/a"] == {"GET", "REPORT"}
    assert paths["/v1/b/[^/]+"] == {"POST"}


def test_more_literal_paths_come_first() -> None:
    patterns = [
        route["match"]["safe_regex"]["regex"] for route in method_not_allowed_routes(DESCRIPTOR)
    ]
    assert len(patterns) == len(set(patterns)) == len(rest_methods(DESCRIPTOR))
    variables = [(pattern.count("[^?]*"), pattern.count("[^/]+")) for pattern in patterns]
    assert variables == sorted(variables)


def test_services_without_rest_are_left_out() -> None:
    services = rest_services(DESCRIPTOR)
    assert "agent_executor.api.executor.v1.AgentService" in services
    assert not any("ToolCallService" in service for service in services)


def _file_with_bindings() -> FileDescriptorSet:
    descriptor = FileDescriptorSet()
    file = descriptor.file.add(name="example.proto", package="example.v1")
    method = file.service.add(name="ExampleService").method.add(name="Do")
    extension: Any = annotations_pb2.http
    rule: Any = method.options.Extensions[extension]
    rule.get = "/v1/a"
    rule.additional_bindings.add(post="/v1/b/{id}", body="*")
    custom = rule.additional_bindings.add()
    custom.custom.kind, custom.custom.path = "REPORT", "/v1/a"
    file.service[0].method.add(name="OverGrpcOnly")
    return descriptor
