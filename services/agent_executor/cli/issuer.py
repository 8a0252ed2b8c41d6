"""The local issuer: the key pair that `agent-executor token` signs with.

Only the command line reads the private key. The services and the gateway know the public keys, from
the JWKS file. A key's id is the thumbprint of its public half, so a new key gets a new id: to
rotate, remove `issuer.pem`. The public key of the old one stays in the JWKS, and its tokens are
valid until they expire.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from agent_executor.serving.settings import LOCAL_ISSUER, TOKEN_AUDIENCE

ALGORITHM = "ES256"


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
    """Returns the public half as a JSON Web Key whose `kid` is its thumbprint (RFC 7638).

    Raises:
        ValueError: If the PEM does not hold a P-256 key.
    """
    key = _load(private_key)
    jwk: dict[str, Any] = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    required = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    canonical = json.dumps(required, sort_keys=True, separators=(",", ":")).encode()
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
    return {**required, "kid": thumbprint, "alg": ALGORITHM, "use": "sig"}


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
    payload = {
        "iss": LOCAL_ISSUER,
        "aud": TOKEN_AUDIENCE,
        "sub": claims.user,
        "org": claims.organization,
        "permissions": list(claims.permissions),
        "iat": issued_at,
        "exp": issued_at + claims.ttl_seconds,
    }
    headers = {"kid": public_jwk(private_key)["kid"]}
    return jwt.encode(payload, _load(private_key), algorithm=ALGORITHM, headers=headers)


def _load(private_key: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(private_key, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        msg = "the issuer's key is not a P-256 key"
        raise ValueError(msg)
    return key
