"""How the gateway connects to what it reaches over TLS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from agent_executor.cli.gateway_settings import GatewaySettings, is_ip_address, split_address
from agent_executor.serving.tls_files import TlsFiles

# The names of what Envoy reads from files of their own, so as to read it again when it changes.
_SERVICES_CERTIFICATE = "services_certificate"
_SERVICES_AUTHORITIES = "services_authorities"
_LISTENER_CERTIFICATE = "listener_certificate"

_TLS_TYPES = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"


def transport_socket(host: str, ca_file: Path) -> dict[str, Any]:
    """Builds a TLS transport socket that accepts only a certificate of the host.

    Envoy checks neither the chain nor the name unless it is told to.

    Args:
        host: The name that the certificate must be for.
        ca_file: The certificates of the authorities that are trusted.
    """
    context = {
        "validation_context": {
            "trusted_ca": {"filename": str(ca_file)},
            "match_typed_subject_alt_names": [_name(host)],
        }
    }
    return _upstream_tls(context, host)


def services_tls(settings: GatewaySettings, folder: Path) -> dict[str, Any]:
    """Returns the template's values for the services' transport sockets; None without TLS.

    Args:
        settings: What the operator set.
        folder: Where ``write_secrets`` writes.
    """
    services = {
        "executor": (settings.executor_tls_name, settings.executor_addresses),
        "tool_runner": (settings.tool_runner_tls_name, settings.tool_runner_addresses),
        "ledger": (settings.ledger_tls_name, settings.ledger_addresses),
    }
    is_used = settings.services_tls_files is not None
    return {
        f"{service}_transport_socket": (
            _service_socket(tls_name, addresses, folder) if is_used else None
        )
        for service, (tls_name, addresses) in services.items()
    }


def listener_tls(settings: GatewaySettings, folder: Path) -> dict[str, Any] | None:
    """Returns the transport socket that callers come in by; None without TLS."""
    if settings.tls_certificate_file is None:
        return None
    context = {
        "tls_certificate_sds_secret_configs": [_secret(_LISTENER_CERTIFICATE, folder)],
        "alpn_protocols": ["h2", "http/1.1"],
    }
    return _transport_socket("DownstreamTlsContext", {"common_tls_context": context})


def check_tls_files(settings: GatewaySettings) -> None:
    """Passes if the gateway can use its certificates; Envoy itself would wait for better ones.

    Raises:
        StartupError: A file cannot be used.
    """
    if settings.services_tls_files is not None:
        settings.services_tls_files.read()
    certificate, key = settings.tls_certificate_file, settings.tls_key_file
    if certificate is not None and key is not None:
        # Callers show no certificates, so there are no authorities of theirs.
        TlsFiles(certificate, key, authorities=certificate).read()


def write_secrets(folder: Path, settings: GatewaySettings) -> None:
    """Writes which files the gateway's certificates and authorities are in; no key is in it.

    Envoy reads those files again when one in their folder is replaced by renaming, as Kubernetes
    does it.
    """
    secrets = {}
    if settings.tls_certificate_file is not None and settings.tls_key_file is not None:
        pair = settings.tls_certificate_file, settings.tls_key_file
        secrets[_LISTENER_CERTIFICATE] = _certificate(*pair)
    services = settings.services_tls_files
    if services is not None:
        secrets[_SERVICES_CERTIFICATE] = _certificate(services.certificate, services.key)
        secrets[_SERVICES_AUTHORITIES] = {
            "validation_context": {
                "trusted_ca": {"filename": str(services.authorities)},
                "watched_directory": {"path": str(services.authorities.parent)},
            }
        }
    for name, content in secrets.items():
        secret = {"resources": [{"@type": f"{_TLS_TYPES}.Secret", "name": name, **content}]}
        text = yaml.safe_dump(secret, sort_keys=False)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def _certificate(certificate: Path, key: Path) -> dict[str, Any]:
    return {
        "tls_certificate": {
            "certificate_chain": {"filename": str(certificate)},
            "private_key": {"filename": str(key)},
            "watched_directory": {"path": str(certificate.parent)},
        }
    }


def _service_socket(tls_name: str, addresses: Sequence[str], folder: Path) -> dict[str, Any]:
    hosts = [tls_name] if tls_name else sorted({split_address(each)[0] for each in addresses})
    context = {
        "tls_certificate_sds_secret_configs": [_secret(_SERVICES_CERTIFICATE, folder)],
        "combined_validation_context": {
            "default_validation_context": {
                "match_typed_subject_alt_names": [_name(host) for host in hosts]
            },
            "validation_context_sds_secret_config": _secret(_SERVICES_AUTHORITIES, folder),
        },
        "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
        # gRPC's servers take no other protocol, and refuse who offers none.
        "alpn_protocols": ["h2"],
    }
    return _upstream_tls(context, hosts[0])


def _secret(name: str, folder: Path) -> dict[str, Any]:
    source = {"path": str(folder / f"{name}.yaml")}
    return {
        "name": name,
        "sds_config": {"path_config_source": source, "resource_api_version": "V3"},
    }


def _upstream_tls(context: dict[str, Any], host: str) -> dict[str, Any]:
    server_name = {} if is_ip_address(host) else {"sni": host}
    return _transport_socket("UpstreamTlsContext", {**server_name, "common_tls_context": context})


def _transport_socket(kind: str, context: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": f"{_TLS_TYPES}.{kind}", **context},
    }


def _name(host: str) -> dict[str, Any]:
    kind = "IP_ADDRESS" if is_ip_address(host) else "DNS"
    return {"san_type": kind, "matcher": {"exact": host}}
