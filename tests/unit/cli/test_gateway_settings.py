from __future__ import annotations

import pytest

from agent_executor.cli.gateway_settings import GatewaySettings, split_address, split_endpoint


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_EXECUTOR_ADDRESSES", '["a:1", "b:2"]')
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317")
    settings = GatewaySettings()
    assert settings.executor_addresses == ("a:1", "b:2")
    assert settings.otlp_endpoint == "http://collector:4317"


@pytest.mark.parametrize("address", ["", "host", ":50051", "host:", "host:x", "host:70000"])
def test_an_address_needs_host_and_port(address: str) -> None:
    with pytest.raises(ValueError, match=r"[Pp]ort"):
        split_address(address)
    with pytest.raises(ValueError, match=r"[Pp]ort"):
        GatewaySettings(ledger_addresses=(address,))


@pytest.mark.parametrize("kind", ["request", "execution"])
def test_a_deadline_is_one_that_grpc_can_be_told(kind: str) -> None:
    with pytest.raises(ValueError, match="86400"):
        GatewaySettings.model_validate({f"{kind}_timeout_seconds": 100_000})


@pytest.mark.parametrize("endpoint", ["ftp://host:1", "http://", "unix:///socket"])
def test_an_endpoint_is_http_or_https(endpoint: str) -> None:
    with pytest.raises(ValueError, match="http://host:port"):
        split_endpoint(endpoint)
    with pytest.raises(ValueError, match="http://host:port"):
        GatewaySettings(otlp_endpoint=endpoint)
