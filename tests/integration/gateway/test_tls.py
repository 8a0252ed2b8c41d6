"""Callers come in over TLS, and the certificate can be changed while they do."""

from __future__ import annotations

import datetime as dt
import http.client
import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from agent_executor.cli.certificate_authority import issue_certificates, own_tls_files
from agent_executor.cli.gateway_settings import GatewaySettings
from agent_executor.cli.gateway_tls import check_tls_files
from agent_executor.cli.rest import RestClient
from agent_executor.serving.startup import StartupError
from tests.integration.gateway.running_gateway import RunningGateway, running_gateway, until


def days_shown(gateway: RunningGateway, trusted: ssl.SSLContext) -> int:
    """Returns how long the certificate is valid that callers are shown, in days."""
    connection = http.client.HTTPSConnection("127.0.0.1", gateway.port, context=trusted, timeout=20)
    try:
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        shown = connection.sock.getpeercert(binary_form=True)
    finally:
        connection.close()
    assert shown is not None
    certificate = x509.load_der_x509_certificate(shown)
    return (certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)).days


def test_callers_come_in_over_tls(tmp_path: Path) -> None:
    issue_certificates(tmp_path, days=100)
    own = own_tls_files(tmp_path, "gateway")
    trusted = ssl.create_default_context(cafile=own["tls_ca_file"])
    files: dict[str, Any] = {name: file for name, file in own.items() if name != "tls_ca_file"}
    with running_gateway(tmp_path, trusted=trusted, **files) as gateway:
        assert gateway.call("GET", "/api/v1/agents/a").status == 200
        # The same without TLS is no conversation.
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
        connection.request("GET", "/healthz")
        with pytest.raises((OSError, http.client.HTTPException)):
            connection.getresponse()
        connection.close()

        credentials = grpc.ssl_channel_credentials(own["tls_ca_file"].read_bytes())
        with grpc.secure_channel(f"127.0.0.1:{gateway.port}", credentials) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            assert health.Check(health_pb2.HealthCheckRequest(), timeout=20).status

        # What the command line itself does: it takes this certificate and no other.
        token = gateway.token()
        for process, is_taken in (("gateway", True), ("ledger", False)):
            client = RestClient(
                host="127.0.0.1",
                port=gateway.port,
                token=token,
                is_encrypted=True,
                certificate_file=own_tls_files(tmp_path, process)["tls_certificate_file"],
            )
            if is_taken:
                assert client.call("GET", "/healthz").status == 200
            else:
                with pytest.raises(ssl.SSLCertVerificationError):
                    client.call("GET", "/healthz")

        assert days_shown(gateway, trusted) == 99
        issue_certificates(tmp_path, days=200)
        until(lambda: days_shown(gateway, trusted) == 199)
        assert gateway.call("GET", "/api/v1/agents/a").status == 200


def test_files_that_are_no_good_are_named_at_the_start(tmp_path: Path) -> None:
    issue_certificates(tmp_path)
    own = own_tls_files(tmp_path, "gateway")
    other = own_tls_files(tmp_path, "web")
    pair: dict[str, Any] = {name: own[name] for name in ("tls_certificate_file", "tls_key_file")}
    check_tls_files(GatewaySettings(**pair))
    spoilt: tuple[dict[str, Any], ...] = (
        {**pair, "tls_key_file": other["tls_key_file"]},
        {
            f"services_{name}": file
            for name, file in {**own, "tls_ca_file": tmp_path / "no"}.items()
        },
    )
    for wrong in spoilt:
        with pytest.raises(StartupError):
            check_tls_files(GatewaySettings(**wrong))
    with pytest.raises(ValueError, match="go together"):
        GatewaySettings(tls_key_file=own["tls_key_file"])
