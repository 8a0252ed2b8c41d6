"""The local issuer: the key pair that `agent-executor token` signs with.

Only the command line reads the private key. The services and the gateway know the public keys, from
the JWKS file. A key's id is the thumbprint of its public half, so a new key gets a new id: to
rotate, remove `issuer.pem`. The public key of the old one stays in the JWKS, and its tokens are
valid until they expire.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent_executor.serving.token_signing import TokenSigner


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenClaims:
    """Who a token speaks for.

    Attributes:
        organization: The organization whose resources its bearer sees.
        user: The user that its bearer acts as.
        permissions: What its bearer may do; `*` is everything.
        ttl_seconds: How long it is valid, from now.
    """

    organization: str = "default"
    user: str = "admin"
    permissions: Sequence[str] = ("*",)
    ttl_seconds: int = 86_400


def new_private_key() -> bytes:
    """Makes a P-256 key, as unencrypted PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def public_jwk(private_key: bytes) -> dict[str, Any]:
    """Returns the public half as a JSON Web Key.

    Raises:
        ValueError: If the PEM does not hold a P-256 key.
    """
    return TokenSigner(private_key).public_jwk


def issue_token(private_key: bytes, claims: TokenClaims, *, now: float | None = None) -> str:
    """Signs a bearer token.

    Args:
        private_key: The issuer's key, as PEM.
        claims: Who it speaks for.
        now: When it is issued, in seconds since the epoch. Default: the clock's time.

    Raises:
        ValueError: If the PEM does not hold a P-256 key.
    """
    issued_at = int(time.time() if now is None else now)
    return TokenSigner(private_key).sign(
        {
            "sub": claims.user,
            "org": claims.organization,
            "permissions": list(claims.permissions),
            "iat": issued_at,
            "exp": issued_at + claims.ttl_seconds,
        }
    )
