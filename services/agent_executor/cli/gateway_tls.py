"""How the gateway connects to what it reaches over TLS."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def transport_socket(host: str, ca_file: Path) -> dict[str, Any]:
    """Builds a TLS transport socket that accepts only a certificate of the host.

    Envoy checks neither the chain nor the name unless it is told to.

    Args:
        host: The name that the certificate must be for.
        ca_file: The certificates of the authorities that are trusted.
    """
    name = {"san_type": "DNS", "matcher": {"exact": host}}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": (
                "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
            ),
            "sni": host,
            "common_tls_context": {
                "validation_context": {
                    "trusted_ca": {"filename": str(ca_file)},
                    "match_typed_subject_alt_names": [name],
                }
            },
        },
    }
