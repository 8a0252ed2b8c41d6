"""Signs the tokens of the local issuer, each key with the id that its public half is published under."""

from __future__ import annotations

import base64
import hashlib
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from agent_executor.serving.settings import LOCAL_ISSUER, TOKEN_AUDIENCE
from agent_executor.serving.startup import StartupError

ALGORITHM: Final = "ES256"
API_KEY_CLAIM: Final = "key"
"""The claim that names the API key or session that a token was made of."""


class TokenSigner:
    """A private key of the local issuer.

    Args:
        private_key: A P-256 key, as unencrypted PEM.

    Raises:
        ValueError: The PEM does not hold one.
    """

    def __init__(self, private_key: bytes) -> None:
        self._key = _load(private_key)
        self.public_jwk: dict[str, Any] = _public_jwk(self._key)

    @classmethod
    def from_file(cls, path: Path) -> TokenSigner | None:
        """Reads the key from a file of mode 0600, or 0440; None if there is no file.

        Raises:
            StartupError: It cannot be read, is no P-256 key, or is open to others.
        """
        try:
            mode = path.stat().st_mode
            private_key = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            msg = f"The key that signs tokens, {path}, cannot be read: {error.strerror}."
            raise StartupError(msg) from error
        if mode & (stat.S_IRWXO | stat.S_IWGRP):
            msg = f"The key that signs tokens, {path}, is open to others; set its mode to 0600."
            raise StartupError(msg)
        try:
            return cls(private_key)
        except ValueError as error:
            msg = f"The key that signs tokens, {path}, is no P-256 key as PEM."
            raise StartupError(msg) from error

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Returns a token of the local issuer for this platform, with these claims beside."""
        payload = {"iss": LOCAL_ISSUER, "aud": TOKEN_AUDIENCE, **claims}
        headers = {"kid": self.public_jwk["kid"]}
        return jwt.encode(payload, self._key, algorithm=ALGORITHM, headers=headers)


def _public_jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    """Returns the public half as a JSON Web Key whose `kid` is its thumbprint (RFC 7638)."""
    jwk: dict[str, Any] = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    required = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    canonical = json.dumps(required, sort_keys=True, separators=(",", ":")).encode()
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
    return {**required, "kid": thumbprint, "alg": ALGORITHM, "use": "sig"}


def _load(private_key: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(private_key, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        msg = "the key is not a P-256 key"
        raise ValueError(msg)
    return key
