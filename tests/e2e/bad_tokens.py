"""Every kind of token that must not be let in."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jwt

from agent_executor.cli.issuer import TokenClaims, issue_token, new_private_key
from tests.platforms import RunningPlatform


def with_claims(platform: RunningPlatform, **changes: Any) -> str:
    """Returns a token of the local issuer whose claims are changed; None removes one."""
    good = platform.token()
    claims = jwt.decode(good, options={"verify_signature": False}) | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(
        claims,
        platform.keys.issuer.read_bytes(),
        algorithm="ES256",
        headers={"kid": jwt.get_unverified_header(good)["kid"]},
    )


def unsigned(platform: RunningPlatform) -> str:
    claims = jwt.decode(platform.token(), options={"verify_signature": False})
    return jwt.encode(claims, "", algorithm="none")


def signed_with_the_public_key(platform: RunningPlatform) -> str:
    """The classic trick: HS256, with the public key as its secret."""
    good = platform.token()
    claims = jwt.decode(good, options={"verify_signature": False})
    return jwt.encode(
        claims,
        platform.keys.jwks.read_bytes().hex(),
        algorithm="HS256",
        headers={"kid": jwt.get_unverified_header(good)["kid"]},
    )


def cut(platform: RunningPlatform) -> str:
    return platform.token()[:-10]


# What is shown, and how it is refused. The gateway answers 403 for a token that holds and is meant
# for somebody else.
BAD_TOKENS: dict[str, tuple[Callable[[RunningPlatform], str], int, str]] = {
    "none": (lambda _: "", 401, "UNAUTHENTICATED"),
    "no token at all": (lambda _: "abc", 401, "UNAUTHENTICATED"),
    "almost a token": (lambda _: "e30.e30.e30", 401, "UNAUTHENTICATED"),
    "cut off": (cut, 401, "UNAUTHENTICATED"),
    "expired": (
        lambda platform: with_claims(platform, exp=int(time.time()) - 120),
        *(401, "UNAUTHENTICATED"),
    ),
    "without expiry": (lambda platform: with_claims(platform, exp=None), 401, "UNAUTHENTICATED"),
    "of another issuer": (
        lambda platform: with_claims(platform, iss="https://issuer.example"),
        *(401, "UNAUTHENTICATED"),
    ),
    "for another audience": (
        lambda platform: with_claims(platform, aud="another-platform"),
        *(403, "PERMISSION_DENIED"),
    ),
    "without organization": (
        lambda platform: with_claims(platform, org=None),
        *(401, "UNAUTHENTICATED"),
    ),
    "of another key": (
        lambda _: issue_token(new_private_key(), TokenClaims()),
        *(401, "UNAUTHENTICATED"),
    ),
    "not signed": (unsigned, 401, "UNAUTHENTICATED"),
    "signed with what is public": (signed_with_the_public_key, 401, "UNAUTHENTICATED"),
}
