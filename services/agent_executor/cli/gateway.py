"""Renders Envoy's configuration from the template and the settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from agent_executor.cli.gateway_fields import request_fields_source
from agent_executor.cli.gateway_files import GatewayFiles, gateway_files
from agent_executor.cli.gateway_issuers import token_issuers
from agent_executor.cli.gateway_limits import rate_limits
from agent_executor.cli.gateway_origins import allowed_origins
from agent_executor.cli.gateway_routes import (
    method_not_allowed_routes,
    read_methods,
    rest_routes,
)
from agent_executor.cli.gateway_rules import rest_services
from agent_executor.cli.gateway_settings import (
    GatewaySettings,
    is_ip_address,
    split_address,
    split_endpoint,
)
from agent_executor.cli.gateway_tls import (
    listener_tls,
    services_tls,
    transport_socket,
    write_secrets,
)

OTLP_GRPC_PORT = 4317


def render(
    template: Mapping[str, Any],
    settings: GatewaySettings,
    files: GatewayFiles,
    descriptor: FileDescriptorSet,
    folder: Path,
) -> dict[str, Any]:
    """Fills in the template.

    Args:
        template: `gateway/envoy.yaml`, parsed.
        settings: What the operator set.
        files: The files that Envoy will read.
        descriptor: The contracts.
        folder: Where the configuration goes, and what it refers to.

    Returns:
        Envoy's bootstrap configuration.

    Raises:
        KeyError: If the template names a value that does not exist.
    """
    values: dict[str, Any] = {
        **settings.model_dump(),
        **_times(settings),
        **_endpoints(settings),
        **_telemetry(settings),
        **_access_log(settings),
        **token_issuers(settings),
        **services_tls(settings, folder),
        "listener_transport_socket": listener_tls(settings, folder),
        **rate_limits(settings),
        **allowed_origins(settings.cors_origins),
        **read_methods(descriptor),
        "rest_routes": rest_routes(descriptor, check_fields=settings.refuse_unknown_fields),
        "request_fields_source": request_fields_source(
            descriptor, files.request_fields.read_text(encoding="utf-8")
        ),
        "rest_services": rest_services(descriptor),
        "method_not_allowed_routes": method_not_allowed_routes(descriptor),
        "request_too_large_message": (
            f"The request's body is larger than {settings.request_max_bytes} bytes."
        ),
        "error_shape_file": str(files.error_shape),
        "server_sent_events_file": str(files.server_sent_events),
        "descriptor_file": str(files.descriptor),
        "openapi_file": str(files.openapi),
    }
    rendered = {name: part for name, part in template.items() if name != "definitions"}
    configuration: dict[str, Any] = _fill(rendered, values)
    return configuration


def rendered_configuration(settings: GatewaySettings, folder: Path) -> dict[str, Any]:
    """Renders the configuration of this installation.

    Args:
        settings: What the operator set.
        folder: Where it goes; with TLS, files in there say where the certificates are.

    Raises:
        FileNotFoundError: If the installation lacks one of the gateway's files.
    """
    files = gateway_files()
    descriptor = FileDescriptorSet.FromString(files.descriptor.read_bytes())
    template = yaml.safe_load(files.template.read_text(encoding="utf-8"))
    return render(template, settings, files, descriptor, folder)


def write_configuration(path: Path, settings: GatewaySettings) -> None:
    """Renders the configuration of this installation into a file, readable by its owner only.

    With TLS, files beside it say where the certificates are.

    Raises:
        FileNotFoundError: If the installation lacks one of the gateway's files.
    """
    folder = path.parent.absolute()
    configuration = rendered_configuration(settings, folder)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_secrets(folder, settings)
    path.touch(mode=0o600)
    path.chmod(0o600)  # also one that was there
    path.write_text(yaml.safe_dump(configuration, sort_keys=False), encoding="utf-8")


def _fill(node: Any, values: Mapping[str, Any]) -> Any:
    """Replaces `$name`, drops what its `$when` or a None says, and splices lists into lists."""
    if isinstance(node, str) and node.startswith("$"):
        return values[node[1:]]
    if isinstance(node, list):
        filled: list[Any] = []
        for item in node:
            value = _fill(item, values)
            if isinstance(value, list):
                filled.extend(value)
            elif value is not None:
                filled.append(value)
        return filled
    if isinstance(node, dict):
        if "$when" in node and not values[node["$when"]]:
            return None
        items = {key: _fill(value, values) for key, value in node.items() if key != "$when"}
        return {key: value for key, value in items.items() if value is not None}
    return node


def _times(settings: GatewaySettings) -> dict[str, str]:
    """Gives each kind of call a deadline, and its route a second more."""
    times = {
        "stream_idle_timeout": _seconds(settings.stream_idle_timeout_seconds),
        "request_arrival_timeout": _seconds(settings.request_arrival_timeout_seconds),
        "connection_idle_timeout": _seconds(settings.connection_idle_timeout_seconds),
        # A header's value, which is text.
        "stream_heartbeat": str(settings.stream_heartbeat_seconds),
    }
    for kind, seconds in (
        ("request", settings.request_timeout_seconds),
        ("execution", settings.execution_timeout_seconds),
    ):
        times[f"{kind}_grpc_timeout"] = f"{round(seconds * 1000)}m"
        times[f"{kind}_route_timeout"] = _seconds(seconds + 1)
    return times


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}s"


def _endpoints(settings: GatewaySettings) -> dict[str, Any]:
    services = {
        "executor_endpoints": settings.executor_addresses,
        "tool_runner_endpoints": settings.tool_runner_addresses,
        "ledger_endpoints": settings.ledger_addresses,
        "web_endpoints": settings.web_addresses,
    }
    endpoints = {
        name: [_endpoint(*split_address(address)) for address in addresses]
        for name, addresses in services.items()
    }
    hosts = [split_address(address)[0] for addresses in services.values() for address in addresses]
    discovery = "STATIC" if all(is_ip_address(host) for host in hosts) else "STRICT_DNS"
    return {**endpoints, "service_discovery": discovery}


def _endpoint(host: str, port: int) -> dict[str, Any]:
    return {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}}


def _telemetry(settings: GatewaySettings) -> dict[str, Any]:
    sample_millionths = round(settings.trace_sample_ratio * 1_000_000)
    if not settings.otlp_endpoint:
        return {
            "trace_sample_millionths": sample_millionths,
            "telemetry_endpoints": [],
            "telemetry_transport_socket": None,
        }
    endpoint = split_endpoint(settings.otlp_endpoint)
    host = endpoint.hostname or ""
    is_encrypted = endpoint.scheme == "https"
    return {
        "trace_sample_millionths": sample_millionths,
        "telemetry_endpoints": [_endpoint(host, endpoint.port or OTLP_GRPC_PORT)],
        "telemetry_transport_socket": (
            transport_socket(host, settings.ca_file) if is_encrypted else None
        ),
    }


def _access_log(settings: GatewaySettings) -> dict[str, Any]:
    to_stdout = settings.access_log == "stdout"
    return {
        "access_log_stdout": to_stdout,
        "access_log_file": "" if to_stdout else settings.access_log,
    }
