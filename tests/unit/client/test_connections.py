"""Connections of both clients: encrypted ones, and past what the environment says of proxies."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Callable
from concurrent import futures
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import grpc_testing
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent_executor import errors
from agent_executor.api.executor.v1 import agent_pb2, agent_service_pb2
from agent_executor.client.call_options import CallOptions
from agent_executor.client.credentials import SyncCredential
from agent_executor.client.executor_groups import Agents
from agent_executor.client.sync_caller import SyncCaller
from tests.unit.client.fake_platform import FakePlatform, fake_platform

Call = Callable[..., Any]
AGENT = agent_pb2.Agent(id="a1")


def certificate() -> tuple[bytes, bytes]:
    """Makes a key and a certificate of 127.0.0.1 that nobody but itself vouches for, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "platform")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private, signed.public_bytes(serialization.Encoding.PEM)


def test_https_trusts_whom_it_is_told_to(
    call: Call, platform: FakePlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = certificate()
    encrypted = FakePlatform()
    encrypted.will_answer("AgentService/GetAgent", AGENT)
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(public)
    with fake_platform(encrypted, grpc.ssl_server_credentials([(private, public)])):
        platform.url = encrypted.url
        credentials = grpc.ssl_channel_credentials(public)

        def use(client: Any) -> Any:
            return client.agents.get(agent_id="a1")

        assert call(use, channel_credentials=credentials) == AGENT
        monkeypatch.setenv(ssl.get_default_verify_paths().openssl_cafile_env, str(trusted))
        assert call(use) == AGENT
        other = grpc.ssl_channel_credentials(certificate()[1])
        with pytest.raises(errors.UnavailableError):
            call(use, channel_credentials=other, max_attempts=1)


def test_this_machine_is_called_without_a_proxy(
    call: Call, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    platform.will_answer("AgentService/GetAgent", AGENT)
    assert call(lambda client: client.agents.get(agent_id="a1"), max_attempts=1) == AGENT


def test_a_call_is_made_as_the_contract_describes_it() -> None:
    service = agent_service_pb2.DESCRIPTOR.services_by_name["AgentService"]
    method = service.methods_by_name["GetAgent"]
    channel = grpc_testing.channel([service], grpc_testing.strict_real_time())
    caller = SyncCaller({"executor": channel}, SyncCredential("a-token"), CallOptions())

    with futures.ThreadPoolExecutor(1) as thread:
        answer = thread.submit(lambda: Agents(caller).get(agent_id="a1"))
        metadata, request, rpc = channel.take_unary_unary(method)
        rpc.terminate(AGENT, (), grpc.StatusCode.OK, "")
        assert answer.result(timeout=60) == AGENT
    assert request == agent_service_pb2.GetAgentRequest(agent_id="a1")
    assert ("authorization", "Bearer a-token") in metadata
