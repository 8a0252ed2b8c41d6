from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto

from agent_executor.api.error.v1.error_pb2 import ErrorReason
from agent_executor.cli.gateway import render, write_configuration
from agent_executor.cli.gateway_files import gateway_files
from agent_executor.cli.gateway_rules import methods
from agent_executor.cli.gateway_settings import GatewaySettings
from agent_executor.serving.settings import IssuerSettings

FILES = gateway_files()
DESCRIPTOR = FileDescriptorSet.FromString(FILES.descriptor.read_bytes())
TEMPLATE: dict[str, Any] = yaml.safe_load(FILES.template.read_text(encoding="utf-8"))


def rendered(**settings: Any) -> dict[str, Any]:
    return render(TEMPLATE, GatewaySettings(**settings), FILES, DESCRIPTOR, Path())


def connection_manager(configuration: dict[str, Any]) -> dict[str, Any]:
    (listener,) = configuration["static_resources"]["listeners"]
    manager: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return manager


def cluster(configuration: dict[str, Any], name: str) -> dict[str, Any]:
    clusters = configuration["static_resources"]["clusters"]
    return next(cluster for cluster in clusters if cluster["name"] == name)


def addresses(cluster: dict[str, Any]) -> list[tuple[str, int]]:
    (group,) = cluster["load_assignment"]["endpoints"]
    sockets = (each["endpoint"]["address"]["socket_address"] for each in group["lb_endpoints"])
    return [(socket["address"], socket["port_value"]) for socket in sockets]


def test_nothing_of_the_notations_is_left() -> None:
    text = yaml.safe_dump(rendered(otlp_endpoint="http://c:4317", access_log="stdout"))
    # A regular expression may end in one.
    assert re.findall(r"[\s\[]\$\w+", text) == []
    assert "definitions" not in rendered()


def test_every_executor_is_an_endpoint() -> None:
    executors = ("127.0.0.1:1", "127.0.0.1:2", "[::1]:3")
    configuration = rendered(executor_addresses=executors)
    executor = cluster(configuration, "executor")
    assert addresses(executor) == [("127.0.0.1", 1), ("127.0.0.1", 2), ("::1", 3)]
    assert executor["type"] == "STATIC"


def test_names_of_hosts_are_resolved() -> None:
    configuration = rendered(ledger_addresses=("ledger:50053",))
    assert cluster(configuration, "ledger")["type"] == "STRICT_DNS"


def test_there_is_no_tracing_without_an_endpoint() -> None:
    configuration = rendered(otlp_endpoint="")
    assert "tracing" not in connection_manager(configuration)
    names = [each["name"] for each in configuration["static_resources"]["clusters"]]
    assert names == ["executor", "tool_runner", "ledger", "web"]


@pytest.mark.parametrize(
    ("endpoint", "address", "is_encrypted"),
    [
        ("http://collector:4317", ("collector", 4317), False),
        ("https://collector", ("collector", 4317), True),
        ("127.0.0.1:9", ("127.0.0.1", 9), False),
        ("http://[::1]:9/ignored", ("::1", 9), False),
    ],
)
def test_spans_go_to_the_endpoint(
    endpoint: str, address: tuple[str, int], is_encrypted: bool
) -> None:
    telemetry = cluster(rendered(otlp_endpoint=endpoint), "telemetry")
    assert addresses(telemetry) == [address]
    assert ("transport_socket" in telemetry) is is_encrypted


@pytest.mark.parametrize(
    ("access_log", "kinds"),
    [
        ("", []),
        ("stdout", ["envoy.access_loggers.stdout"]),
        ("/var/log/gateway", ["envoy.access_loggers.file"]),
    ],
)
def test_the_access_log_goes_where_it_is_told(access_log: str, kinds: list[str]) -> None:
    loggers = connection_manager(rendered(access_log=access_log))["access_log"]
    assert [logger["name"] for logger in loggers] == kinds


def test_routes_outlast_the_deadlines_they_set() -> None:
    configuration = rendered(request_timeout_seconds=2, execution_timeout_seconds=7.5)
    routes = connection_manager(configuration)["route_config"]["virtual_hosts"][0]["routes"]
    added = [
        (route["request_headers_to_add"][0]["header"], route)
        for route in routes
        if "request_headers_to_add" in route
    ]
    deadlines = {
        header["value"]: route["route"]["timeout"]
        for header, route in added
        if header["key"] == "grpc-timeout"
    }
    assert deadlines == {"2000m": "3.000s", "7500m": "8.500s"}


def test_only_what_reads_is_repeated_after_the_service_may_have_seen_it() -> None:
    routes = connection_manager(rendered())["route_config"]["virtual_hosts"][0]["routes"]
    of_grpc = [route for route in routes if "retry_policy" in route.get("route", {})]
    known = _methods_for_callers()
    repeated = set()
    for path in known:
        policy = next(r for r in of_grpc if _matches(r["match"], path))["route"]["retry_policy"]
        if policy["retry_on"] != "connect-failure,refused-stream":
            assert policy["retry_on"] == "connect-failure,refused-stream,reset,unavailable"
            repeated.add(path.rpartition("/")[2])
    assert {"GetAgent", "ListRuns", "ListBudgets"} <= repeated
    writing = ("Create", "Update", "Delete", "Set", "Execute", "Start", "Cancel", "Decide", "Test")
    assert not [name for name in repeated if name.startswith(writing)]


