"""Token issuers for tests: key pairs, key sets and tokens of every kind, also wrong ones."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from agent_executor.serving.key_sets import Keys, parse_key_set
from agent_executor.serving.settings import LOCAL_ISSUER, TOKEN_AUDIENCE

REMOVED = object()
"""The value of a claim that a token is to lack."""


class Issuer:
    """One issuer with one key."""

    def __init__(self, algorithm: str = "ES256", key_id: str = "key-1") -> None:
        self.algorithm = algorithm
        self.key_id = key_id
        self.private_key: Any
        if algorithm == "ES256":
            self.private_key = ec.generate_private_key(ec.SECP256R1())
            jwk = ECAlgorithm.to_jwk(self.private_key.public_key(), as_dict=True)
        elif algorithm == "RS256":
            self.private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            jwk = RSAAlgorithm.to_jwk(self.private_key.public_key(), as_dict=True)
        else:
            self.private_key = ed25519.Ed25519PrivateKey.generate()
            jwk = OKPAlgorithm.to_jwk(self.private_key.public_key(), as_dict=True)
        self.jwk = {**jwk, "kid": key_id, "use": "sig"}

    def key_set(self) -> bytes:
        """Returns the public key as a JSON Web Key Set."""
        return json.dumps({"keys": [self.jwk]}).encode()

    def token(self, *, header: dict[str, Any] | None = None, **claims: object) -> str:
        """Returns a token that holds, but for what the arguments change."""
        payload = {**standard_claims(), **claims}
        payload = {name: value for name, value in payload.items() if value is not REMOVED}
        headers = {"kid": self.key_id, **(header or {})}
        return jwt.encode(payload, self.private_key, algorithm=self.algorithm, headers=headers)

    def bearer(self, **claims: Any) -> str:
        """Returns the header with such a token."""
        return f"Bearer {self.token(**claims)}"


class FixedKeySet:
    """A key set that has its keys from the beginning."""

    def __init__(self, *issuers: Issuer) -> None:
        keys = [issuer.jwk for issuer in issuers]
        self._keys = parse_key_set(json.dumps({"keys": keys}).encode())
        self.asked = 0

    async def find(self, key_id: str | None) -> Keys:
        """See ``KeySet``."""
        self.asked += 1
        return tuple(key for key in self._keys if key_id in {None, key.key_id})


def standard_claims() -> dict[str, Any]:
    """Returns the claims of a token that holds."""
    now = int(time.time())
    return {
        "iss": LOCAL_ISSUER,
        "aud": TOKEN_AUDIENCE,
        "sub": "user-1",
        "org": "organization-1",
        "permissions": ["run:execute", "tool:*"],
        "iat": now,
        # Longer than the suite takes, as some tokens are made when their module is read.
        "exp": now + 86_400,
    }