def _methods_for_callers() -> dict[str, MethodDescriptorProto]:
    """The methods by their gRPC paths, without the one that only the gateway itself calls."""
    known = {f"/{service}/{method.name}": method for service, method in methods(DESCRIPTOR)}
    return {path: method for path, method in known.items() if path.startswith("/agent_executor.")}


def _matches(match: dict[str, Any], path: str) -> bool:
    if "path" in match:
        return bool(match["path"] == path) and "headers" not in match
    if "safe_regex" in match:
        return re.fullmatch(match["safe_regex"]["regex"], path) is not None
    return path.startswith(match["prefix"])


def test_every_service_and_every_stream_has_its_route() -> None:
    routes = connection_manager(rendered())["route_config"]["virtual_hosts"][0]["routes"]
    exact = {route["match"]["path"]: route for route in routes if "path" in route["match"]}
    prefixes = tuple(route["match"]["prefix"] for route in routes if "prefix" in route["match"])
    known = _methods_for_callers()

    assert all(path.startswith(prefixes) for path in known)
    ours = {path for path in exact if path.startswith("/agent_executor.")}
    assert ours <= known.keys()
    streams = {path for path, method in known.items() if method.server_streaming}
    unlimited = {path for path in ours if exact[path]["route"]["timeout"] == "0s"}
    assert unlimited == streams


def test_the_transcoder_has_every_service_with_a_route() -> None:
    filters = connection_manager(rendered())["http_filters"]
    (transcoder,) = (each for each in filters if each["name"].endswith("grpc_json_transcoder"))
    services = transcoder["typed_config"]["services"]
    assert "agent_executor.api.executor.v1.RunService" in services
    assert "agent_executor.api.tool_runner.v1.ToolCallService" not in services


def test_errors_are_shaped_after_the_transcoder() -> None:
    names = [each["name"] for each in connection_manager(rendered())["http_filters"]]
    # A response passes them from the last to the first: shaped first, then compressed.
    order = (
        "envoy.filters.http.compressor",
        "envoy.filters.http.lua",
        "envoy.filters.http.jwt_authn",
        "envoy.filters.http.local_ratelimit",
        "envoy.filters.http.body_size_limit",
        "request_fields",
        "envoy.filters.http.grpc_json_transcoder",
    )
    places = [names.index(name) for name in order]
    assert places == sorted(places)


def test_every_code_of_the_gateway_is_an_error_reason() -> None:
    mappers = connection_manager(rendered())["local_reply_config"]["mappers"]
    formats = [mapper["body_format_override"].get("json_format") for mapper in mappers]
    codes = {json_format["code"] for json_format in formats if json_format}
    lua = FILES.error_shape.read_text(encoding="utf-8")
    codes |= set(re.findall(r'^  \[\d+\] = "(\w+)",$', lua, re.MULTILINE))
    assert {"UNAUTHENTICATED", "CONFLICT", "DEADLINE_EXCEEDED"} <= codes
    reasons = set(ErrorReason.DESCRIPTOR.values_by_name)
    assert {f"ERROR_REASON_{code}" for code in codes} <= reasons


def test_further_issuers_are_believed_too() -> None:
    issuers = (
        IssuerSettings(
            issuer="https://a.example", jwks_uri="https://a.example/keys", organizations=("*",)
        ),
        IssuerSettings(
            issuer="https://b.example", jwks_file=Path("/keys/b.json"), organizations=("*",)
        ),
    )
    configuration = rendered(auth_issuers=issuers)
    filters = connection_manager(configuration)["http_filters"]
    (jwt_authn,) = (each for each in filters if each["name"].endswith("jwt_authn"))
    providers = jwt_authn["typed_config"]["providers"]
    assert [provider["issuer"] for provider in providers.values()] == [
        "agent-executor",
        "https://a.example",
        "https://b.example",
    ]
    assert addresses(cluster(configuration, "issuer-0")) == [("a.example", 443)]
    tls = cluster(configuration, "issuer-0")["transport_socket"]["typed_config"]
    assert tls["sni"] == "a.example"
    assert "match_typed_subject_alt_names" in tls["common_tls_context"]["validation_context"]


def test_the_admin_pages_are_for_this_machine_only() -> None:
    admin = rendered(http_host="0.0.0.0", admin_port=5)["admin"]
    assert admin["address"] == {"socket_address": {"address": "127.0.0.1", "port_value": 5}}
    assert admin["ignore_global_conn_limit"] is True


def test_a_name_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        render({"admin": "$nonsense"}, GatewaySettings(), FILES, DESCRIPTOR, Path())


def test_only_the_owner_can_read_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "gateway" / "envoy.yaml"
    write_configuration(path, GatewaySettings(http_port=7))
    path.chmod(0o644)
    write_configuration(path, GatewaySettings(http_port=8))
    assert path.stat().st_mode & 0o777 == 0o600
    (listener,) = yaml.safe_load(path.read_text())["static_resources"]["listeners"]
    assert listener["address"]["socket_address"]["port_value"] == 8
